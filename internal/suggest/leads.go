package suggest

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/rule"
)

// The rules of the dispatch order.
const (
	byEmergency = 1 + iota
	byPrecedent
	byTerritory
	byFunction
	byUtility
	byEnforcement
	byAdjudication
	byFallback
)

// Leads are who may lead a matter, in the order of the dispatch rules; the first match wins. Rulings are what may be followed, the
// nearest first. Units that are complained of or not there now are left out without a trace. With nobody left the matter is one for
// adjudication, and after that for the fallback unit.
func Leads(r *registry.Snapshot, m *Matter, rulings []*pb.Precedent, now time.Time) []*pb.SuggestedLead {
	may := func(unit string) bool {
		_, there := r.Unit(unit, now)
		return there && !rule.Within(r, unit, m.ComplainedOf)
	}
	var leads []*pb.SuggestedLead
	suggest := func(lead string, co []string, fallback string, basis uint32, format string, args ...any) *pb.SuggestedLead {
		if !may(lead) {
			return nil
		}
		if !may(fallback) {
			fallback = ""
		}
		helpers := slices.DeleteFunc(slices.Clone(co), func(unit string) bool { return unit == lead || !may(unit) })
		slices.Sort(helpers)
		l := &pb.SuggestedLead{Lead: lead, Co: slices.Compact(helpers), Fallback: fallback, BasisRule: basis, Reason: fmt.Sprintf(format, args...)}
		leads = append(leads, l)
		return l
	}

	area := ""
	if n := len(m.Path); n > 0 {
		area = m.Path[n-1].GetCode()
	}
	entries := r.Catalogue(m.Category, area, now)
	of := func(duty pb.Duty) *pb.CatalogueEntry {
		for _, e := range entries {
			if e.GetDuty() == duty && (e.GetLead() == "" || may(e.GetLead())) {
				return e
			}
		}
		return nil
	}
	fallback := m.Fallback
	for _, e := range entries {
		if fallback == "" && may(e.GetFallback()) {
			fallback = e.GetFallback()
		}
	}

	category, _ := r.Category(m.Category, now)
	if m.Grade == pb.Grade_GRADE_G0 || m.Grade == pb.Grade_GRADE_UNSPECIFIED && category.GetGrade() == pb.Grade_GRADE_G0 {
		if u, ok := r.Responsible(cmp.Or(street(r, m.Path), area), now); ok {
			suggest(u.GetCode(), nil, fallback, byEmergency, "emergency: life or property in danger; the emergency line and an emergency whistle first")
		}
	}
	for _, p := range rulings {
		if l := suggest(p.GetLead(), p.GetCo(), fallback, byPrecedent, "precedent: ruled for %s in %s", p.GetCategory(), p.GetArea()); l != nil {
			l.Precedent = p.GetTicket()
			break
		}
	}
	if e := of(pb.Duty_DUTY_TERRITORIAL); e != nil {
		lead := e.GetLead()
		if lead == "" {
			if at := street(r, m.Path); at != "" { // a place that is only known by its district is not clear
				u, _ := r.Responsible(at, now)
				lead = u.GetCode()
			}
		}
		suggest(lead, e.GetCo(), e.GetFallback(), byTerritory, "territorial duty for %s in %s", e.GetCategory(), e.GetArea())
	}
	function, utility, enforces := of(pb.Duty_DUTY_FUNCTIONAL), of(pb.Duty_DUTY_UTILITY), of(pb.Duty_DUTY_ENFORCEMENT)
	var others []string
	for _, e := range []*pb.CatalogueEntry{function, utility} {
		if e != nil && e.GetLead() != enforces.GetLead() {
			others = append(others, e.GetLead())
		}
	}
	switch {
	case enforces != nil && len(others) > 0:
		// With two candidates neither duty is clear.
		suggest(enforces.GetLead(), append(others, enforces.GetCo()...), enforces.GetFallback(), byEnforcement,
			"of two candidates for %s in %s the one with the power to enforce", enforces.GetCategory(), enforces.GetArea())
	default:
		if function == nil {
			function = enforces
		}
		if function != nil {
			suggest(function.GetLead(), function.GetCo(), function.GetFallback(), byFunction, "functional duty for %s in %s", function.GetCategory(), function.GetArea())
		}
		if utility != nil {
			suggest(utility.GetLead(), utility.GetCo(), utility.GetFallback(), byUtility, "utility for %s in %s", utility.GetCategory(), utility.GetArea())
		}
	}
	if len(leads) > 0 {
		return leads
	}
	if !may(fallback) {
		fallback = ""
	}
	leads = append(leads, &pb.SuggestedLead{Fallback: fallback, BasisRule: byAdjudication, Reason: "adjudication: no rule names a unit"})
	if fallback != "" {
		suggest(fallback, nil, fallback, byFallback, "fallback: if there is no ruling")
	}
	return leads
}

// street is the code of the street on a path: its node of the level "street", or of that rank where levels have other names. Empty
// if the place is not known so closely.
func street(r *registry.Snapshot, path []*pb.AreaNode) string {
	for _, n := range path {
		if n.GetLevel() == "street" {
			return n.GetCode()
		}
	}
	if r.Rank("street") > 0 {
		return ""
	}
	for _, n := range path {
		if r.Rank(n.GetLevel()) == 3 {
			return n.GetCode()
		}
	}
	return ""
}

// rulings are the precedents for a matter, the nearest first: those of its category before those above it, of its area before those
// around it. There is one for a category in an area: what was ruled last. What was ruled of an area that is no more holds for the one that stands
// for it.
func (x *Index) rulings(r *registry.Snapshot, m *Matter) []*pb.Precedent {
	now := x.dispatcher.Now()
	present := func(code string) string {
		if to, ok := r.Successor(code, now); ok {
			return to
		}
		return code
	}
	categories := above(r, m.Category, now)
	last := map[ruled]*pb.Precedent{}
	x.mu.RLock()
	for of, p := range x.precedents {
		if !slices.Contains(categories, of.category) {
			continue
		}
		of.area = present(of.area)
		if was := last[of]; was == nil || cmp.Or(was.GetRuledAt().AsTime().Compare(p.GetRuledAt().AsTime()), cmp.Compare(was.GetTicket(), p.GetTicket())) < 0 {
			last[of] = p
		}
	}
	x.mu.RUnlock()
	var found []*pb.Precedent
	for _, category := range categories {
		for _, n := range slices.Backward(m.Path) {
			if p := last[ruled{category, present(n.GetCode())}]; p != nil {
				found = append(found, p)
			}
		}
	}
	return found
}

// above is a category and those above it.
func above(r *registry.Snapshot, category string, now time.Time) []string {
	var all []string
	for category != "" && !slices.Contains(all, category) {
		all = append(all, category)
		c, _ := r.Category(category, now)
		category = c.GetParent()
	}
	return all
}
