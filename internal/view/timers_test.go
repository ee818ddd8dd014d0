package view_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/ticket"
	"github.com/chuishao/dispatch/internal/view"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// ticketEvents are the events of a ticket after its first: all of the contract that the rules can fold.
func ticketEvents(t *testing.T) []protoreflect.MessageType {
	t.Helper()
	first := []protoreflect.Name{"TicketReported", "RecordImported"}
	var list []protoreflect.MessageType
	for _, name := range slices.Sorted(slices.Values(event.Types())) {
		m, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName("chuishao.v1." + name))
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(first, m.Descriptor().Name()) {
			continue
		}
		if _, err := ticket.Evolve(ticket.State{}, &pb.EventMeta{}, m.New().Interface()); err == nil {
			list = append(list, m)
		}
	}
	if len(list) < 70 {
		t.Fatalf("found %d events of a ticket", len(list))
	}
	return list
}

// anything fills an event with values at random: instants around at, units of a few, whatever enums have.
func anything(r *rand.Rand, m protoreflect.Message, at time.Time) proto.Message {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if fd.Message() != nil && fd.Message().FullName() == "google.protobuf.Timestamp" {
			if r.IntN(5) > 0 {
				by := at.Add(time.Duration(r.IntN(10*24*60)-24*60) * time.Minute).Add(time.Duration(r.IntN(1000)) * time.Microsecond)
				m.Set(fd, protoreflect.ValueOfMessage(timestamppb.New(by).ProtoReflect()))
			}
			continue
		}
		if fd.IsList() || fd.Message() != nil || r.IntN(4) == 0 {
			continue
		}
		switch fd.Kind() {
		case protoreflect.BoolKind:
			m.Set(fd, protoreflect.ValueOfBool(r.IntN(2) == 0))
		case protoreflect.Uint32Kind:
			m.Set(fd, protoreflect.ValueOfUint32(uint32(r.IntN(5))))
		case protoreflect.StringKind:
			m.Set(fd, protoreflect.ValueOfString([]string{"u1", "u2", "3 WD"}[r.IntN(3)]))
		case protoreflect.EnumKind:
			values := fd.Enum().Values()
			m.Set(fd, protoreflect.ValueOfEnum(values.Get(r.IntN(values.Len())).Number()))
		}
	}
	return m.Interface()
}

// tumult records tickets to which anything happens in any order, and gives what each comes to.
func tumult(t *testing.T, h *history, r *rand.Rand, tickets, events int) map[string]ticket.State {
	t.Helper()
	kinds := ticketEvents(t)
	folded := map[string]ticket.State{}
	record := func(id string, e happened) {
		t.Helper()
		h.record("ticket-"+id, e)
		s, err := ticket.Evolve(folded[id], &pb.EventMeta{OccurredAt: at(e.at), Actor: &pb.Actor{Person: "p1", Role: pb.Role_ROLE_DISPATCHER, Unit: "u1"}}, e.msg)
		if err != nil {
			t.Fatal(err)
		}
		folded[id] = s
	}
	when := day0
	for i := range tickets {
		when = when.Add(time.Duration(r.IntN(60)) * time.Minute)
		first := anything(r, new(pb.TicketReported).ProtoReflect(), when)
		if r.IntN(5) == 0 {
			first = anything(r, new(pb.RecordImported).ProtoReflect(), when)
		}
		record(fmt.Sprint(i), happened{when, first})
	}
	for range events {
		when = when.Add(time.Duration(r.IntN(60)) * time.Second)
		record(fmt.Sprint(r.IntN(tickets)), happened{when, anything(r, kinds[r.IntN(len(kinds))].New(), when)})
	}
	return folded
}

// running are all timers, as the rules have them.
func running(folded map[string]ticket.State, before time.Time) []view.DueTimer {
	var list []view.DueTimer
	for id, s := range folded {
		for _, timer := range s.Timers() {
			if timer.By.Before(before) {
				list = append(list, view.DueTimer{Ticket: "tickets/" + id, Timer: timer.Which, By: timer.By.UTC()})
			}
		}
	}
	return list
}

