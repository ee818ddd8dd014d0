package whistle

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

func TestTimersRunWhileSomethingIsExpectedAndTheEarliestStandsFirst(t *testing.T) {
	t.Parallel()
	const (
		sign, contact, reportIn = pb.WhistleTimer_WHISTLE_TIMER_SIGN, pb.WhistleTimer_WHISTLE_TIMER_CONTACT, pb.WhistleTimer_WHISTLE_TIMER_REPORT_IN
		review, resolve         = pb.WhistleTimer_WHISTLE_TIMER_REVIEW, pb.WhistleTimer_WHISTLE_TIMER_RESOLVE
	)
	at := func(hours int) time.Time { return noon.Add(time.Duration(hours) * time.Hour) }
	under := func() State {
		s := lived(pb.WhistleState_WHISTLE_STATE_ISSUED, pb.ParticipantState_PARTICIPANT_STATE_PENDING, pb.ParticipantState_PARTICIPANT_STATE_PENDING)
		s.ResolveBy, s.ReviewBy = at(9), at(5)
		for i := range s.Participants {
			p := s.Participants[i].Participant
			p.SignBy, p.ContactBy, p.ReportInBy = timestamppb.New(at(1)), timestamppb.New(at(4)), timestamppb.New(at(3))
		}
		return s
	}
	for _, c := range []struct {
		name   string
		change func(*State)
		want   []pb.WhistleTimer
	}{
		{"issued", func(*State) {}, []pb.WhistleTimer{sign, reportIn, contact, review, resolve}},
		{"signed", func(s *State) { s.Participants[0].SignedAt = noon }, []pb.WhistleTimer{reportIn, contact, review, resolve}},
		{"contacted, and not signed in time", func(s *State) { s.Participants[0].ContactedAt, s.Participants[0].fired[sign] = noon, true }, []pb.WhistleTimer{reportIn, review, resolve}},
		{"there", func(s *State) { s.Participants[0].State = pb.ParticipantState_PARTICIPANT_STATE_REPORTED_IN }, []pb.WhistleTimer{review, resolve}},
		{"absent", func(s *State) { s.Participants[0].State = pb.ParticipantState_PARTICIPANT_STATE_NO_SHOW }, []pb.WhistleTimer{review, resolve}},
		{"excused and looked at", func(s *State) {
			s.Participants[0].State, s.ReviewedAt = pb.ParticipantState_PARTICIPANT_STATE_EXCUSED, noon
		}, []pb.WhistleTimer{resolve}},
		{"not resolved", func(s *State) {
			s.Participants[0].State, s.fired[resolve] = pb.ParticipantState_PARTICIPANT_STATE_EXCUSED, true
		}, []pb.WhistleTimer{review}},
		{"blown", func(s *State) { s.State = pb.WhistleState_WHISTLE_STATE_BLOWN }, nil},
		{"confirmed", func(s *State) { s.State, s.Resolved = pb.WhistleState_WHISTLE_STATE_CONFIRMED, true }, []pb.WhistleTimer{review}},
		{"confirmed, and not resolved", func(s *State) { s.State, s.RunsOn = pb.WhistleState_WHISTLE_STATE_CONFIRMED, true }, []pb.WhistleTimer{review, resolve}},
		{"rated, and not resolved", func(s *State) { s.State, s.RunsOn = pb.WhistleState_WHISTLE_STATE_RATED, true }, []pb.WhistleTimer{review, resolve}},
		{"not resolved, as it was recorded when the limit ended all the same", func(s *State) { s.State = pb.WhistleState_WHISTLE_STATE_CONFIRMED }, []pb.WhistleTimer{review}},
		{"closed", func(s *State) { s.State, s.Resolved = pb.WhistleState_WHISTLE_STATE_CLOSED, true }, []pb.WhistleTimer{review}},
		{"closed, and not resolved", func(s *State) { s.State, s.RunsOn = pb.WhistleState_WHISTLE_STATE_CLOSED, true }, []pb.WhistleTimer{review, resolve}},
		{"cancelled", func(s *State) { s.State = pb.WhistleState_WHISTLE_STATE_CANCELLED }, []pb.WhistleTimer{review}},
		{"raised", func(s *State) { s.State = pb.WhistleState_WHISTLE_STATE_RAISED }, nil},
	} {
		s := under()
		c.change(&s)
		var got []pb.WhistleTimer
		last := time.Time{}
		for _, timer := range s.Timers() {
			got = append(got, pb.WhistleTimer(timer.Which))
			if timer.By.Before(last) || timer.Unit != "" && timer.Unit != "a" {
				t.Errorf("%s: got %+v", c.name, timer)
			}
			last = timer.By
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestARaisedWhistleGoesToThoseWhoHaveNotDoneTheirPart(t *testing.T) {
	t.Parallel()
	const (
		here, done      = pb.ParticipantState_PARTICIPANT_STATE_REPORTED_IN, pb.ParticipantState_PARTICIPANT_STATE_TASK_DONE
		absent, excused = pb.ParticipantState_PARTICIPANT_STATE_NO_SHOW, pb.ParticipantState_PARTICIPANT_STATE_EXCUSED
		pending         = pb.ParticipantState_PARTICIPANT_STATE_PENDING
	)
	for _, c := range []struct {
		name          string
		first, second pb.ParticipantState
		want          []string
	}{
		{"one is absent and one is done", absent, done, []string{"a"}},
		{"one is there and one has not come", here, pending, []string{"a", "b"}},
		{"who has to come is done", done, pending, []string{"a", "b"}},
		{"who has to come is excused", excused, pending, []string{"a", "b"}},
	} {
		s := lived(pb.WhistleState_WHISTLE_STATE_WORKING, c.first, c.second)
		child := s.ChildOf("p", "to")
		var got []string
		for _, p := range child.Participants {
			got = append(got, p.Unit)
			if p.ReportInBy != nil {
				t.Errorf("%s: %s is to come by %s already", c.name, p.Unit, p.ReportInBy.AsTime())
			}
		}
		if !slices.Equal(got, c.want) || child.Parent != "p" || child.ScreenedBy != "to" || child.Street != "s" {
			t.Errorf("%s: got %v, want %v", c.name, child, c.want)
		}
		if s.Participants[0].ReportInBy == nil {
			t.Errorf("%s: the whistle lost a limit", c.name)
		}
	}
}

var _ rule.Timed = (*State)(nil)
