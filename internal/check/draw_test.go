package check_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/check"
)

func TestASampleIsTheSameForTheSameSeedWhateverTheOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOfN(rapid.StringN(1, 8, -1), 1, 40).Draw(t, "ids")
		seed := rapid.SliceOfN(rapid.Byte(), check.SeedSize, check.SeedSize).Draw(t, "seed")
		n := rapid.IntRange(1, 50).Draw(t, "n")
		drawn := check.Sample(seed, ids, n)
		known := map[string]bool{}
		for _, id := range ids {
			known[id] = true
		}
		seen := map[string]bool{}
		for _, id := range drawn {
			if !known[id] || seen[id] {
				t.Fatalf("%q was not there to be drawn, or is drawn twice", id)
			}
			seen[id] = true
		}
		if len(drawn) != min(n, len(known)) {
			t.Fatalf("%d of %d are drawn, want %d", len(drawn), len(known), n)
		}
		others := rapid.Permutation(append(slices.Clone(ids), ids...)).Draw(t, "others")
		if again := check.Sample(seed, others, n); !slices.Equal(again, drawn) {
			t.Fatalf("drawn again: %q, want %q", again, drawn)
		}
		if more := check.Sample(seed, ids, n+1); !slices.Equal(more[:len(drawn)], drawn) {
			t.Fatalf("a larger sample begins with %q, want %q", more, drawn)
		}
		if !bytes.Equal(check.PopulationHash(others), check.PopulationHash(ids)) {
			t.Fatal("the hash depends on the order")
		}
	})
}

// Anybody may draw with other tools: sha256sum of the seed's bytes followed by the id's.
func TestTicketsAreRankedByTheHashOfSeedAndID(t *testing.T) {
	t.Parallel()
	seed := []byte("0123456789abcdef")
	ids := []string{"a", "b", "c", "d"}
	ranks := map[string]string{}
	for _, id := range ids {
		sum := sha256.Sum256([]byte("0123456789abcdef" + id))
		ranks[hex.EncodeToString(sum[:])] = id
	}
	var want []string
	for _, rank := range sorted(ranks) {
		want = append(want, ranks[rank])
	}
	if got := check.Sample(seed, ids, 4); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	hash := sha256.Sum256([]byte("a\nb\nc\nd\n"))
	if got := check.PopulationHash([]string{"d", "c", "b", "a", "a"}); !bytes.Equal(got, hash[:]) {
		t.Errorf("got %x, want %x", got, hash)
	}
}

func sorted(m map[string]string) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func TestEveryTicketIsDrawnAboutAsOftenAsAnyOther(t *testing.T) {
	t.Parallel()
	const ids, drawn, times = 20, 5, 4000
	var all []string
	for i := range ids {
		all = append(all, fmt.Sprint("ticket-", i))
	}
	often := map[string]int{}
	for i := range times {
		for _, id := range check.Sample(fmt.Appendf(nil, "%016d", i), all, drawn) {
			often[id]++
		}
	}
	for _, id := range all {
		if n, want := often[id], times*drawn/ids; n < want*85/100 || n > want*115/100 {
			t.Errorf("%s was drawn %d times, want about %d", id, n, want)
		}
	}
}

func TestADrawThatIsNotTheSeedsIsFound(t *testing.T) {
	t.Parallel()
	ids, seed := []string{"a", "b", "c", "d", "e"}, []byte("0123456789abcdef")
	drawn := func() *pb.SpotCheckDrawn {
		return &pb.SpotCheckDrawn{Seed: seed, Population: 5, PopulationHash: check.PopulationHash(ids), Tickets: check.Sample(seed, ids, 2)}
	}
	if err := check.Redraw(drawn(), ids); err != nil {
		t.Errorf("the draw itself: %v", err)
	}
	for name, change := range map[string]func(*pb.SpotCheckDrawn) []string{
		"another ticket":      func(e *pb.SpotCheckDrawn) []string { e.Tickets = check.Sample(seed, ids, 5)[3:]; return ids },
		"another order":       func(e *pb.SpotCheckDrawn) []string { slices.Reverse(e.Tickets); return ids },
		"another seed":        func(e *pb.SpotCheckDrawn) []string { e.Seed = []byte("another seed 16b"); return ids },
		"a ticket left out":   func(*pb.SpotCheckDrawn) []string { return ids[1:] },
		"a ticket exchanged":  func(*pb.SpotCheckDrawn) []string { return append(slices.Clone(ids[1:]), "f") },
		"a ticket that stays": func(e *pb.SpotCheckDrawn) []string { e.Tickets = []string{e.Tickets[0], e.Tickets[0]}; return ids },
	} {
		e := drawn()
		if err := check.Redraw(e, change(e)); err == nil {
			t.Errorf("%s: not found", name)
		}
	}
}