func sortTimers(list []view.DueTimer) {
	slices.SortFunc(list, func(a, b view.DueTimer) int {
		return cmp.Or(cmp.Compare(a.Ticket, b.Ticket), a.By.Compare(b.By), cmp.Compare(a.Timer, b.Timer))
	})
}

func TestTimersOfTheViewAreThoseOfTheFoldedTicket(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		h := newHistory(t)
		r := rand.New(rand.NewPCG(seed, 11))
		folded := tumult(t, h, r, 30, 700)
		cut, whole := h.views("cut.db"), h.views("whole.db")
		h.catchUp(cut, 20)
		// However little is kept in memory on the way.
		if err := projector.Rebuild(t.Context(), h.store, whole, projector.Options{Batch: 30, Keep: 3}, view.All(shanghai)...); err != nil {
			t.Fatal(err)
		}
		if dump(t, cut) != dump(t, whole) {
			t.Errorf("seed %d: a rebuild gives other rows than batches do", seed)
		}
		for name, db := range map[string]*viewdb.DB{"in batches": cut, "rebuilt": whole} {
			reader := view.NewReader(db, h.store)
			for _, when := range []time.Time{day0, day0.Add(30 * time.Hour), day0.AddDate(0, 0, 4), day0.AddDate(9, 0, 0)} {
				got, at, err := reader.Due(t.Context(), when, 1000)
				if err != nil || at != h.last {
					t.Fatalf("at %d: %v, want position %d", at, err, h.last)
				}
				for i := range got {
					if want := folded[got[i].Ticket[len("tickets/"):]].Events; uint64(got[i].Version) != want {
						t.Errorf("%v: want version %d", got[i], want)
					}
					got[i].Version, got[i].By = 0, got[i].By.UTC()
				}
				want := running(folded, when)
				sortTimers(got)
				sortTimers(want)
				if !slices.Equal(got, want) {
					t.Fatalf("seed %d, %s, at %v: got %v, want %v", seed, name, when, got, want)
				}
				next, err := reader.NextDue(t.Context(), when)
				if err != nil || !next.Equal(nextOf(folded, when)) {
					t.Errorf("next after %v: got %v, %v, want %v", when, next, err, nextOf(folded, when))
				}
			}
		}
	}
}

// nextOf is the earliest instant after when at which some ticket's first timer comes.
func nextOf(folded map[string]ticket.State, when time.Time) (next time.Time) {
	for _, s := range folded {
		var first time.Time
		for _, timer := range s.Timers() {
			if first.IsZero() || timer.By.Before(first) {
				first = timer.By.Truncate(time.Microsecond)
			}
		}
		if !first.Before(when) && !first.IsZero() && (next.IsZero() || first.Before(next)) {
			next = first
		}
	}
	return next
}

func TestWhatIsDueComesInTheOrderOfItsInstants(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	for i := range 20 {
		h.record(fmt.Sprintf("ticket-%d", i), happened{day0, &pb.TicketReported{AcceptBy: at(day0.Add(time.Duration((i*7)%20) * time.Minute))}})
	}
	r := h.reader()
	got, _, err := r.Due(t.Context(), day0.Add(5*time.Minute+999*time.Millisecond), 9)
	if err != nil || len(got) != 5 {
		t.Fatalf("got %v, %v, want 5", got, err)
	}
	for i, timer := range got { // of the one at that very second there is time to its end
		if want := day0.Add(time.Duration(i) * time.Minute); !timer.By.Equal(want) || timer.Timer != pb.TicketTimer_TICKET_TIMER_ACCEPT {
			t.Errorf("got %v, want one by %v", timer, want)
		}
	}
	if next, err := r.NextDue(t.Context(), day0.AddDate(0, 0, 1)); err != nil || !next.IsZero() {
		t.Errorf("after all: got %v, %v", next, err)
	}
}
