package view_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/admission"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/view"
)

// tried is an attempt as the reference sees it.
type tried struct {
	stream, request, item string
	at                    time.Time
	path                  []string // areas of the target, root first
	units                 []string // the one that tried and those above it
}

// admitted records random admissions, and attempts that the ban list refused, some of them sent again.
func admitted(h *history, r *rand.Rand) []tried {
	for i := range 8 {
		from := day0.AddDate(0, 0, 45)
		list := []happened{{day0.Add(time.Duration(i) * time.Hour), &pb.AdmissionApplied{
			No: fmt.Sprint("A", i), Item: []string{"B02", "B42"}[i%2], Unit: "u1", Communities: []string{"m1", "m2"}, DecidedBy: "d1",
			ValidFrom: at(from), ValidTo: at(from.AddDate(0, 1, i)), Budget: 20_000, Staff: 6, DecideBy: at(day0.AddDate(0, 0, 21)),
		}}}
		then := func(msg proto.Message) {
			list = append(list, happened{day0.AddDate(0, 0, len(list)), msg})
		}
		if r.IntN(2) == 0 {
			then(&pb.CommunityObjected{Community: "m1"})
		}
		switch i % 4 {
		case 1:
			then(&pb.AdmissionRefused{Reason: "NOT_DECIDED"})
		case 2, 3:
			then(&pb.AdmissionReviewed{Recommended: true})
			left := []string{"m2"}
			if len(list) == 2 {
				left = []string{"m1", "m2"}
			}
			then(&pb.AdmissionAdmitted{Communities: left, ValidFrom: at(from), ValidTo: at(from.AddDate(0, 1, 0))})
			if i%4 == 3 {
				then(&pb.AdmissionRevoked{Reason: "MISUSED"})
			}
		}
		h.record(fmt.Sprintf("admission-%03d", i), list...)
	}
	places := [][]string{{"c", "d1", "s1", "m1"}, {"c", "d1", "s1", "m2"}, {"c", "d1", "s2", "m3", "g1"}, {"c", "d2", "s3", "m4"}}
	units := [][]string{{"root", "u1"}, {"root", "u2"}, {"root"}}
	var all []tried
	for range 60 {
		kind, n := []string{"ticket", "whistle"}[r.IntN(2)], r.IntN(9)
		a := tried{
			stream: fmt.Sprintf("%s-%03d", kind, n), request: fmt.Sprint("r", r.IntN(5)), item: []string{"B02", "B42", "B28"}[r.IntN(3)],
			at: day0.Add(time.Duration(r.IntN(6*24)) * time.Hour), path: places[r.IntN(len(places))], units: units[r.IntN(len(units))],
		}
		note := &pb.CommandRefused{
			Stream: a.stream, Version: uint64(r.IntN(3)), Command: "DelegateTicketRequest", Reason: "BANNED_IN_COMMUNITIES", Field: "to",
			RequestId: a.request, BanItem: a.item, Target: a.path[len(a.path)-1], TargetPath: path(a.path...), UnitPath: a.units,
		}
		audit := "audit-" + strings.TrimPrefix(strings.TrimPrefix(a.stream, "ticket-"), "whistle-")
		if r.IntN(6) == 0 { // any other refusal
			h.record(audit, happened{a.at, &pb.CommandRefused{Stream: a.stream, Command: "SignTicketRequest", Reason: "WRONG_STATE", RequestId: "x"}})
			continue
		}
		h.record(audit, happened{a.at, note})
		all = append(all, a)
	}
	return all
}

