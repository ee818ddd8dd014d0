package registry

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// maxCo is how many co-handlers an entry of the catalogue may name.
const maxCo = 32

var duties = []word[pb.Duty]{
	{"territorial", pb.Duty_DUTY_TERRITORIAL},
	{"functional", pb.Duty_DUTY_FUNCTIONAL},
	{"utility", pb.Duty_DUTY_UTILITY},
	{"enforcement", pb.Duty_DUTY_ENFORCEMENT},
}

func readCatalogue(p *pb.RegistryPiece, r *row) {
	p.Catalogue = append(p.Catalogue, &pb.CatalogueEntry{
		Category: r.text("category"), Area: r.text("area"), Lead: r.text("lead"), Co: strings.Fields(r.text("co")), Fallback: r.text("fallback"),
		Duty: oneOf(r, "duty", duties), ValidFrom: r.instant("valid_from"), ValidTo: r.instant("valid_to"),
	})
}

// catalogue lists what is wrong with the entries of the dispatch catalogue. What an entry names must be valid for as long as the
// entry is, and of a category, an area and a duty there is one entry at a time.
func (v *validator) catalogue(areas *tree) {
	entries := v.content.catalogue
	if len(entries) == 0 {
		return
	}
	units, categories := v.content.unitTree(), v.content.categoryTree()
	type about struct {
		category, area string
		duty           pb.Duty
	}
	same := map[about][]int{}
	periods := make([]node, len(entries))
	for i, e := range entries {
		v.validity(ofCatalogue, i, e.GetCategory(), e.GetValidFrom(), e.GetValidTo())
		periods[i] = entry(e.GetCategory(), "", start(e.GetValidFrom()), end(e.GetValidTo()))
		v.named(i, "category", "category", UnknownCategory, e.GetCategory(), categories, &periods[i])
		v.named(i, "area", "area", UnknownArea, e.GetArea(), areas, &periods[i])
		switch _, known := pb.Duty_name[int32(e.GetDuty())]; {
		case e.GetDuty() == pb.Duty_DUTY_UNSPECIFIED:
			v.add(ofCatalogue, i, "duty", MissingField, e.GetCategory(), "the entry has no duty")
		case !known:
			v.add(ofCatalogue, i, "duty", BadField, e.GetCategory(), "there is no duty %d", e.GetDuty())
		}
		if e.GetLead() != "" || e.GetDuty() != pb.Duty_DUTY_TERRITORIAL {
			v.named(i, "lead", "unit", UnknownUnit, e.GetLead(), units, &periods[i])
		}
		if e.GetFallback() != "" {
			v.named(i, "fallback", "unit", UnknownUnit, e.GetFallback(), units, &periods[i])
		}
		if n := len(e.GetCo()); n > maxCo {
			v.add(ofCatalogue, i, "co", BadField, e.GetCategory(), "there may be %d co-handlers, not %d", maxCo, n)
		} else {
			for j, co := range e.GetCo() {
				field := fmt.Sprintf("co[%d]", j)
				v.named(i, field, "unit", UnknownUnit, co, units, &periods[i])
				if co != "" && (co == e.GetLead() || slices.Contains(e.GetCo()[:j], co)) {
					v.add(ofCatalogue, i, field, DuplicateCode, e.GetCategory(), "unit %s stands before", quotable(co))
				}
			}
		}
		key := about{e.GetCategory(), e.GetArea(), e.GetDuty()}
		same[key] = append(same[key], i)
	}
	for _, list := range same {
		slices.SortFunc(list, func(a, b int) int { return cmp.Or(cmp.Compare(periods[a].from, periods[b].from), cmp.Compare(a, b)) })
		last := list[0]
		for _, i := range list[1:] {
			if a, b := &periods[i], &periods[last]; a.from >= b.to {
				last = i
			} else {
				kind := Overlap
				if a.from == b.from && a.to == b.to {
					kind = DuplicateCode
				}
				v.add(ofCatalogue, i, "duty", kind, a.code, "%s[%d] is of the same category, area and duty at that time", sections[ofCatalogue], last)
				if a.to > b.to {
					last = i
				}
			}
		}
	}
}

// named lists what is wrong with a code that an entry names.
func (v *validator) named(i int, field, what, kind, code string, t *tree, period *node) {
	v.of(ofCatalogue, i, field, what, kind, code, t, period)
}

// of lists what is wrong with a code that an entry of a section names.
func (v *validator) of(section, i int, field, what, kind, code string, t *tree, period *node) {
	switch _, known := t.codes[code]; {
	case code == "":
		v.add(section, i, field, MissingField, period.code, "the entry names no %s", what)
	case !known:
		v.add(section, i, field, kind, period.code, "there is no %s %s", what, quotable(code))
	case !t.covers(code, period.from, period.to):
		v.add(section, i, field, kind, period.code, "%s %s is not valid for as long as the entry", what, quotable(code))
	}
}

// catalogueByCategory is the entries by the category they stand at.
func (c *content) catalogueByCategory() map[string][]*pb.CatalogueEntry {
	by := map[string][]*pb.CatalogueEntry{}
	for _, e := range c.catalogue {
		by[e.GetCategory()] = append(by[e.GetCategory()], e)
	}
	return by
}

// CatalogueEntries are all entries of the dispatch catalogue, of any validity, in the order in which they were loaded.
func (s *Snapshot) CatalogueEntries() []*pb.CatalogueEntry { return s.content.catalogue }

// Catalogue is who is responsible for matters of the category in the area at the instant: the entries of the category, or of the
// nearest above it that has any for the area or an area above it. Of each duty it is the entry at the nearest area. The most
// specific area stands first, and at one area the duties in their order. Nil if the area or the category is not known then, or
// nothing is said of it.
func (s *Snapshot) Catalogue(category, area string, t time.Time) []*pb.CatalogueEntry {
	path, ok := s.Path(area, t)
	if !ok {
		return nil
	}
	us := t.UnixMicro()
	for range maxDepth {
		of, ok := s.Category(category, t)
		if !ok {
			return nil
		}
		var found []*pb.CatalogueEntry
		var told []pb.Duty
		for i := len(path) - 1; i >= 0; i-- {
			var here []*pb.CatalogueEntry
			for _, e := range s.catalogue[category] {
				if e.GetArea() == path[i].GetCode() && start(e.GetValidFrom()) <= us && us < end(e.GetValidTo()) && !slices.Contains(told, e.GetDuty()) {
					here = append(here, e)
				}
			}
			slices.SortStableFunc(here, func(a, b *pb.CatalogueEntry) int { return cmp.Compare(a.GetDuty(), b.GetDuty()) })
			for _, e := range here {
				told = append(told, e.GetDuty())
			}
			found = append(found, here...)
		}
		if len(found) > 0 {
			return found
		}
		if category = of.GetParent(); category == "" {
			return nil
		}
	}
	return nil
}
