package view_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/view"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// What a desk was told piece by piece, looking seldom or often, is what one is told that looks for the first time; and that is what the list has.
func TestADeskThatLooksNowAndThenKnowsWhatThereIs(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 7))
		whole := newHistory(t)
		all := whistles(whole, r, 30)
		h := newHistory(t)
		db := h.views("views.db")
		p, err := projector.Open(t.Context(), h.store, db, projector.Options{}, view.All(shanghai)...)
		if err != nil {
			t.Fatal(err)
		}
		reader := view.NewReader(db, h.store)
		mine := []string{"u1", "st1"}
		within := func(unit string) bool { return slices.Contains(mine, unit) }
		kept, desk := map[string]*pb.WhistleRow{}, reader.Desk(within, "s9", nil)
		told, ended := 0, 0
		now := day0
		look := func() {
			t.Helper()
			m, _, err := desk.Look(t.Context(), now)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range m.GetWhistles() {
				if proto.Equal(kept[w.Name], w) {
					t.Errorf("%s is told again, and has not changed", w.Name)
				}
				kept[w.Name] = w
				told++
			}
			for _, name := range m.GetEnded() {
				if kept[name] == nil {
					t.Errorf("%s ended, of which nothing was told", name)
				}
				delete(kept, name)
				ended++
			}
			fresh, _, err := reader.Desk(within, "s9", nil).Look(t.Context(), now)
			if err != nil {
				t.Fatal(err)
			}
			if len(fresh.Whistles) != len(kept) || fresh.Counts.Whistles != int64(len(kept)) {
				t.Fatalf("at %v: a desk knows %d whistles, one that begins %d, which counts %d", now, len(kept), len(fresh.Whistles), fresh.Counts.Whistles)
			}
			for _, w := range fresh.Whistles {
				if !proto.Equal(kept[w.Name], w) {
					t.Fatalf("at %v: a desk knows %v, one that begins %v", now, kept[w.Name], w)
				}
			}
			if again, _, err := desk.Look(t.Context(), now); err != nil || again != nil {
				t.Errorf("nothing happened, and the desk is told %v, %v", again, err)
			}
		}
		for open := slices.Clone(all); len(open) > 0; {
			for range 1 + r.IntN(9) {
				if len(open) == 0 {
					break
				}
				i := r.IntN(len(open))
				w := open[i]
				h.record(w.stream, w.events[0])
				if w.events = w.events[1:]; len(w.events) == 0 {
					open = slices.Delete(open, i, i+1)
				}
			}
			if err := p.CatchUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			now = now.Add(time.Duration(r.IntN(4)) * time.Hour)
			look()
		}
		if told == 0 || ended == 0 {
			t.Errorf("told of %d whistles and %d ends", told, ended)
		}

		// What it has in the end is what the list has, and its counts are those of the participants.
		rows, _, _, err := reader.ListWhistles(t.Context(), view.WhistleQuery{Scope: everyone, Filter: "open", Now: now, PageSize: 1000})
		if err != nil {
			t.Fatal(err)
		}
		want := new(pb.DeskCounts)
		for _, w := range rows {
			concerned := slices.Contains(mine, w.Street)
			for _, a := range w.Arrivals {
				concerned = concerned || slices.Contains(mine, a.Unit)
			}
			if !concerned && kept[w.Name] == nil {
				continue
			}
			if !proto.Equal(w, kept[w.Name]) {
				t.Errorf("the list has %v, the desk %v", w, kept[w.Name])
			}
			want.Whistles++
			for _, a := range w.Arrivals {
				switch a.State {
				case pb.ParticipantState_PARTICIPANT_STATE_NO_SHOW, pb.ParticipantState_PARTICIPANT_STATE_LEFT_EARLY:
					want.Absent++
				case pb.ParticipantState_PARTICIPANT_STATE_REPORTED_IN, pb.ParticipantState_PARTICIPANT_STATE_TASK_DONE, pb.ParticipantState_PARTICIPANT_STATE_RELEASED:
					if a.ReportedInAt != nil {
						want.Arrived++
					}
				}
			}
		}
		m, _, err := reader.Desk(within, "s9", nil).Look(t.Context(), now)
		if got := m.GetCounts(); err != nil || got.Whistles != want.Whistles || got.Absent != want.Absent || got.Arrived != want.Arrived {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
}

func TestADeskCountsWhatUnitsHoldByLightTheMostRedFirst(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	for i := range 60 {
		holder := fmt.Sprintf("u%02d", i)
		for n := range 1 + i%3 {
			by := day0.Add(time.Duration(1+n*10) * time.Hour)
			h.record(fmt.Sprintf("ticket-%d-%d", i, n), happened{day0, &pb.TicketReported{No: "x", Path: path("c"), Holder: holder, HolderPath: []string{"root", holder}, AcceptBy: at(by)}})
		}
	}
	h.record("ticket-other", happened{day0, &pb.TicketReported{No: "x", Path: path("c"), Holder: "v1", HolderPath: []string{"root", "v1"}, AcceptBy: at(day0)}})
	reader := h.reader()
	within := func(unit string) bool { return unit[0] == 'u' }
	// Limits lie 1, 11 and 21 hours after the beginning; at 10 hours the first has passed, and of the second a quarter or less is left.
	m, _, err := reader.Desk(within, "", nil).Look(t.Context(), day0.Add(10*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	c := m.Counts
	if c.Tickets.Red != 60 || c.Tickets.Yellow != 40 || c.Tickets.Green != 20 || c.Tickets.Grey != 0 {
		t.Errorf("got %v, want 60 red, 40 yellow and 20 green", c.Tickets)
	}
	if len(c.Holders) != 50 || c.Holders[0].Unit != "u01" || c.Holders[0].Tickets.Red != 1 || c.Holders[0].Tickets.Yellow != 1 || c.Holders[49].Unit != "u27" {
		t.Errorf("got %d holders, %v first and %v last", len(c.Holders), c.Holders[0], c.Holders[len(c.Holders)-1])
	}
}

// Of whistles that ended before a desk began it reads nothing at its second look either, however many there are.
func TestADeskBeginsWithWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	for i := range 3 {
		h.record(fmt.Sprintf("whistle-%d", i), happened{day0, &pb.WhistleBlown{No: fmt.Sprint(i), Kind: 1, Street: "u1", Path: path("c"), Participants: []*pb.Participant{{Unit: "v1", Compulsory: true}}}},
			happened{day0, &pb.WhistleRefused{Reason: "R"}})
	}
	db := h.views("views.db")
	p, err := projector.Open(t.Context(), h.store, db, projector.Options{}, view.All(shanghai)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	desk := view.NewReader(db, h.store).Desk(func(unit string) bool { return unit == "u1" }, "", nil)
	if m, _, err := desk.Look(t.Context(), day0); err != nil || len(m.Whistles) != 0 {
		t.Fatalf("got %v, %v", m, err)
	}
	// What cannot be read any more is not missed.
	err = db.Write(t.Context(), func(tx *viewdb.Tx) error {
		_, err := tx.Exec("UPDATE whistles_3 SET life = $1", []byte("damaged"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if m, _, err := desk.Look(t.Context(), day0); err != nil || m != nil {
		t.Errorf("got %v, %v, want nothing and no whistle read", m, err)
	}
}
