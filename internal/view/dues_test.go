package view_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/view"
	"github.com/chuishao/dispatch/internal/whistle"
)

// foldedWhistle is the state of a whistle that a test made up.
func foldedWhistle(t *testing.T, w *called) whistle.State {
	t.Helper()
	var s whistle.State
	for _, e := range w.events {
		var err error
		if s, err = whistle.Evolve(s, &pb.EventMeta{OccurredAt: timestamppb.New(e.at), Actor: &pb.Actor{Unit: "u1"}}, e.msg); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestDuesOfTheViewAreTheTimersOfTheFoldedStreams(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		h := newHistory(t)
		r := rand.New(rand.NewPCG(seed, 5))
		all := whistles(h, r, 40)
		db := h.views("cut.db")
		h.catchUp(db, 13)
		reader := view.NewReader(db, h.store)
		fired := 0
		for range 20 {
			now := day0.Add(time.Duration(r.Int64N(int64(14 * 24 * time.Hour))))
			want := map[string][]string{}
			next := time.Time{}
			for _, w := range all {
				s := foldedWhistle(t, w)
				for i, timer := range s.Timers() {
					late := !now.Before(calendar.Late(timer.By))
					if late {
						name := "whistles/" + w.stream[len("whistle-"):]
						want[name] = append(want[name], fmt.Sprintf("%d %s %v %d", timer.Which, timer.Unit, timer.By.Truncate(time.Microsecond).UTC(), len(w.events)))
						fired++
					}
					if by := timer.By.Truncate(time.Microsecond); i == 0 && !late && (next.IsZero() || by.Before(next)) {
						next = by
					}
				}
			}
			list, err := reader.DueOthers(t.Context(), now, 1000)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string][]string{}
			for i, d := range list {
				got[d.Name] = append(got[d.Name], fmt.Sprintf("%d %s %v %d", d.Which, d.Unit, d.By, d.Version))
				if i > 0 && list[i-1].Name != d.Name && len(got[d.Name]) > 1 {
					t.Errorf("the timers of %s do not stand together", d.Name)
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("due at %v: got %v, want %v", now, got, want)
			}
			if at, err := reader.NextDueOther(t.Context(), now); err != nil || !at.Equal(next) {
				t.Errorf("next after %v: got %v, %v, want %v", now, at, err, next)
			}
			if few, err := reader.DueOthers(t.Context(), now, 2); err != nil || len(want) > 1 && few[0] != list[0] {
				t.Errorf("of two streams: got %v, %v", few, err)
			}
		}
		if fired == 0 {
			t.Error("nothing was ever due")
		}
	}
}

func TestNothingSealedStandsInTheViewOfDues(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	secret := []byte("a sealed box")
	h.record("whistle-1",
		happened{day0, &pb.WhistleBlown{No: "W1", Kind: pb.WhistleKind_WHISTLE_KIND_ROUTINE, Street: "st", Path: path("c"), Sealed: &pb.Sealed{Subject: "subject-of-somebody", Box: secret}}},
		happened{day0, &pb.WhistleIssued{Participants: []*pb.Participant{{Unit: "u1", Compulsory: true, ReportInBy: at(day0.Add(time.Hour))}}, Sealed: &pb.Sealed{Box: secret}}})
	db := h.views("views.db")
	h.catchUp(db, 1)
	rows := dump(t, db)
	if !strings.Contains(rows, fmt.Sprintf("%x", "WhistleIssued")) {
		t.Fatal("the whistle is not there")
	}
	for _, text := range []string{fmt.Sprintf("%x", secret), fmt.Sprintf("%x", "subject-of-somebody")} {
		if strings.Contains(rows, text) {
			t.Errorf("the views hold %s", text)
		}
	}
}

func TestRowsOfWhistlesAreAsFarAsTheFoldedWhistles(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		h := newHistory(t)
		all := whistles(h, rand.New(rand.NewPCG(seed, 9)), 60)
		db := h.views("cut.db")
		h.catchUp(db, 7)
		rows, _, _, err := view.NewReader(db, h.store).ListWhistles(t.Context(), view.WhistleQuery{Scope: everyone, PageSize: 1000})
		if err != nil || len(rows) != len(all) {
			t.Fatalf("got %d whistles, %v, want %d", len(rows), err, len(all))
		}
		byName := map[string]*pb.WhistleRow{}
		for _, row := range rows {
			byName[row.Name] = row
		}
		for _, w := range all {
			s := foldedWhistle(t, w)
			row, want := byName["whistles/"+w.stream[len("whistle-"):]], s.Message("x")
			var got, arrivals []string
			for _, a := range row.Arrivals {
				got = append(got, fmt.Sprint(a.Unit, a.State, a.InTime, a.ReportedInAt.AsTime(), a.SignedAt.AsTime(), a.LeftAt.AsTime(), a.ReportInBy.AsTime(), a.Compulsory))
			}
			for _, p := range want.Participants {
				arrivals = append(arrivals, fmt.Sprint(p.Participant.Unit, p.State, p.InTime, p.ReportedInAt.AsTime(), p.SignedAt.AsTime(), p.LeftAt.AsTime(), p.Participant.ReportInBy.AsTime(), p.Participant.Compulsory))
			}
			if row.State != want.State || row.Kind != want.Kind || !slices.Equal(got, arrivals) || row.Parent != want.Parent ||
				!row.ResolveBy.AsTime().Equal(want.ResolveBy.AsTime()) || !row.ClosedAt.AsTime().Equal(want.ClosedAt.AsTime()) {
				t.Errorf("got %v, want %v", row, want)
			}
		}
	}
}
