package rpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/scenario"
	"github.com/chuishao/dispatch/internal/whistle"
)

// called plays over gRPC, as a city's own systems would, with a projector that has to keep up.
type called struct {
	city *dispatchtest.City
	conn *grpc.ClientConn
}

// Do is a scenario.Player's.
func (c *called) Do(ctx context.Context, at time.Time, by rule.Actor, command proto.Message) (scenario.Outcome, error) {
	c.city.Clock.Set(at)
	ctx = as(ctx, by)
	out := scenario.Outcome{}
	id := command.(interface{ GetRequestId() string }).GetRequestId()
	kind, method := "ticket", strings.TrimSuffix(string(command.ProtoReflect().Descriptor().Name()), "Request")
	switch m := command.(type) {
	case *pb.ImportRecordRequest:
		stream, err := pb.NewImportServiceClient(c.conn).ImportRecords(ctx)
		if err != nil {
			return out, err
		}
		if err := stream.Send(&pb.ImportRecordsRequest{Record: m}); err != nil {
			return out, err
		}
		got, err := stream.Recv()
		if err != nil {
			return out, toldRefusal(err)
		}
		if f := got.GetFailure(); f != nil {
			return out, &rule.Refusal{Reason: rule.Reason(f.Reason), Field: strings.TrimPrefix(f.Field, "record."), Message: f.Message}
		}
		out.Name, out.Repeated = got.GetAnswer().GetName(), got.GetAnswer().GetUnchanged()
		t, err := pb.NewAuditServiceClient(c.conn).GetTicketAsOf(acting(metadata.NewOutgoingContext(ctx, metadata.MD{}), dispatchtest.CityCentre, "AUDITOR"), &pb.GetTicketAsOfRequest{Name: out.Name})
		if err == nil {
			out.State = t.State.String()
		}
	case *pb.RevealIdentityRequest:
		if _, err := pb.NewTicketServiceClient(c.conn).RevealIdentity(ctx, m); err != nil {
			return out, c.refused(ctx, by, command, err)
		}
		out.Name = m.Name
	default:
		if command.ProtoReflect().Descriptor().ParentFile().Path() == "chuishao/v1/registry.proto" {
			typ, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName("chuishao.v1." + method + "Response"))
			if err != nil {
				return out, err
			}
			if err := c.conn.Invoke(ctx, "/chuishao.v1.RegistryService/"+method, command, typ.New().Interface()); err != nil {
				return out, toldRefusal(err)
			}
			return out, nil
		}
		if command.ProtoReflect().Descriptor().ParentFile().Path() == "chuishao/v1/whistle.proto" {
			kind = "whistle"
			var got pb.WhistleAnswer
			if err := c.conn.Invoke(ctx, "/chuishao.v1.WhistleService/"+method, command, &got); err != nil {
				return out, c.refused(ctx, by, command, err)
			}
			out.Name, out.State, out.Repeated = got.Name, got.State.String(), got.Repeated
		} else if of := rule.ResourceOf(command); of.Collection != "tickets" {
			kind = of.Stream
			service := command.ProtoReflect().Descriptor().ParentFile().Services().Get(0).FullName()
			var got pb.CommandAnswer
			if err := c.conn.Invoke(ctx, fmt.Sprintf("/%s/%s", service, method), command, &got); err != nil {
				return out, c.refused(ctx, by, command, err)
			}
			out.Name, out.State, out.Repeated = got.Name, got.State, got.Repeated
		} else {
			var got pb.TicketAnswer
			if err := c.conn.Invoke(ctx, "/chuishao.v1.TicketService/"+method, command, &got); err != nil {
				return out, c.refused(ctx, by, command, err)
			}
			out.Name, out.State, out.Repeated = got.Name, got.State.String(), got.Repeated
		}
	}
	if out.Repeated {
		return out, nil
	}
	stream := kind + "-" + out.Name[strings.Index(out.Name, "/")+1:]
	if method == "RevealIdentity" {
		stream = "audit-" + dispatch.ID(stream)
	}
	for r, err := range c.city.Store.ReadStream(ctx, stream, 0) {
		if err != nil {
			return out, err
		}
		e, err := event.Decode(r)
		if err != nil {
			return out, err
		}
		if _, merged := e.Event.(*pb.TicketMerged); merged && method == "MergeTicket" {
			out.Events = []proto.Message{e.Event} // told by the policy
		}
		if e.Meta.RequestId == id {
			out.Events = append(out.Events, e.Event)
		}
	}
	if n := len(out.Events); method == "ImportRecord" && n > 0 && out.State != "" {
		// Of two imports under one id, what the later one added.
		if _, first := out.Events[0].(*pb.RecordImported); first && n == 2 && command.(*pb.ImportRecordRequest).ClosedAt == nil {
			out.Events = out.Events[:1]
		}
	}
	return out, nil
}

