package rule

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// Enum is an enum of the contract. Its zero value is called UNSPECIFIED, after the prefix that all its names have.
type Enum interface {
	~int32
	fmt.Stringer
}

// Name is the name of an enum's value without the enum's prefix.
func Name[E Enum](e E) string {
	var none E
	return strings.TrimPrefix(e.String(), strings.TrimSuffix(none.String(), "UNSPECIFIED"))
}

// Life is what the folded states of all streams have in common; they embed it. E is the enum of the main states. The zero value: nothing came to life.
type Life[E Enum] struct {
	State  E      // UNSPECIFIED: there is none yet
	Events uint64 // how many events were folded: the stream's version

	No      string // the public number
	Subject string // the data subject whose key seals the particulars; empty while nothing was sealed

	Decided Decision  // what led to the main state
	LastAt  time.Time // the latest instant at which anything happened to it
}

// Exists says whether it came to life.
func (l *Life[E]) Exists() bool { return l.State != 0 }

// Standing is its public number and its main state without the enum's prefix.
func (l *Life[E]) Standing() (no, state string) { return l.No, Name(l.State) }

// Owner is the data subject whose key seals what is said of it; empty while nothing was.
func (l *Life[E]) Owner() string { return l.Subject }

// In refuses unless it is in one of the states, and says which event put it where it is. What is what people call it: "post"; field is the request's
// field that names it, empty where the whole request does.
func (l *Life[E]) In(field, what string, states ...E) error {
	if slices.Contains(states, l.State) {
		return nil
	}
	want := make([]string, len(states))
	for i, w := range states {
		want[i] = Name(w)
	}
	return &Refusal{
		Reason: WrongState, Field: field, Message: fmt.Sprintf("the %s is %s; this needs %v", what, Name(l.State), want), DecidedBy: l.Decided.String(),
	}
}

// Happened folds what every event changes, after what this one does. It leads to the main state after; UNSPECIFIED: to no other than it was in.
func (l *Life[E]) Happened(meta *pb.EventMeta, event proto.Message, after E) {
	at := meta.GetOccurredAt().AsTime()
	l.Events++
	l.LastAt = Latest(l.LastAt, at)
	if after != 0 {
		l.State = after
		l.Decided = Decision{Event: string(event.ProtoReflect().Descriptor().Name()), Version: l.Events, Unit: meta.GetActor().GetUnit(), At: at}
	}
}

// Sealed notes whose key seals what an event says; one that says nothing changes nothing.
func (l *Life[E]) Sealed(event proto.Message) {
	if e, ok := event.(interface{ GetSealed() *pb.Sealed }); ok && e.GetSealed() != nil {
		l.Subject = e.GetSealed().Subject
	}
}

// Step says what is wrong with an event as the step from l to the state after it, whatever it says itself; nil if nothing is. It may happen in the
// states of legal, none if it is no event of this kind of stream, and leads to the main state want, as in Happened. What is as in In.
func (l *Life[E]) Step(after *Life[E], what string, meta *pb.EventMeta, event proto.Message, legal []E, want E) error {
	wrong := Wrong(event)
	switch {
	case len(legal) == 0:
		return wrong("happens to no %s", what)
	case !slices.Contains(legal, l.State):
		return wrong("happened to the %s when it was %s", what, Name(l.State))
	case after.Events != l.Events+1:
		return wrong("event %d follows %d", after.Events, l.Events)
	case want == 0 && after.State != l.State, want != 0 && after.State != want:
		return wrong("led from %s to %s", Name(l.State), Name(after.State))
	case meta.GetRecordedAt().AsTime().Before(meta.GetOccurredAt().AsTime()):
		return wrong("was recorded before it happened")
	}
	return nil
}

// Wrong makes errors about a recorded event, which they name.
func Wrong(event proto.Message) func(format string, args ...any) error {
	return func(format string, args ...any) error {
		return fmt.Errorf("%s: "+format, append([]any{event.ProtoReflect().Descriptor().Name()}, args...)...)
	}
}
