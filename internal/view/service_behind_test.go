package view

import (
	"fmt"
	"slices"
	"testing"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// watched is a logbook that notes which tickets are looked at.
type watched struct {
	logbook
	looked []int64
}

func (w *watched) between(after, from, to int64, yield func(l *life) (bool, error)) error {
	return w.logbook.between(after, from, to, func(l *life) (bool, error) {
		w.looked = append(w.looked, l.ticket)
		return yield(l)
	})
}

// The tickets behind a figure may be a few among very many: once all are found, no other is looked at.
func TestNothingIsLookedAtBehindTheLastTicketOfASet(t *testing.T) {
	t.Parallel()
	m := &recollection{memory: &memory{nodes: newNodes(nil, "")}, anchors: &anchors{}}
	var all []int64
	if err := m.nodes.put(&all, "all", ""); err != nil {
		t.Fatal(err)
	}
	// Of nine tickets that were dispatched, two were extended; the second was dispatched twice.
	for i := range int64(9) {
		l := &life{ticket: i + 1, id: fmt.Sprint(i + 1), fixed: all, steps: []step{
			{what: didReport, at: 10, n: []int64{0, 0}}, {what: didAccept, at: 11, n: []int64{-1, -1}}, {what: didDispatch, at: 12, n: []int64{0}},
		}}
		switch i + 1 {
		case 2:
			l.steps = append(l.steps, step{what: didDispatch, at: 13, n: []int64{0}})
		case 3, 5:
			l.steps = append(l.steps, step{what: didExtend, at: 14})
		}
		m.lives = append(m.lives, l)
	}
	for _, c := range []struct {
		metric        string
		set           pb.FigureSet
		total, after  int64
		found, looked []int64
	}{
		{"M20", pb.FigureSet_FIGURE_SET_NUMERATOR, 2, 0, []int64{3, 5}, []int64{1, 2, 3, 4, 5}},
		{"M20", pb.FigureSet_FIGURE_SET_NUMERATOR, 2, 3, []int64{5}, []int64{4, 5, 6, 7, 8, 9}}, // a later page does not know what went before
		{"M20", pb.FigureSet_FIGURE_SET_EXCLUDED, 0, 0, nil, nil},
		{"M08", pb.FigureSet_FIGURE_SET_DENOMINATOR, 10, 0, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9}, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9}},
	} {
		s, err := servedSet(m, m.nodes.byID[all[0]], &BehindQuery{Metric: c.metric, Set: c.set}, period{from: 0, to: 100, at: 100})
		if err != nil {
			t.Fatal(err)
		}
		w := &watched{logbook: m}
		var found []int64
		if err := s.behind(w, c.after, func(l *life, _ string) bool {
			found = append(found, l.ticket)
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if s.total != c.total || !slices.Equal(found, c.found) || !slices.Equal(w.looked, c.looked) {
			t.Errorf("%s, set %v after %d: got %v of %d, having looked at %v, want %v of %d at %v", c.metric, c.set, c.after, found, s.total, w.looked, c.found, c.total, c.looked)
		}
	}
}
