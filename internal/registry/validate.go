package registry

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// The kinds of faults.
const (
	Orphan        = "ORPHAN"         // a parent that is unknown or not valid as long, a grid that lies in no community, or a second root
	Cycle         = "CYCLE"          // the parents lead back to the entry
	DuplicateCode = "DUPLICATE_CODE" // the same code with the same validity, or the same name or rank of a level
	ReusedCode    = "REUSED_CODE"    // a code that names another place before five years have passed
	Overlap       = "OVERLAP"        // two entries of a code, or two territorial units of an area, that are valid at once
	UnknownLevel  = "UNKNOWN_LEVEL"
	LevelOrder    = "LEVEL_ORDER" // a level that does not come after the parent's
	MissingField  = "MISSING_FIELD"
	BadField      = "BAD_FIELD"
	UnknownArea   = "UNKNOWN_AREA" // an area, of a unit or as a successor, that is unknown or not valid then

	UnknownCategory = "UNKNOWN_CATEGORY" // a category that is unknown or not valid as long
	UnknownUnit     = "UNKNOWN_UNIT"     // a unit that is unknown or not valid as long
)

// The largest that fields may be.
const (
	maxLevels     = maxDepth
	maxLevelName  = 32  // characters
	maxCode       = 64  // characters
	maxName       = 200 // characters
	maxSuccessors = 64
	maxTrusted    = 64
)

// The parts of the content, in the order in which their faults are listed.
const (
	ofLevels = iota
	ofAreas
	ofUnits
	ofCategories
	ofCatalogue
	ofBans
	ofWeights
	ofCallItems
)

var sections = [...]string{"levels", "areas", "units", "categories", "catalogue", "bans", "weights", "call_items"}

// Validate lists everything that is wrong with a version's content, in the order of the content; nothing if it can take
// effect at the instant. A fault's field names the entry by its number among all pieces' entries, from 0. The previous
// version, nil for the first, says which codes may not be reused yet. Content without levels has the default ones.
//
// Parents must be valid for as long as their children are, and areas for as long as the units anchored there. Whether
// parents lead back to an entry is judged from one to the next, each as long as the two are ever valid at once; entries whose
// parents lead back only by way of periods that do not meet are divided where the periods end.
func Validate(pieces []*pb.RegistryPiece, previous *Snapshot, at time.Time) []*pb.RegistryFault {
	v := validator{content: gather(pieces), previous: previous, at: at.UnixMicro()}
	v.levels()
	areas := v.areas()
	v.units(areas)
	v.categories()
	v.catalogue(areas)
	v.bans()
	v.weigh()
	v.callList()
	slices.SortStableFunc(v.found, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.section, b.section), cmp.Compare(a.entry, b.entry))
	})
	faults := make([]*pb.RegistryFault, len(v.found))
	for i := range v.found {
		faults[i] = v.found[i].fault
	}
	return faults
}

type validator struct {
	content  content
	previous *Snapshot
	at       int64
	ranks    map[string]uint32
	found    []found
}

type found struct {
	section, entry int
	fault          *pb.RegistryFault
}

// add lists a fault of an entry's field. The entry -1 is the whole section.
func (v *validator) add(section, entry int, field, kind, code, format string, args ...any) {
	place := sections[section]
	if entry >= 0 {
		place = fmt.Sprintf("%s[%d].%s", place, entry, field)
	}
	v.found = append(v.found, found{section, entry, &pb.RegistryFault{
		Kind: kind, Field: place, Code: quotable(code), Message: fmt.Sprintf(format, args...),
	}})
}