// refused is why a command was refused: as the call says, to who may see what the command is about. To anybody else the call must
// say only what it says of what is not there; the reason is then what the rule says when it is asked directly.
func (c *called) refused(ctx context.Context, by rule.Actor, command proto.Message, err error) error {
	told := new(rule.Refusal)
	if !errors.As(toldRefusal(err), &told) {
		return err
	}
	var names []string
	if blow, ok := command.(*pb.BlowWhistleRequest); ok && blow.Name == "" {
		names = blow.Tickets
	} else if named, ok := command.(interface{ GetName() string }); ok {
		names = []string{named.GetName()}
	}
	if merge, ok := command.(*pb.MergeTicketRequest); ok {
		names = append(names, merge.Into)
	}
	unseen := ""
	for _, name := range names {
		seen, missing := c.maySee(ctx, by, name)
		if missing != nil {
			return told
		}
		if !seen && unseen == "" {
			unseen = name
		}
	}
	switch masked := told.Message == absentMessage && told.DecidedBy == ""; {
	case unseen == "" && masked:
		return fmt.Errorf("to one who may see %v the call says %v", names, err)
	case unseen == "", !tells(told):
		return told
	case !masked:
		return fmt.Errorf("to one who may not see %s the call says %v", unseen, err)
	}
	request := dispatch.Request{Actor: by, Command: command}
	var direct error
	switch m := command.(type) {
	case *pb.RevealIdentityRequest:
		_, _, direct = c.city.Reveal(ctx, by, m)
	default:
		switch rule.ResourceOf(command).Collection {
		case "tickets":
			_, _, direct = c.city.Ticket(ctx, request)
		case "whistles":
			_, _, direct = c.city.Whistle(ctx, request)
		default:
			_, _, direct = c.city.Carry(ctx, request)
		}
	}
	conflict := new(eventstore.ConflictError)
	switch {
	case direct == nil:
		return fmt.Errorf("what the call refuses, %v, is accepted", err)
	case errors.As(direct, &conflict):
		return &rule.Refusal{Reason: VersionConflict}
	}
	return direct
}

// maySee says whether somebody may see a resource, and why it cannot be looked at.
func (c *called) maySee(ctx context.Context, who rule.Actor, name string) (bool, error) {
	it, _, err := c.city.Look(ctx, collection(name), name)
	if err != nil {
		return false, err
	}
	if w, ok := it.(*whistle.State); ok && !slices.Contains(who.Roles, pb.Role_ROLE_AUDITOR) {
		for _, id := range w.Tickets {
			t, _, err := c.city.LoadTicket(ctx, "tickets/"+id)
			if err != nil {
				return false, err
			}
			if rule.Within(c.city.Registry(), who.Unit, t.Against(c.city.Registry())) {
				return false, nil
			}
		}
	}
	return it.MaySee(c.city.Registry(), who, c.city.Now()), nil
}

// toldRefusal is the refusal that a status tells of.
func toldRefusal(err error) error {
	r := &rule.Refusal{}
	for _, d := range status.Convert(err).Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			r.Reason, r.DecidedBy, r.Message = rule.Reason(d.Reason), d.Metadata["decided_by"], d.Metadata["detail"]
			r.Field = d.Metadata["field"]
		}
	}
	switch {
	case r.Reason == "":
		return err
	case r.Reason == rule.OutOfScope && r.Message == absentMessage:
		r.Reason = rule.NotFound // calls do not say so to those who may not know; see refused
	}
	return r
}

func TestCallsKeepWhatTheScenariosPromise(t *testing.T) {
	t.Parallel()
	corpus, err := scenario.Load()
	if err != nil {
		t.Fatal(err)
	}
	city := dispatchtest.Open(t)
	c := Config{DevActor: true, Dispatcher: city.Dispatcher}
	run := viewing(t, city, &c)
	conn := serve(t, c, c.register)
	run()
	for i := range corpus.Scenarios {
		s := &corpus.Scenarios[i]
		t.Run(s.File+"/"+s.Name, func(t *testing.T) { // one after another: they share a clock
			if err := corpus.Play(t.Context(), &called{city, conn}, s, fmt.Sprint(i)); err != nil {
				t.Error(err)
			}
		})
	}
	head, err := city.Store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Projector.WaitFor(t.Context(), head); err != nil {
		t.Errorf("the views did not keep up: %v", err)
	}
}