func TestBannedDeliveriesAreThoseCountedOneByOne(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		h := newHistory(t)
		all := admitted(h, rand.New(rand.NewPCG(seed, 44)))
		end := h.last
		r := h.reader()
		from, to := day0.AddDate(0, 0, 1), day0.AddDate(0, 0, 5)
		counted := map[[2]string]map[string]int64{} // by node and item
		behind := map[[2]string]map[string]bool{}
		seen := map[string]bool{}
		levels := []string{"city", "district", "street", "community", "grid"}
		for _, a := range all {
			if seen[a.stream+a.request] {
				continue // a retry
			}
			seen[a.stream+a.request] = true
			if a.at.Before(from) || !a.at.Before(to) {
				continue
			}
			nodes := [][2]string{{"all", ""}}
			for i, code := range a.path {
				nodes = append(nodes, [2]string{levels[i], code})
			}
			if len(a.path) < len(levels) {
				nodes = append(nodes, [2]string{"direct", a.path[len(a.path)-1]})
			}
			for _, u := range a.units {
				nodes = append(nodes, [2]string{"unit", u})
			}
			for _, n := range nodes {
				if counted[n] == nil {
					counted[n], behind[n] = map[string]int64{}, map[string]bool{}
				}
				counted[n][strings.ToLower(a.item)]++
				kind, id, _ := strings.Cut(a.stream, "-")
				behind[n][kind+"s/"+id] = true
			}
		}
		of, direct := map[string]int64{}, map[string]int64{} // what every area counts, with those in it and without
		for _, level := range append([]string{"all", "unit", "direct"}, levels...) {
			q := view.MetricQuery{Metric: "M44", Level: level, From: from, To: to, At: to}
			figures, _, _, err := r.ListMetrics(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			want := 0
			for n := range counted {
				if n[0] == level {
					want++
				}
			}
			if len(figures) != want {
				t.Errorf("seed %d, %s: got %d nodes, want %d", seed, level, len(figures), want)
			}
			for _, f := range figures {
				node := [2]string{level, f.Code}
				sum := int64(0)
				for _, n := range counted[node] {
					sum += n
				}
				if f.Numerator != sum || !maps.Equal(f.Parts, counted[node]) || f.Denominator != nil {
					t.Errorf("seed %d, %v: got %v, want %v", seed, node, f, counted[node])
				}
				switch level {
				case "all", "unit":
				case "direct":
					direct[f.Code] = f.Numerator
				default:
					of[f.Code] = f.Numerator
				}
				page, _, total, _, err := r.ListBehind(t.Context(), view.BehindQuery{
					Metric: "M44", Level: level, Code: f.Code, Set: pb.FigureSet_FIGURE_SET_NUMERATOR, From: from, To: to, At: to, PageSize: 1000,
				})
				if err != nil || int(total) != len(behind[node]) || len(page) != len(behind[node]) {
					t.Fatalf("seed %d, behind %v: got %v of %d, %v, want %v", seed, node, page, total, err, behind[node])
				}
				for _, b := range page {
					if !behind[node][b.Name] {
						t.Errorf("seed %d: %s is behind %v", seed, b.Name, node)
					}
				}
			}
			q.KnownAt = &end
			if slow, _, _, err := r.ListMetrics(t.Context(), q); err != nil || fmt.Sprint(slow) != fmt.Sprint(figures) {
				t.Errorf("seed %d, %s: got %v, the history says %v, %v", seed, level, figures, slow, err)
			}
		}
		for parent, children := range map[string][]string{"c": {"d1", "d2"}, "d1": {"s1", "s2"}, "d2": {"s3"}, "s1": {"m1", "m2"}, "s2": {"m3"}, "m3": {"g1"}} {
			sum := direct[parent]
			for _, c := range children {
				sum += of[c]
			}
			if of[parent] != sum {
				t.Errorf("seed %d: %s counts %d, its children and what is directly there %d", seed, parent, of[parent], sum)
			}
		}
	}
}

func TestPagesBehindBannedDeliveriesAreTheWhole(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	admitted(h, rand.New(rand.NewPCG(3, 44)))
	r := h.reader()
	q := view.BehindQuery{Metric: "M44", Level: "all", Set: pb.FigureSet_FIGURE_SET_NUMERATOR, PageSize: 1000}
	whole, _, _, _, err := r.ListBehind(t.Context(), q)
	if err != nil || len(whole) < 5 {
		t.Fatalf("got %v, %v", whole, err)
	}
	var paged []*pb.BehindTicket
	for q.PageSize = 2; ; {
		page, next, _, _, err := r.ListBehind(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		paged = append(paged, page...)
		if q.PageToken = next; next == "" {
			break
		}
	}
	if !slices.EqualFunc(paged, whole, func(a, b *pb.BehindTicket) bool { return proto.Equal(a, b) }) {
		t.Errorf("got %v, want %v", paged, whole)
	}
	if page, _, total, _, err := r.ListBehind(t.Context(), view.BehindQuery{Metric: "M44", Level: "all", Set: pb.FigureSet_FIGURE_SET_DENOMINATOR}); err != nil || len(page) != 0 || total != 0 {
		t.Errorf("a count has no denominator: got %v, %d, %v", page, total, err)
	}
}

func TestRowsOfAdmissionsAreWhatTheirStreamsFoldTo(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	admitted(h, rand.New(rand.NewPCG(9, 44)))
	cut := h.views("cut.db")
	h.catchUp(cut, 3)
	r := view.NewReader(cut, h.store)
	rows, _, _, err := r.ListAdmissions(t.Context(), view.AdmissionQuery{})
	if err != nil || len(rows) != 8 {
		t.Fatalf("got %d rows, %v, want 8", len(rows), err)
	}
	for _, row := range rows {
		var s admission.State
		for rec, err := range h.store.ReadStream(t.Context(), strings.Replace(row.Name, "admissions/", "admission-", 1), 0) {
			if err != nil {
				t.Fatal(err)
			}
			d, err := event.Decode(rec)
			if err != nil {
				t.Fatal(err)
			}
			if s, err = admission.Evolve(s, d.Meta, d.Event); err != nil {
				t.Fatal(err)
			}
		}
		if want := s.Message(strings.TrimPrefix(row.Name, "admissions/")); !proto.Equal(row, want) {
			t.Errorf("got %v, want %v", row, want)
		}
	}
	for filter, want := range map[string]int{
		"": 8, "state = ADMITTED": 2, "state = REVOKED OR state = REFUSED": 4, "item = B42": 4, "unit = u1": 8, "unit = u2": 0, "no = A3": 1,
		"community = m2": 8, "community = d1": 0, "valid_to < 2026-05-16T00:00:00Z": 6,
	} {
		got, _, _, err := r.ListAdmissions(t.Context(), view.AdmissionQuery{Filter: filter})
		if err != nil || len(got) != want {
			t.Errorf("%q: got %d, %v, want %d", filter, len(got), err, want)
		}
	}
	var paged []*pb.Admission
	for q := (view.AdmissionQuery{PageSize: 3}); ; {
		page, next, _, err := r.ListAdmissions(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		paged = append(paged, page...)
		if q.PageToken = next; next == "" {
			break
		}
	}
	if !slices.EqualFunc(paged, rows, func(a, b *pb.Admission) bool { return proto.Equal(a, b) }) {
		t.Errorf("pages: got %v, want %v", paged, rows)
	}
}