// quotable makes any text fit for a message.
func quotable(s string) string {
	if len(s) > 4*maxCode {
		s = s[:4*maxCode]
	}
	s = strings.Map(func(r rune) rune {
		if unfit(r) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
	n := 0
	for i := range s {
		if n++; n > maxCode {
			return s[:i] + "…"
		}
	}
	return s
}

// unfit tells whether a character has no place in a name: one that controls rather than shows, such as a line break
// or a change of the writing direction.
func unfit(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r) ||
		unicode.Is(unicode.Co, r) || unicode.Is(unicode.Cs, r)
}

func (v *validator) levels() {
	levels := v.content.levels
	if len(levels) > maxLevels {
		v.add(ofLevels, -1, "", BadField, "", "there may be %d levels, not %d", maxLevels, len(levels))
	}
	v.ranks = make(map[string]uint32, len(levels))
	holder := make(map[uint32]string, len(levels))
	for i, l := range levels {
		name, rank := l.GetName(), l.GetRank()
		_, twice := v.ranks[name]
		switch {
		case name == "":
			v.add(ofLevels, i, "name", MissingField, "", "a level has no name")
		case !validLevel(name):
			v.add(ofLevels, i, "name", BadField, name, "want 1 to %d of a-z 0-9 - _, starting with a letter", maxLevelName)
		case name == UnlocatedLevel:
			v.add(ofLevels, i, "name", BadField, name, "this name is reserved")
		case twice:
			v.add(ofLevels, i, "name", DuplicateCode, name, "a level of this name stands before")
		}
		switch other, taken := holder[rank]; {
		case rank == 0:
			v.add(ofLevels, i, "rank", MissingField, name, "a level has no rank; the root's is 1")
		case taken:
			v.add(ofLevels, i, "rank", DuplicateCode, name, "level %q has the rank %d too", quotable(other), rank)
		default:
			holder[rank] = name
		}
		if d := l.GetDisplayName(); d != "" {
			v.name(ofLevels, i, "display_name", name, d)
		}
		if name != "" && !twice {
			v.ranks[name] = rank
		}
	}
}

func validLevel(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z':
		case i > 0 && ('0' <= c && c <= '9' || c == '-' || c == '_'):
		default:
			return false
		}
	}
	return 0 < len(s) && len(s) <= maxLevelName
}

func (v *validator) areas() *tree {
	areas := v.content.areas
	t := v.content.areaTree()
	for i, a := range areas {
		v.code(ofAreas, i, a.GetCode())
		if a.GetCode() == UnlocatedCode {
			v.add(ofAreas, i, "code", BadField, a.GetCode(), "this code is reserved")
		}
		v.name(ofAreas, i, "name", a.GetCode(), a.GetName())
		v.validity(ofAreas, i, a.GetCode(), a.GetValidFrom(), a.GetValidTo())
		if a.GetLevel() == "" {
			v.add(ofAreas, i, "level", MissingField, a.GetCode(), "the area has no level")
		} else if _, known := v.ranks[a.GetLevel()]; !known {
			v.add(ofAreas, i, "level", UnknownLevel, a.GetCode(), "there is no level %q", quotable(a.GetLevel()))
		}
		v.successors(t, i, a)
	}
	v.tree(ofAreas, t)
	v.root(ofAreas, t)
	if len(areas) == 0 {
		v.add(ofAreas, -1, "", MissingField, "", "there is no area, so no root")
	}

	for i, a := range areas {
		rank := v.ranks[a.GetLevel()]
		if rank == 0 || a.GetCode() == "" {
			continue
		}
		for _, p := range t.above(int32(i)) {
			if v.ranks[areas[p].GetLevel()] >= rank {
				v.add(ofAreas, i, "level", LevelOrder, a.GetCode(), "level %q does not come after %q, the level of its parent %s",
					quotable(a.GetLevel()), quotable(areas[p].GetLevel()), quotable(a.GetParent()))
				break
			}
		}
	}
	v.grids(t)
	v.reuse(t)
	if _, whole := v.content.paths(t); !whole {
		v.add(ofAreas, -1, "", BadField, "", "validities of areas above and below one another change too often")
	}
	return t
}

// The levels of which a grid belongs to exactly one community, wherever a city has both.
const (
	communityLevel = "community"
	gridLevel      = "grid"
)

// grids lists grids that lie at a street, a district or the city directly.
func (v *validator) grids(t *tree) {
	if v.ranks[communityLevel] == 0 || v.ranks[gridLevel] == 0 {
		return
	}
	areas := v.content.areas
	for i, a := range areas {
		if a.GetLevel() != gridLevel {
			continue
		}
		for _, p := range t.above(int32(i)) {
			if areas[p].GetLevel() != communityLevel {
				v.add(ofAreas, i, "parent", Orphan, a.GetCode(), "a grid belongs to a community, not to %s of the level %q",
					quotable(a.GetParent()), quotable(areas[p].GetLevel()))
				break
			}
		}
	}
}

