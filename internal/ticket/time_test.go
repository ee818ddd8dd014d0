package ticket

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// city is an instant by the city's clocks.
func city(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.ParseInLocation("2006-01-02 15:04:05", text, calendar.Default().Zone())
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestWhatIsLeftOfALimitIsCountedInItsOwnUnitsAndOfAnExtendedOneInWorkingDays(t *testing.T) {
	t.Parallel()
	a := &rule.Asked{Calendar: calendar.Default(), Profile: calendar.DefaultProfile()}
	for _, c := range []struct {
		limit    string
		handleBy string
		extended []uint32
		want     string
	}{
		{"10 WD", "2025-09-28 23:59:59", nil, "6 WD"},
		{"5 WD", "2025-09-28 23:59:59", []uint32{5}, "6 WD"},
		{"4 WD", "2025-09-28 23:59:59", []uint32{2, 4}, "6 WD"},
		{"15 ND", "2025-09-30 23:59:59", nil, "9 ND"},
		{"15 ND roll", "2025-09-30 23:59:59", nil, "9 ND roll"},
		{"7 ND", "2025-09-26 23:59:59", []uint32{4}, "5 WD"},
		{"10 WD", "2025-09-28 23:59:59", []uint32{0}, "6 WD"}, // an extension that is part of the limit
		{"", "2025-09-22 23:59:59", nil, "1 WD"},              // the profile's five days
	} {
		s := State{Grade: pb.Grade_GRADE_G2, HandleStart: city(t, "2025-09-15 09:00:00"), HandleLimit: c.limit, ExtendedBy: c.extended}
		s.Limits.HandleBy = city(t, c.handleBy)
		if got, err := s.remaining(a, city(t, "2025-09-22 10:00:00")); err != nil || got.String() != c.want {
			t.Errorf("%s until %s, extended by %v: got %s, %v, want %s left", c.limit, c.handleBy, c.extended, got, err, c.want)
		}
	}
}

func TestALaterUnitsOwnLimitKeepsItsDistanceOverASuspension(t *testing.T) {
	t.Parallel()
	by := city(t, "2025-12-09 23:59:59")
	for segment, want := range map[string]string{
		"2025-09-28 23:59:59": "2025-12-09 23:59:59", "2025-09-30 23:59:59": "2025-12-11 23:59:59", "2025-09-26 23:59:59": "2025-12-09 23:59:59",
	} {
		s := State{StoppedHandleBy: city(t, "2025-09-28 23:59:59"), StoppedSegmentBy: city(t, segment)}
		if got, guess, err := s.segmentAfter(calendar.Default(), by); err != nil || guess || !got.Equal(city(t, want)) {
			t.Errorf("%s: got %s, %t, %v, want %s", segment, got, guess, err, want)
		}
	}
}

func TestWhatNobodyDecidedBeforeTheLimitIsRefused(t *testing.T) {
	t.Parallel()
	handling := State{Life: rule.Life[pb.TicketState]{State: pb.TicketState_TICKET_STATE_HANDLING}}
	asked := handling
	asked.Extension, asked.Suspension = &pb.ExtensionRequested{}, &pb.SuspensionRequested{}
	stopped := asked
	stopped.State = pb.TicketState_TICKET_STATE_SUSPENDED
	if got := append(lapseExtension(handling), lapseSuspension(handling)...); len(got) > 0 {
		t.Errorf("nothing was asked for: got %v", got)
	}
	if got := lapseExtension(asked); len(got) != 1 || !got[0].(*pb.ExtensionRefused).Lapsed {
		t.Errorf("got %v", got)
	}
	if got := lapseSuspension(asked); len(got) != 1 || !got[0].(*pb.SuspensionRefused).Lapsed {
		t.Errorf("got %v", got)
	}
	if got := lapseSuspension(stopped); len(got) > 0 {
		t.Errorf("while the clock stands: got %v", got)
	}
}

func TestLimitsOfAFormerProfileOrGradeAreNotedAsSuch(t *testing.T) {
	t.Parallel()
	var s State
	for _, step := range []struct {
		profile string
		event   proto.Message
		older   uint32
	}{
		{"a@1", &pb.TicketReported{AcceptBy: after(time.Hour)}, 0},
		{"b@1", &pb.ProgressRecorded{}, 0}, // sets no limit, so it is nothing to them under which profile it was recorded
		{"b@1", &pb.TicketAccepted{DispatchBy: after(2 * time.Hour)}, 0},
		{"b@1", &pb.TicketTriaged{Grade: pb.Grade_GRADE_G2, DispatchBy: after(2 * time.Hour)}, 1 << 1},
		{"b@1", &pb.TicketDispatched{Hop: 1, SignBy: after(3 * time.Hour), HandleBy: after(4 * time.Hour), CloseBy: after(5 * time.Hour)}, 0},
		{"c@1", &pb.TriageCorrected{HandleBy: after(3 * time.Hour), CloseBy: after(4 * time.Hour)}, 1 << 2},
	} {
		var err error
		if s, err = Evolve(s, &pb.EventMeta{OccurredAt: after(0), RecordedAt: after(0), ProfileVersion: step.profile}, step.event); err != nil {
			t.Fatal(err)
		}
		if s.Limits.older != step.older {
			t.Errorf("%T: got %b, want %b", step.event, s.Limits.older, step.older)
		}
	}
}

func TestAnExtensionIsAtMostTheRoundsOwnLimitWhateverItsGradeHasInTheProfileNow(t *testing.T) {
	t.Parallel()
	a := &rule.Asked{Calendar: calendar.Default(), Profile: calendar.DefaultProfile()}
	s := State{Grade: pb.Grade_GRADE_G2, HandleLimit: "1 WD", RoundLimit: "2 WD"} // the profile gives five days, of which two ran before a stop
	s.Limits.HandleBy = city(t, "2025-09-15 23:59:59")
	if by, _, err := s.extended(a, 2); err != nil || !by.Equal(city(t, "2025-09-17 23:59:59")) {
		t.Errorf("got %s, %v", by, err)
	}
	if _, _, err := s.extended(a, 3); err == nil {
		t.Error("it was extended by more than it was")
	}
}
