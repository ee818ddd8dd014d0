package suggest

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"sync/atomic"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/registry"
)

const (
	mostCategories = 5
	neighbours     = 30   // that vote
	unlike         = 0.15 // whoever has less in common does not
	// voice is how sure the neighbours can make one, and parents what a class's name counts for what lies in it.
	voice   = 0.9
	parents = 0.3
)

// categoryNames are the terms of the categories' names, by version of the registry.
type categoryNames struct{ made atomic.Pointer[namedVersion] }

type namedVersion struct {
	of    *registry.Snapshot
	names []categoryName
	df    map[string]int // how many categories have the term
}

type categoryName struct {
	category *pb.Category
	pieces   []namePiece
	leaf     bool
}

// namePiece is one of what a name lists: "占道" of "占道、违停".
type namePiece struct {
	text  string
	terms []string
}

func (x *Index) named(r *registry.Snapshot) *namedVersion {
	if made := x.names.made.Load(); made != nil && made.of == r {
		return made
	}
	v := &namedVersion{of: r, df: map[string]int{}}
	inner := map[string]bool{}
	for _, c := range r.Categories() {
		inner[c.GetParent()] = true
	}
	for _, c := range r.Categories() {
		n := categoryName{category: c, leaf: !inner[c.GetCode()]}
		var terms []string
		for _, text := range strings.FieldsFunc(c.GetName(), func(r rune) bool { return strings.ContainsRune("、，,；;（）()/ ", r) }) {
			p := namePiece{text, x.words(text)}
			n.pieces = append(n.pieces, p)
			terms = append(terms, p.terms...)
		}
		slices.Sort(terms)
		for _, t := range slices.Compact(terms) {
			v.df[t]++
		}
		v.names = append(v.names, n)
	}
	x.names.made.Store(v)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.terms.topics = v.df
	return v
}

// match says how much of a name's best piece stands in the words, between 0 and 1, and whether the piece stands there as a whole.
func (v *namedVersion) match(n *categoryName, text string, words []string) (score float64, whole bool) {
	for _, p := range n.pieces {
		if strings.Contains(text, p.text) {
			return 1, true
		}
		var shared, all float64
		for _, t := range p.terms {
			w := math.Log1p(float64(len(v.names)) / float64(v.df[t]))
			all += w
			if _, ok := slices.BinarySearch(words, t); ok {
				shared += w
			}
		}
		if all > 0 {
			score = max(score, shared/all)
		}
	}
	return score, false
}

// categories are those that a matter's words point to: by the categories' names, and by what earlier tickets that say the same were triaged as.
func (x *Index) categories(r *registry.Snapshot, m *Matter) []*pb.SuggestedCategory {
	if m.Words == nil {
		return nil
	}
	v, now := x.named(r), x.dispatcher.Now()
	words := x.words(m.Words.Title, m.Words.Text)
	text := m.Words.Title + "\n" + m.Words.Text

	votes := x.votes(words, m.ID)
	byName := make([]float64, len(v.names))
	whole := make([]bool, len(v.names))
	byCode := map[string]float64{}
	for i := range v.names {
		byName[i], whole[i] = v.match(&v.names[i], text, words)
		byCode[v.names[i].category.GetCode()] = byName[i]
	}
	var all []*pb.SuggestedCategory
	for i := range v.names {
		n := &v.names[i]
		if current, ok := r.Category(n.category.GetCode(), now); !ok || current != n.category || !n.leaf {
			continue
		}
		said := 1 - (1-byName[i])*(1-parents*byCode[n.category.GetParent()])
		if !whole[i] {
			said *= 0.8 // some of the words are not the name
		}
		vote := votes[n.category.GetCode()]
		score := 1 - (1-said)*(1-vote)
		if score < 0.05 {
			continue
		}
		s := &pb.SuggestedCategory{Category: n.category.GetCode(), Name: n.category.GetName(), Score: score, Reason: "text"}
		switch {
		case vote > said:
			s.Reason = "neighbours"
		case whole[i]:
			s.Reason = "name"
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *pb.SuggestedCategory) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.Category, b.Category))
	})
	return all[:min(mostCategories, len(all))]
}

// votes are how much the triaged tickets that say the same speak for categories, each between 0 and 1.
func (x *Index) votes(words []string, but string) map[string]float64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var all, best float64
	votes := map[string]float64{}
	n := 0
	for _, s := range x.terms.similar(x.terms.query(words), 4*neighbours) {
		if s.triaged && s.id != but && s.score >= unlike && n < neighbours {
			votes[s.category] += s.score
			all += s.score
			best = max(best, s.score)
			n++
		}
	}
	for c := range votes {
		votes[c] *= voice * best / all
	}
	return votes
}