func (v *validator) successors(t *tree, i int, a *pb.Area) {
	if len(a.GetSuccessors()) == 0 {
		return
	}
	if a.GetValidTo() == nil {
		v.add(ofAreas, i, "valid_to", MissingField, a.GetCode(), "the area has successors but no end")
	}
	if n := len(a.GetSuccessors()); n > maxSuccessors {
		v.add(ofAreas, i, "successors", BadField, a.GetCode(), "there may be %d successors, not %d", maxSuccessors, n)
		return
	}
	for j, code := range a.GetSuccessors() {
		field := fmt.Sprintf("successors[%d]", j)
		ends := end(a.GetValidTo())
		switch _, known := t.codes[code]; {
		case code == "":
			v.add(ofAreas, i, field, MissingField, a.GetCode(), "a successor has no code")
		case slices.Contains(a.GetSuccessors()[:j], code):
			v.add(ofAreas, i, field, DuplicateCode, a.GetCode(), "successor %s stands before", quotable(code))
		case !known:
			v.add(ofAreas, i, field, UnknownArea, a.GetCode(), "there is no area %s", quotable(code))
		case ends != never && !t.covers(code, ends, ends+1):
			v.add(ofAreas, i, field, UnknownArea, a.GetCode(), "successor %s is not valid at %s, when the area ends", quotable(code), stamp(ends))
		}
	}
}

// reuse lists codes that name another place too soon after the earlier place ended. A place of an earlier version that the
// content tells of is judged by the content alone.
func (v *validator) reuse(t *tree) {
	areas := v.content.areas
	for code, r := range t.codes {
		entries := t.sorted[r.lo:r.hi]
		if len(entries) > 1 {
			_, of := homes(t, areas, code)
			for k, e := range entries {
				for j, before := range entries[:k] {
					if ended := t.nodes[before].to; of[j] != of[k] && t.nodes[e].from < rested(ended) {
						v.reused(e, areas[before].GetName(), ended)
						break
					}
				}
			}
		}
		if v.previous == nil {
			continue
		}
		earlier, _ := homes(v.previous.tree, v.previous.content.areas, code)
		for _, h := range slices.Concat(v.previous.gone[code], earlier) {
			if h.ended == never || slices.ContainsFunc(entries, func(e int32) bool { return h.is(areas[e]) }) {
				continue
			}
			for _, e := range entries {
				from := t.nodes[e].from
				if from == always {
					from = v.at
				}
				if t.nodes[e].to > h.ended && from < rested(h.ended) {
					v.reused(e, h.name, h.ended)
					break
				}
			}
		}
	}
}
func (v *validator) reused(e int32, name string, ended int64) {
	v.add(ofAreas, int(e), "code", ReusedCode, v.content.areas[e].GetCode(),
		"the code named %q until %s and rests for %d years; an area that was renamed names its own code among its successors",
		quotable(name), stamp(ended), reuseAfter)
}

// ownWill checks what a command centre lets this system do without anybody's word.
func (v *validator) ownWill(i int, u *pb.Unit) {
	centre := u.GetKind() == pb.UnitKind_UNIT_KIND_COMMAND_CENTRE
	if u.GetClosesSettled() && !centre {
		v.add(ofUnits, i, "closes_settled", BadField, u.GetCode(), "only a command centre closes what is settled")
	}
	switch n := len(u.GetTrustedSystems()); {
	case n > 0 && !centre:
		v.add(ofUnits, i, "trusted_systems", BadField, u.GetCode(), "only a command centre trusts systems")
		return
	case n > maxTrusted:
		v.add(ofUnits, i, "trusted_systems", BadField, u.GetCode(), "a unit may trust %d systems, not %d", maxTrusted, n)
		return
	}
	for j, system := range u.GetTrustedSystems() {
		switch {
		case system == "" || len(system) > maxCode || strings.ContainsFunc(system, func(c rune) bool { return c <= ' ' || c > '~' }):
			v.add(ofUnits, i, "trusted_systems", BadField, u.GetCode(), "want names of 1 to %d printable ASCII characters without spaces, not %q", maxCode, quotable(system))
		case slices.Contains(u.GetTrustedSystems()[:j], system):
			v.add(ofUnits, i, "trusted_systems", DuplicateCode, u.GetCode(), "system %s stands before", quotable(system))
		}
	}
}