func TestWhatNoSpotCheckMayHoldIsFound(t *testing.T) {
	t.Parallel()
	seed, ids := []byte("0123456789abcdef"), []string{"a", "b"}
	when := time.Date(2025, 3, 5, 1, 0, 0, 0, time.UTC)
	drawn := func() *pb.SpotCheckDrawn {
		return &pb.SpotCheckDrawn{
			Kind: pb.CheckKind_CHECK_KIND_SPOT_CHECK, Path: []*pb.AreaNode{{Level: "city", Code: "c"}}, From: timestamppb.New(when.Add(-48 * time.Hour)), To: timestamppb.New(when.Add(-24 * time.Hour)),
			Seed: seed, Population: 2, PopulationHash: check.PopulationHash(ids), Tickets: check.Sample(seed, ids, 2), Unit: "u",
		}
	}
	meta := func(unit string) *pb.EventMeta {
		return &pb.EventMeta{OccurredAt: timestamppb.New(when), RecordedAt: timestamppb.New(when), Actor: &pb.Actor{Unit: unit, Person: "p"}}
	}
	begun := func(e *pb.SpotCheckDrawn) (check.State, check.State) {
		after, err := check.Evolve(check.State{}, meta("u"), e)
		if err != nil {
			t.Fatal(err)
		}
		return check.State{}, after
	}
	before, after := begun(drawn())
	if err := check.CheckInvariants(before, after, meta("u"), drawn()); err != nil {
		t.Errorf("what may be drawn: %v", err)
	}
	for name, change := range map[string]func(*pb.SpotCheckDrawn){
		"nowhere":              func(e *pb.SpotCheckDrawn) { e.Path = nil },
		"a period to come":     func(e *pb.SpotCheckDrawn) { e.To = timestamppb.New(when.Add(time.Hour)) },
		"no period":            func(e *pb.SpotCheckDrawn) { e.From = e.To },
		"no seed":              func(e *pb.SpotCheckDrawn) { e.Seed = nil },
		"nothing":              func(e *pb.SpotCheckDrawn) { e.Tickets = nil },
		"more than there were": func(e *pb.SpotCheckDrawn) { e.Population = 1 },
		"twice":                func(e *pb.SpotCheckDrawn) { e.Tickets = []string{"a", "a"} },
		"in another order":     func(e *pb.SpotCheckDrawn) { slices.Reverse(e.Tickets) },
		"a category":           func(e *pb.SpotCheckDrawn) { e.Category = "03" },
		"another population":   func(e *pb.SpotCheckDrawn) { e.PopulationHash = check.PopulationHash([]string{"a", "z"}) },
	} {
		e := drawn()
		change(e)
		before, after := begun(e)
		if check.CheckInvariants(before, after, meta("u"), e) == nil {
			t.Errorf("drawn from %s: not found", name)
		}
	}
	recorded := func(s check.State, unit string, e *pb.SpotCheckRecorded) (check.State, error) {
		next, err := check.Evolve(s, meta(unit), e)
		if err != nil {
			t.Fatal(err)
		}
		return next, check.CheckInvariants(s, next, meta(unit), e)
	}
	first, err := recorded(after, "v", &pb.SpotCheckRecorded{Ticket: "a", Lead: "l"})
	if err != nil {
		t.Errorf("the first look: %v", err)
	}
	if len(after.Items) != 2 || !after.Items[0].CheckedAt.IsZero() || !after.Items[1].CheckedAt.IsZero() {
		t.Error("a look changed the state before it")
	}
	for name, e := range map[string]*pb.SpotCheckRecorded{
		"a ticket that was looked at": {Ticket: "a", Lead: "l"}, "one that was not drawn": {Ticket: "z", Lead: "l"}, "the last, and not done": {Ticket: "b", Lead: "l"},
		"its own": {Ticket: "b", Lead: "v", Done: true},
	} {
		if _, err := recorded(first, "v", e); err == nil {
			t.Errorf("%s: not found", name)
		}
	}
	done, err := recorded(first, "v", &pb.SpotCheckRecorded{Ticket: "b", Lead: "l", Done: true})
	if err != nil || done.State != pb.CheckState_CHECK_STATE_DONE {
		t.Errorf("the last look: %s, %v", done.State, err)
	}
	if _, err := recorded(done, "v", &pb.SpotCheckRecorded{Ticket: "b", Lead: "l", Done: true}); err == nil {
		t.Error("a look after the last: not found")
	}
}
