package suggest

import (
	"fmt"
	"math"
	"slices"

	"github.com/blevesearch/bleve/v2/analysis"
	"github.com/blevesearch/bleve/v2/analysis/lang/cjk"
	bleve "github.com/blevesearch/bleve/v2/registry"
)

// newAnalyzer divides texts into terms: pairs of neighbouring characters of Chinese, words of other scripts, all in one width and case.
func newAnalyzer() (analysis.Analyzer, error) {
	a, err := bleve.NewCache().AnalyzerNamed(cjk.AnalyzerName)
	if err != nil {
		return nil, fmt.Errorf("analyzer of texts: %w", err)
	}
	return a, nil
}

// words are the distinct terms of texts, in their order.
func (x *Index) words(texts ...string) []string {
	var all []string
	for _, text := range texts {
		for _, token := range x.analyzer.Analyze([]byte(text)) {
			all = append(all, string(token.Term))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// terms is an inverted index in memory. A term that no ticket has any more is gone, and can not be found in it. Its caller
// locks it.
type terms struct {
	next    uint32 // the sequence number of the next ticket
	ids     map[string]uint32
	all     []term
	free    []uint32
	entries map[uint32]*entry // by sequence number
	topics  map[string]int    // the terms of categories' names
}

type term struct {
	text string
	in   []uint32 // the sequence numbers of the tickets that have it, ascending
}

func newTerms() *terms { return &terms{ids: map[string]uint32{}, entries: map[uint32]*entry{}} }

// add puts a ticket's words into the index. Words of the place are known by their numbers alone: no ticket is found by them.
func (t *terms) add(e *entry, words, place []string) {
	e.seq = t.next
	t.next++
	t.entries[e.seq] = e
	e.terms, e.place = t.numbers(words, e.seq), t.numbers(place, e.seq)
}

func (t *terms) numbers(words []string, seq uint32) []uint32 {
	numbers := make([]uint32, len(words))
	for i, w := range words {
		id, ok := t.ids[w]
		if !ok {
			if n := len(t.free); n > 0 {
				id, t.free = t.free[n-1], t.free[:n-1]
			} else {
				id = uint32(len(t.all))
				t.all = append(t.all, term{})
			}
			t.ids[w], t.all[id].text = id, w
		}
		t.all[id].in = append(t.all[id].in, seq)
		numbers[i] = id
	}
	slices.Sort(numbers)
	return numbers
}

// remove takes a ticket's words out of the index.
func (t *terms) remove(e *entry) {
	for _, id := range slices.Concat(e.terms, e.place) {
		in := t.all[id].in
		at, ok := slices.BinarySearch(in, e.seq)
		switch {
		case !ok:
			continue
		case len(in) == 1:
			delete(t.ids, t.all[id].text)
			t.all[id] = term{}
			t.free = append(t.free, id)
		case at == 0: // the oldest go first
			t.all[id].in = in[1:]
		default:
			t.all[id].in = slices.Delete(in, at, at+1)
		}
	}
	delete(t.entries, e.seq)
	e.terms, e.place = nil, nil
}

// topical is how much more a term counts that stands in the name of a category: it says what a matter is about.
const topical = 3

// weight is what it says that two tickets share a term: the more, the fewer have it.
func (t *terms) weight(id uint32) float64 { return t.worth(t.all[id].text, len(t.all[id].in)) }

func (t *terms) worth(text string, have int) float64 {
	w := math.Log1p(float64(len(t.entries)) / float64(max(1, have)))
	if t.topics[text] > 0 {
		return topical * w * w
	}
	return w * w
}

// known are the numbers of those words that some ticket has, and what the others count.
func (t *terms) known(words []string) (numbers []uint32, unknown float64) {
	for _, w := range words {
		if id, ok := t.ids[w]; ok {
			numbers = append(numbers, id)
		} else {
			unknown += t.worth(w, 0)
		}
	}
	slices.Sort(numbers)
	return numbers, unknown
}

// query is the words that tickets are compared with.
type query struct {
	terms []uint32
	norm  float64 // what all words count
}

func (t *terms) query(words []string) query {
	numbers, norm := t.known(words)
	for _, id := range numbers {
		norm += t.weight(id)
	}
	return query{numbers, norm}
}

// alike says how much of the same two tickets say, between 0 and 1: halfway between what they share of both, and of the shorter.
func (t *terms) alike(q query, terms []uint32) float64 {
	var shared, norm float64
	i := 0
	for _, id := range terms {
		w := t.weight(id)
		norm += w
		for i < len(q.terms) && q.terms[i] < id {
			i++
		}
		if i < len(q.terms) && q.terms[i] == id {
			shared += w
		}
	}
	if shared == 0 {
		return 0
	}
	return min(1, (shared/math.Sqrt(q.norm*norm)+shared/min(q.norm, norm))/2)
}

// scan bounds how many places of terms one question looks at.
const scan = 50_000

// similar are the tickets that say most of the same, at most n, the likest first.
func (t *terms) similar(q query, n int) []similar {
	rarest := slices.Clone(q.terms)
	slices.SortFunc(rarest, func(a, b uint32) int { return len(t.all[a].in) - len(t.all[b].in) })
	shared := map[uint32]float64{}
	looked := 0
	for _, id := range rarest {
		in := t.all[id].in
		if looked += len(in); looked > scan && len(shared) > 0 {
			break // what so many have says little
		}
		w := t.weight(id)
		for _, seq := range in {
			shared[seq] += w
		}
	}
	best := make([]similar, 0, len(shared))
	for seq, w := range shared {
		best = append(best, similar{t.entries[seq], w})
	}
	order := func(a, b similar) int {
		switch {
		case a.score > b.score:
			return -1
		case a.score < b.score:
			return 1
		}
		return int(int64(b.seq) - int64(a.seq)) // the later first
	}
	slices.SortFunc(best, order)
	best = best[:min(n, len(best))]
	for i := range best {
		best[i].score = t.alike(q, best[i].terms)
	}
	slices.SortFunc(best, order)
	return best
}

type similar struct {
	*entry
	score float64
}