func (v *validator) units(areas *tree) {
	units := v.content.units
	for i, u := range units {
		v.code(ofUnits, i, u.GetCode())
		v.name(ofUnits, i, "name", u.GetCode(), u.GetName())
		v.validity(ofUnits, i, u.GetCode(), u.GetValidFrom(), u.GetValidTo())
		if u.GetKind() == pb.UnitKind_UNIT_KIND_UNSPECIFIED {
			v.add(ofUnits, i, "kind", MissingField, u.GetCode(), "the unit has no kind")
		} else if _, known := pb.UnitKind_name[int32(u.GetKind())]; !known {
			v.add(ofUnits, i, "kind", BadField, u.GetCode(), "there is no kind of units %d", u.GetKind())
		}
		v.ownWill(i, u)
		if n := utf8.RuneCountInString(u.GetLine()); n > maxCode || strings.ContainsFunc(u.GetLine(), unfit) {
			v.add(ofUnits, i, "line", BadField, u.GetCode(), "want at most %d characters that can be shown, not %d", maxCode, n)
		}
	}
	t := v.content.unitTree()
	v.tree(ofUnits, t)
	v.root(ofUnits, t)
	depth := t.depths()

	territorial := map[string][]int32{}
	for i, u := range units {
		n := &t.nodes[i]
		_, known := areas.codes[u.GetArea()]
		switch {
		case u.GetArea() == "":
			v.add(ofUnits, i, "area", MissingField, u.GetCode(), "the unit is not anchored at an area")
		case !known:
			v.add(ofUnits, i, "area", UnknownArea, u.GetCode(), "there is no area %s", quotable(u.GetArea()))
		case !areas.covers(u.GetArea(), n.from, n.to):
			v.add(ofUnits, i, "area", UnknownArea, u.GetCode(), "area %s is not valid for as long as the unit", quotable(u.GetArea()))
		}
		if depth[i] > maxDepth {
			v.add(ofUnits, i, "parent", BadField, u.GetCode(), "the unit lies %d deep; %d is the most", depth[i], maxDepth)
		}
		if u.GetKind() == pb.UnitKind_UNIT_KIND_AREA && u.GetArea() != "" {
			territorial[u.GetArea()] = append(territorial[u.GetArea()], int32(i))
		}
	}
	for area, list := range territorial {
		slices.SortFunc(list, func(a, b int32) int { return cmp.Or(cmp.Compare(t.nodes[a].from, t.nodes[b].from), cmp.Compare(a, b)) })
		last := list[0]
		for _, e := range list[1:] {
			switch {
			case t.nodes[e].from >= t.nodes[last].to:
				last = e
			case t.nodes[e].code != t.nodes[last].code:
				v.add(ofUnits, int(e), "area", Overlap, units[e].GetCode(), "area %s already has the territorial unit %s at that time",
					quotable(area), quotable(units[last].GetCode()))
			}
		}
	}
}

func (v *validator) categories() {
	for i, k := range v.content.categories {
		v.code(ofCategories, i, k.GetCode())
		v.name(ofCategories, i, "name", k.GetCode(), k.GetName())
		v.validity(ofCategories, i, k.GetCode(), k.GetValidFrom(), k.GetValidTo())
		if _, known := pb.Grade_name[int32(k.GetGrade())]; !known {
			v.add(ofCategories, i, "grade", BadField, k.GetCode(), "there is no grade %d", k.GetGrade())
		}
		if _, known := pb.MatterObject_name[int32(k.GetObject())]; !known {
			v.add(ofCategories, i, "object", BadField, k.GetCode(), "there is no object %d", k.GetObject())
		}
	}
	t := v.content.categoryTree()
	v.tree(ofCategories, t)
	for i, d := range t.depths() {
		if d > maxDepth {
			v.add(ofCategories, i, "parent", BadField, t.nodes[i].code, "the category lies %d deep; %d is the most", d, maxDepth)
		}
	}
}

