package rpc

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/scenario"
)

// teller tells stories over gRPC, each in a city of its own.
type teller struct {
	called
	fire func(ctx context.Context) error
}

// as lets a context act for somebody.
func as(ctx context.Context, by rule.Actor) context.Context {
	roles := make([]string, len(by.Roles))
	for i, r := range by.Roles {
		roles[i] = strings.TrimPrefix(r.String(), "ROLE_")
	}
	return metadata.AppendToOutgoingContext(ctx, "chuishao-dev-actor", fmt.Sprintf("person=%s;roles=%s;unit=%s", by.Person, strings.Join(roles, ","), by.Unit))
}

// Ask is a scenario.Teller's.
func (t *teller) Ask(ctx context.Context, at time.Time, by rule.Actor, method string, request, answer proto.Message) error {
	t.city.Clock.Set(at)
	head, err := t.city.Store.Head(ctx)
	if err != nil {
		return err
	}
	if f := request.ProtoReflect().Descriptor().Fields().ByName("min_consistency_token"); f != nil {
		request.ProtoReflect().Set(f, protoreflect.ValueOfString(Token(head)))
	}
	if err := t.conn.Invoke(as(ctx, by), method, request, answer); err != nil {
		return toldRefusal(err)
	}
	return nil
}

// Fire is a scenario.Teller's.
func (t *teller) Fire(ctx context.Context, at time.Time) error {
	t.city.Clock.Set(at)
	return t.fire(ctx)
}

// Recorded is a scenario.Teller's.
func (t *teller) Recorded(ctx context.Context, name string) (types []string, err error) {
	kind, id, _ := strings.Cut(name, "/")
	for r, err := range t.city.Store.ReadStream(ctx, strings.TrimSuffix(kind, "s")+"-"+id, 0) {
		if err != nil {
			return nil, err
		}
		e, err := event.Decode(r)
		if err != nil {
			return nil, err
		}
		types = append(types, e.Type)
	}
	return types, nil
}

func TestStoriesEndAsTheyAreTold(t *testing.T) {
	t.Parallel()
	corpus, err := scenario.Load()
	if err != nil {
		t.Fatal(err)
	}
	stories, err := corpus.Stories()
	if err != nil {
		t.Fatal(err)
	}
	for i := range stories {
		s := &stories[i]
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			city := dispatchtest.Open(t)
			c := Config{DevActor: true, Dispatcher: city.Dispatcher}
			run := viewing(t, city, &c)
			conn := serve(t, c, c.register)
			run()
			p := &teller{called: called{city, conn}, fire: func(context.Context) error { return nil }}
			if err := corpus.Tell(t.Context(), p, s, "s"); err != nil {
				t.Errorf("%s: %v", s.File, err)
			}
		})
	}
}
