package ticket

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

func TestLimitsAreProvisionalWhileOneInForceIs(t *testing.T) {
	t.Parallel()
	by := func(hours int) *timestamppb.Timestamp {
		return timestamppb.New(time.Date(2025, 3, 5, 9+hours, 0, 0, 0, time.UTC))
	}
	var s State
	for i, step := range []struct {
		event proto.Message
		want  bool
	}{
		{&pb.TicketReported{AcceptBy: by(1)}, false},
		{&pb.TicketAccepted{DispatchBy: by(2), Provisional: true}, true},
		{&pb.TicketTriaged{DispatchBy: by(2)}, true},
		{&pb.TicketDispatched{Lead: "a", Hop: 1, SignBy: by(3), HandleBy: by(30), CloseBy: by(40)}, false},
		{&pb.TicketSigned{}, false},
		{&pb.TriageCorrected{Grade: pb.Grade_GRADE_G1, HandleBy: by(20), CloseBy: by(25), Provisional: true}, true},
		{&pb.ResultSubmitted{VerifyBy: by(10)}, true},
		{&pb.TicketReopened{RedoBy: by(50), CloseBy: by(60)}, false},
		{&pb.ResultSubmitted{VerifyBy: by(45), Provisional: true}, true},
		{&pb.VerificationFailed{}, false},
	} {
		var err error
		if s, err = Evolve(s, &pb.EventMeta{OccurredAt: by(0), RecordedAt: by(0)}, step.event); err != nil {
			t.Fatal(err)
		}
		if s.Limits.Provisional != step.want {
			t.Errorf("step %d, %T: got provisional %t, want %t", i+1, step.event, s.Limits.Provisional, step.want)
		}
	}
}

func TestAMergedTicketHasNoLimitsAndGetsItsOwnBack(t *testing.T) {
	t.Parallel()
	at := timestamppb.New(noon)
	meta := &pb.EventMeta{OccurredAt: at, RecordedAt: at}
	var s State
	evolve := func(e proto.Message) {
		t.Helper()
		var err error
		if s, err = Evolve(s, meta, e); err != nil {
			t.Fatal(err)
		}
	}
	evolve(&pb.TicketReported{AcceptBy: after(1)})
	evolve(&pb.TicketAccepted{DispatchBy: after(2), Provisional: true})
	before := s
	evolve(&pb.TicketMerged{Into: "b"})
	if s.Limits != (Limits{}) || s.State != pb.TicketState_TICKET_STATE_MERGED || s.MergedInto != "b" {
		t.Errorf("got %+v while merged into %q", s.Limits, s.MergedInto)
	}
	evolve(&pb.TicketUnmerged{From: "b", State: before.State})
	if s.Limits != before.Limits || !s.Limits.Provisional || s.State != before.State || !s.AcceptedAt.Equal(before.AcceptedAt) {
		t.Errorf("got %+v, accepted at %s, want %+v, %s", s.Limits, s.AcceptedAt, before.Limits, before.AcceptedAt)
	}
}
