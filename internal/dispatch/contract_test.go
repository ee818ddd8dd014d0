package dispatch_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/admission"
	"github.com/chuishao/dispatch/internal/audit"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/check"
	"github.com/chuishao/dispatch/internal/deliberation"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/exchange"
	"github.com/chuishao/dispatch/internal/limits"
	"github.com/chuishao/dispatch/internal/listing"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/review"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/ticket"
	"github.com/chuishao/dispatch/internal/wall"
	"github.com/chuishao/dispatch/internal/whistle"
)

func message(t *testing.T, name protoreflect.FullName) proto.Message {
	t.Helper()
	typ, err := protoregistry.GlobalTypes.FindMessageByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return typ.New().Interface()
}

func TestEveryEventIsOfExactlyOneKindOfStream(t *testing.T) {
	t.Parallel()
	for _, typ := range event.Types() {
		e := message(t, protoreflect.FullName("chuishao.v1."+typ))
		_, ofTicket := ticket.Evolve(ticket.State{}, &pb.EventMeta{}, e)
		_, ofWhistle := whistle.Evolve(whistle.State{}, &pb.EventMeta{}, e)
		_, ofNotes := audit.Evolve(audit.State{}, &pb.EventMeta{}, e)
		_, ofRegistry := registry.Evolve(registry.State{}, &pb.EventMeta{}, e)
		n := 0
		for _, of := range others {
			if of.evolve(e) == nil {
				n++
			}
		}
		for _, err := range []error{ofTicket, ofWhistle, ofNotes} {
			if err == nil {
				n++
			}
		}
		// An empty event of the registry does not follow, but it is one.
		if ofRegistry == nil || strings.HasPrefix(typ, "Registry") {
			n++
		}
		// Nor does one of calendars and profiles, but then it is another error.
		if _, ofLimits := limits.Evolve(limits.New(calendar.Default(), calendar.DefaultProfile()), &pb.EventMeta{}, e); !strings.Contains(fmt.Sprint(ofLimits), "is no event") {
			n++
		}
		if n != 1 {
			t.Errorf("%s is understood by %d kinds of streams, want 1", typ, n)
		}
	}
}

func TestEveryEventOfAStreamHasItsInvariants(t *testing.T) {
	t.Parallel()
	for _, typ := range event.Types() {
		e := message(t, protoreflect.FullName("chuishao.v1."+typ))
		if _, err := ticket.Evolve(ticket.State{}, &pb.EventMeta{}, e); err == nil {
			if err := ticket.CheckInvariants(ticket.State{}, ticket.State{}, &pb.EventMeta{}, e); err == nil || strings.Contains(err.Error(), "is no event") {
				t.Errorf("%s: got %v for an event that changed nothing", typ, err)
			}
		}
		if _, err := whistle.Evolve(whistle.State{}, &pb.EventMeta{}, e); err == nil {
			if err := whistle.CheckInvariants(whistle.State{}, whistle.State{}, &pb.EventMeta{}, e); err == nil || strings.Contains(err.Error(), "is no event") {
				t.Errorf("%s: got %v for an event that changed nothing", typ, err)
			}
		}
		for _, of := range others {
			if of.evolve(e) == nil {
				if err := of.check(e); err == nil || strings.Contains(err.Error(), "is no event") {
					t.Errorf("%s: got %v for an event that changed nothing", typ, err)
				}
			}
		}
	}
}

// kindOfStream is what the contract's tests ask of the rules of one kind of stream.
type kindOfStream struct {
	decide, evolve, check func(proto.Message) error
}

// others are those beside tickets and whistles, by collection.
var others = map[string]kindOfStream{
	"posts":         kindOf(wall.Decide, wall.Evolve, wall.CheckInvariants),
	"deliberations": kindOf(deliberation.Decide, deliberation.Evolve, deliberation.CheckInvariants),
	"exchanges":     kindOf(exchange.Decide, exchange.Evolve, exchange.CheckInvariants),
	"admissions":    kindOf(admission.Decide, admission.Evolve, admission.CheckInvariants),
	"listings":      kindOf(listing.Decide, listing.Evolve, listing.CheckInvariants),
	"checks":        kindOf(check.Decide, check.Evolve, check.CheckInvariants),
	"reviews":       kindOf(review.Decide, review.Evolve, review.CheckInvariants),
}

func kindOf[S any](decide func(S, *rule.Asked, proto.Message) ([]proto.Message, error), evolve func(S, *pb.EventMeta, proto.Message) (S, error),
	check func(before, after S, meta *pb.EventMeta, e proto.Message) error) kindOfStream {
	var none S
	return kindOfStream{
		func(c proto.Message) error { _, err := decide(none, &rule.Asked{}, c); return err },
		func(e proto.Message) error { _, err := evolve(none, &pb.EventMeta{}, e); return err },
		func(e proto.Message) error { return check(none, none, &pb.EventMeta{}, e) },
	}
}

func TestEveryCommandOfTheContractHasARule(t *testing.T) {
	t.Parallel()
	decide := map[protoreflect.Name]func(proto.Message) error{
		"TicketService": func(c proto.Message) error {
			_, err := ticket.Decide(ticket.State{Life: rule.Life[pb.TicketState]{State: pb.TicketState_TICKET_STATE_REPORTED}}, &rule.Asked{}, c)
			return err
		},
		"WhistleService": func(c proto.Message) error {
			_, err := whistle.Decide(whistle.State{Life: rule.Life[pb.WhistleState]{State: pb.WhistleState_WHISTLE_STATE_BLOWN}}, &rule.Asked{}, c)
			return err
		},
	}
	for _, file := range []protoreflect.FileDescriptor{
		pb.File_chuishao_v1_ticket_proto, pb.File_chuishao_v1_whistle_proto, pb.File_chuishao_v1_wall_proto, pb.File_chuishao_v1_admission_proto,
		pb.File_chuishao_v1_listing_proto, pb.File_chuishao_v1_review_proto,
	} {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				m := service.Methods().Get(j)
				if m.Input().Fields().ByName("request_id") == nil {
					if !slices.ContainsFunc([]string{"Get", "Explain", "Suggest", "IntakeTickets"}, func(query string) bool { return strings.HasPrefix(string(m.Name()), query) }) {
						t.Errorf("%s is neither a query nor a command with a request id", m.FullName())
					}
					continue
				}
				c := message(t, m.Input().FullName())
				rules := decide[service.Name()]
				if rules == nil {
					rules = others[rule.ResourceOf(c).Collection].decide
				}
				if rules == nil {
					t.Errorf("no rules for %s", m.FullName())
					continue
				}
				err := rules(c)
				if refused := new(rule.Refusal); err != nil && !errors.As(err, &refused) {
					t.Errorf("%s: %v", m.FullName(), err)
				}
			}
		}
	}
}
