package admission

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

var noon = time.Date(2025, 3, 5, 4, 0, 0, 0, time.UTC)

// lived is an admission in a state, as a history could have left it: two communities are asked.
func lived(state pb.AdmissionState, communities ...string) State {
	return State{
		Life: rule.Life[pb.AdmissionState]{State: state, Events: 2, No: "1"},
		Item: "B02", Unit: "u", DecidedBy: "d", Communities: communities, AppliedBy: &pb.Actor{Person: "applicant"},
		ReviewedBy: &pb.Actor{Person: "reviewer"}, AppliedAt: noon, DecideBy: noon, ValidFrom: noon, ValidTo: noon.AddDate(0, 1, 0),
	}
}

func TestAnEventThatBreaksAnInvariantIsFound(t *testing.T) {
	t.Parallel()
	const (
		applied  = pb.AdmissionState_ADMISSION_STATE_APPLIED
		reviewed = pb.AdmissionState_ADMISSION_STATE_REVIEWED
		admitted = pb.AdmissionState_ADMISSION_STATE_ADMITTED
	)
	from, to := timestamppb.New(noon), timestamppb.New(noon.AddDate(0, 1, 0))
	early, late := timestamppb.New(noon.Add(-time.Second)), timestamppb.New(noon.AddDate(0, 1, 1))
	both := []string{"a", "b"}
	application := &pb.AdmissionApplied{No: "1", Item: "B02", Unit: "u", Communities: both, DecidedBy: "d", ValidFrom: from, ValidTo: to}
	changed := func(change func(*pb.AdmissionApplied)) proto.Message {
		e := proto.CloneOf(application)
		change(e)
		return e
	}
	for _, c := range []struct {
		name   string
		before State
		event  proto.Message
		by     string
		whole  bool // nothing is wrong
		tamper func(after *State, meta *pb.EventMeta)
	}{
		{name: "an application", event: application, whole: true},
		{name: "an application for no community", event: changed(func(e *pb.AdmissionApplied) { e.Communities = nil })},
		{name: "an application for no item", event: changed(func(e *pb.AdmissionApplied) { e.Item = "" })},
		{name: "an application that nobody decides", event: changed(func(e *pb.AdmissionApplied) { e.DecidedBy = "" })},
		{name: "an application for no time", event: changed(func(e *pb.AdmissionApplied) { e.ValidTo = e.ValidFrom })},
		{name: "a second application", before: lived(applied, both...), event: application},
		{name: "an examination", before: lived(applied, both...), event: &pb.AdmissionReviewed{}, by: "reviewer", whole: true},
		{name: "an examination by the applicant", before: lived(applied, both...), event: &pb.AdmissionReviewed{}, by: "applicant"},
		{name: "a second examination", before: lived(reviewed, both...), event: &pb.AdmissionReviewed{}, by: "x"},
		{name: "an objection", before: lived(applied, both...), event: &pb.CommunityObjected{Community: "a"}, whole: true},
		{name: "an objection of who was not asked", before: lived(applied, both...), event: &pb.CommunityObjected{Community: "c"}},
		{name: "an objection that is not heard", before: lived(applied, both...), event: &pb.CommunityObjected{Community: "a"}, tamper: func(s *State, _ *pb.EventMeta) { s.Communities = both }},
		{name: "an objection after the admission", before: lived(admitted, both...), event: &pb.CommunityObjected{Community: "a"}},
		{name: "a refusal for want of communities", before: lived(reviewed), event: &pb.AdmissionRefused{Reason: communitiesObject}, whole: true},
		{name: "such a refusal with one left", before: lived(reviewed, "a"), event: &pb.AdmissionRefused{Reason: communitiesObject}},
		{name: "another reason with none left", before: lived(reviewed), event: &pb.AdmissionRefused{Reason: "X"}},
		{name: "a refusal of what was not examined", before: lived(applied, both...), event: &pb.AdmissionRefused{Reason: notDecided}, whole: true},
		{name: "a refusal as not decided, too early", before: lived(applied, both...), event: &pb.AdmissionRefused{Reason: notDecided}, tamper: func(s *State, m *pb.EventMeta) { m.OccurredAt = early }},
		{name: "an admission", before: lived(reviewed, both...), event: &pb.AdmissionAdmitted{Communities: both, ValidFrom: from, ValidTo: to}, whole: true},
		{name: "an admission that nobody examined", before: lived(applied, both...), event: &pb.AdmissionAdmitted{Communities: both, ValidFrom: from, ValidTo: to}},
		{name: "an admission by who examined", before: lived(reviewed, both...), event: &pb.AdmissionAdmitted{Communities: both, ValidFrom: from, ValidTo: to}, by: "reviewer"},
		{name: "an admission by who applied", before: lived(reviewed, both...), event: &pb.AdmissionAdmitted{Communities: both, ValidFrom: from, ValidTo: to}, by: "applicant"},
		{name: "an admission from earlier on", before: lived(reviewed, both...), event: &pb.AdmissionAdmitted{Communities: both, ValidFrom: early, ValidTo: to}},
		{name: "an admission for longer", before: lived(reviewed, both...), event: &pb.AdmissionAdmitted{Communities: both, ValidFrom: from, ValidTo: late}},
		{name: "an admission of who objected", before: lived(reviewed, "a"), event: &pb.AdmissionAdmitted{Communities: both, ValidFrom: from, ValidTo: to}},
		{name: "a revocation", before: lived(admitted, both...), event: &pb.AdmissionRevoked{Reason: "X"}, whole: true},
		{name: "a revocation of what is not admitted", before: lived(reviewed, both...), event: &pb.AdmissionRevoked{Reason: "X"}},
		{name: "a revocation that does not end it", before: lived(admitted, both...), event: &pb.AdmissionRevoked{Reason: "X"}, tamper: func(s *State, _ *pb.EventMeta) { s.EndedAt = time.Time{} }},
		{name: "an expiry", before: lived(admitted, both...), event: &pb.AdmissionExpired{}, whole: true, tamper: func(_ *State, m *pb.EventMeta) { m.OccurredAt, m.RecordedAt = to, to }},
		{name: "an expiry while it is valid", before: lived(admitted, both...), event: &pb.AdmissionExpired{}},
		{name: "an item that changed", before: lived(applied, both...), event: &pb.AdmissionReviewed{}, tamper: func(s *State, _ *pb.EventMeta) { s.Item = "B42" }},
		{name: "a state that does not follow", before: lived(applied, both...), event: &pb.AdmissionReviewed{}, tamper: func(s *State, _ *pb.EventMeta) { s.State = admitted }},
		{name: "an event that was skipped", before: lived(applied, both...), event: &pb.AdmissionReviewed{}, tamper: func(s *State, _ *pb.EventMeta) { s.Events++ }},
		{name: "an event recorded before it happened", before: lived(applied, both...), event: &pb.AdmissionReviewed{}, tamper: func(_ *State, m *pb.EventMeta) { m.RecordedAt = early }},
		{name: "a ticket's event", before: lived(applied, both...), event: &pb.TicketClosed{}},
	} {
		by := c.by
		if by == "" {
			by = "p"
		}
		meta := &pb.EventMeta{OccurredAt: timestamppb.New(noon), RecordedAt: timestamppb.New(noon), Actor: &pb.Actor{Person: by}}
		now, err := Evolve(c.before, meta, c.event)
		if err != nil {
			now = c.before
			now.Events++
		}
		if c.tamper != nil {
			c.tamper(&now, meta)
		}
		if err := CheckInvariants(c.before, now, meta, c.event); (err == nil) != c.whole {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}

func TestAnEndedAdmissionWaitsForNothing(t *testing.T) {
	t.Parallel()
	for state := range pb.AdmissionState_name {
		s := lived(pb.AdmissionState(state), "a")
		if got, want := len(s.Timers()), 1; (got == want) == (Ended(s.State) || !s.Exists()) {
			t.Errorf("%s: got %v", s.State, s.Timers())
		}
	}
}