// tree lists what is wrong with codes and parents.
func (v *validator) tree(section int, t *tree) {
	for _, c := range t.clashes {
		a, b := &t.nodes[c.entry], &t.nodes[c.with]
		if a.from == b.from && a.to == b.to {
			v.add(section, int(c.entry), "code", DuplicateCode, a.code, "%s[%d] has the same code", sections[section], c.with)
		} else {
			v.add(section, int(c.entry), "valid_from", Overlap, a.code, "%s[%d] has the same code and is valid at the same time", sections[section], c.with)
		}
	}
	for _, e := range t.excess {
		v.add(section, int(e), "code", BadField, t.nodes[e].code, "one code may have %d validities", maxValidities)
	}
	for _, e := range t.cyclic {
		v.add(section, int(e), "parent", Cycle, t.nodes[e].code, "parent %s lies below %s itself", quotable(t.nodes[e].parent), quotable(t.nodes[e].code))
	}
	for i := range t.nodes {
		n := &t.nodes[i]
		if n.parent == "" {
			continue
		}
		if _, known := t.codes[n.parent]; !known {
			v.add(section, i, "parent", Orphan, n.code, "nothing has the code %s", quotable(n.parent))
		} else if !t.covers(n.parent, n.from, n.to) {
			v.add(section, i, "parent", Orphan, n.code, "parent %s is not valid for as long as %s", quotable(n.parent), quotable(n.code))
		}
	}
}

// root lists all roots but the first, or that there is none.
func (v *validator) root(section int, t *tree) {
	first := -1
	for i := range t.nodes {
		n := &t.nodes[i]
		switch {
		case n.parent != "":
		case first < 0:
			first = i
		case n.code != t.nodes[first].code:
			v.add(section, i, "parent", Orphan, n.code, "no parent: a second root beside %s", quotable(t.nodes[first].code))
		}
	}
	if first < 0 && len(t.nodes) > 0 {
		v.add(section, -1, "", MissingField, "", "there is no root: every entry has a parent")
	}
}

func (v *validator) code(section, i int, code string) {
	if code == "" {
		v.add(section, i, "code", MissingField, "", "the entry has no code")
	} else if !validCode(code) {
		v.add(section, i, "code", BadField, code, "want 1 to %d of A-Z a-z 0-9 - _, starting with a letter or digit", maxCode)
	}
}

// validCode keeps codes fit for stream names and message subjects.
func validCode(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case i > 0 && (c == '-' || c == '_'):
		default:
			return false
		}
	}
	return 0 < len(s) && len(s) <= maxCode
}

func (v *validator) name(section, i int, field, code, name string) {
	switch {
	case name == "":
		v.add(section, i, field, MissingField, code, "the entry has no name")
	case !utf8.ValidString(name):
		v.add(section, i, field, BadField, code, "the name is not valid UTF-8")
	case utf8.RuneCountInString(name) > maxName:
		v.add(section, i, field, BadField, code, "a name may have %d characters, not %d", maxName, utf8.RuneCountInString(name))
	case strings.ContainsFunc(name, unfit):
		v.add(section, i, field, BadField, code, "a name may not have control characters")
	case strings.TrimSpace(name) != name:
		v.add(section, i, field, BadField, code, "a name may not start or end with a space")
	}
}

func (v *validator) validity(section, i int, code string, from, to *timestamppb.Timestamp) {
	good := true
	for _, f := range []struct {
		field string
		ts    *timestamppb.Timestamp
	}{{"valid_from", from}, {"valid_to", to}} {
		switch {
		case f.ts == nil:
		case !f.ts.IsValid():
			v.add(section, i, f.field, BadField, code, "not an instant of the years 1 to 9999")
			good = false
		case f.ts.Nanos%1000 != 0:
			v.add(section, i, f.field, BadField, code, "want whole microseconds")
			good = false
		}
	}
	if good && from != nil && to != nil && !from.AsTime().Before(to.AsTime()) {
		v.add(section, i, "valid_to", BadField, code, "does not come after valid_from")
	}
}

func stamp(us int64) string { return instant(us).Format(time.RFC3339Nano) }
