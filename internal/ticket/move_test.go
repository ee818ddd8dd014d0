package ticket_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/ticket"
)

var turn = time.Date(2025, 7, 1, 0, 0, 0, 0, time.UTC)

// merged is a city of which street a was merged into street b; a unit of the same code as an area governs it.
func merged() rule.Registry {
	p := &pb.RegistryPiece{}
	add := func(code, level, parent, successor string) {
		a := &pb.Area{Code: code, Name: code, Level: level, Parent: parent}
		u := &pb.Unit{Code: code, Name: code, Kind: pb.UnitKind_UNIT_KIND_AREA, Parent: parent, Area: code}
		if successor != "" {
			a.ValidTo, a.Successors, u.ValidTo = timestamppb.New(turn), []string{successor}, timestamppb.New(turn)
		}
		p.Areas, p.Units = append(p.Areas, a), append(p.Units, u)
	}
	add("c", "city", "", "")
	add("d", "district", "c", "")
	add("a", "street", "d", "b")
	add("b", "street", "d", "")
	p.Units = append(p.Units, &pb.Unit{Code: "centre", Name: "centre", Kind: pb.UnitKind_UNIT_KIND_COMMAND_CENTRE, Parent: "d", Area: "d"})
	return registry.NewSnapshot("v", turn, []*pb.RegistryPiece{p}, nil)
}

func TestWhoHasATicketFollowsTheMap(t *testing.T) {
	t.Parallel()
	handling := rule.Life[pb.TicketState]{State: pb.TicketState_TICKET_STATE_HANDLING}
	ruling := rule.Life[pb.TicketState]{State: pb.TicketState_TICKET_STATE_ADJUDICATION}
	place := []*pb.AreaNode{{Level: "city", Code: "c"}, {Level: "district", Code: "d"}, {Level: "street", Code: "a"}}
	atA, atB, atCentre := []string{"c", "d", "a"}, []string{"c", "d", "b"}, []string{"c", "d", "centre"}
	for _, w := range []struct {
		name   string
		before ticket.State
		events string
		after  string // holder, lead and co-handlers
	}{
		{"a lead that holds the ticket", ticket.State{Life: handling, Path: place, Holder: "a", HolderPath: atA, Lead: "a", LeadPath: atA, Co: []string{"d"}}, "[a>b]", "b b [d]"},
		{"a lead while its case is ruled on", ticket.State{Life: ruling, Path: place, Holder: "centre", HolderPath: atCentre, Lead: "a", LeadPath: atA}, "[a>b]", "centre b []"},
		{"a holder that no event gave a path", ticket.State{Life: ruling, Path: place, Holder: "centre", Lead: "a", LeadPath: atA}, "[centre>centre a>b]", "centre b []"},
		{"a co-handler takes the lead", ticket.State{Life: handling, Path: place, Holder: "a", HolderPath: atA, Lead: "a", LeadPath: atA, Co: []string{"b", "d"},
			CoTasks: []ticket.CoTask{{Unit: "b"}, {Unit: "d"}}}, "[a>b]", "b b [d]"},
		{"a unit that was ruled out does not lead", ticket.State{Life: handling, Path: place, Holder: "a", HolderPath: atA, Lead: "a", LeadPath: atA, RuledOut: []string{"b"}}, "[a>d]", "d d []"},
		{"a place that nobody knows", ticket.State{Life: handling, Holder: "a", HolderPath: atA, Lead: "a", LeadPath: atA}, "[a>d]", "d d []"},
		{"nobody holds it", ticket.State{Life: handling}, "[]", "  []"},
		{"a unit that nothing is known of", ticket.State{Life: handling, Holder: "x", Lead: "x"}, "[]", "x x []"},
		{"it is where it belongs", ticket.State{Life: handling, Path: place, Holder: "b", HolderPath: atB, Lead: "b", LeadPath: atB}, "[]", "b b []"},
	} {
		asked := &rule.Asked{Actor: rule.Actor{Roles: []pb.Role{pb.Role_ROLE_SYSTEM}}, At: turn, OccurredAt: turn, Registry: merged()}
		events, err := ticket.Decide(w.before, asked, &pb.MoveHolderRequest{})
		if err != nil {
			t.Fatal(err)
		}
		s := w.before
		moves := []string{}
		for _, e := range events {
			m := e.(*pb.HolderMoved)
			moves = append(moves, m.From+">"+m.To)
			if s, err = ticket.Evolve(s, &pb.EventMeta{OccurredAt: timestamppb.New(turn)}, e); err != nil {
				t.Fatal(err)
			}
		}
		if got := fmt.Sprint(moves); got != w.events {
			t.Errorf("%s: got %s, want %s", w.name, got, w.events)
		}
		if got := fmt.Sprint(s.Holder, " ", s.Lead, " ", s.Co); got != w.after {
			t.Errorf("%s: got %s, want %s", w.name, got, w.after)
		}
		if len(s.CoTasks) != len(s.Co) && len(w.before.CoTasks) > 0 {
			t.Errorf("%s: got the tasks %v for the co-handlers %v", w.name, s.CoTasks, s.Co)
		}
		if again, err := ticket.Decide(s, asked, &pb.MoveHolderRequest{}); err != nil || len(again) > 0 {
			t.Errorf("%s: once more: got %v, %v", w.name, again, err)
		}
	}
}

// What events say of the holder's path is known, whichever of them says it.
func TestTheHoldersPathIsTheOneToldLast(t *testing.T) {
	t.Parallel()
	var s ticket.State
	for _, w := range []struct {
		event proto.Message
		want  string
	}{
		{&pb.TicketReported{Holder: "a", HolderPath: []string{"c", "a"}}, "[c a]"},
		{&pb.TicketAccepted{Holder: "b", HolderPath: []string{"c", "b"}}, "[c b]"},
		{&pb.TicketTriaged{Holder: "b", HolderPath: []string{"c", "d", "b"}}, "[c d b]"},
		{&pb.TicketDispatched{Lead: "e", LeadPath: []string{"c", "e"}, Round: 1, Hop: 1}, "[c e]"},
		{&pb.TicketSigned{}, "[c e]"},
		{&pb.HolderMoved{From: "e", To: "f", HolderPath: []string{"c", "d", "f"}}, "[c d f]"},
		{&pb.ProgressRecorded{}, "[c d f]"},
	} {
		var err error
		if s, err = ticket.Evolve(s, &pb.EventMeta{OccurredAt: timestamppb.New(turn)}, w.event); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(s.HolderPath); got != w.want {
			t.Errorf("%T: got %s, want %s", w.event, got, w.want)
		}
	}
}
