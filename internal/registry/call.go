package registry

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
)

// The largest that fields of a call item may be.
const (
	maxCallUnits     = 32
	maxStartStandard = 500 // characters
)

// callCode is how long a call item's code is, and callClass how many of its first digits name the class.
const callCode, callClass = 4, 2

var callItemsTable = table{
	name: "call_items", section: ofCallItems, optional: true,
	must: []string{"code", "name", "class", "class_name", "lead", "co", "fallback", "start_standard", "report_in", "resolve", "category"},
	may:  []string{"valid_from", "valid_to"},
	read: func(p *pb.RegistryPiece, r *row) {
		p.CallItems = append(p.CallItems, &pb.CallItem{
			Code: r.text("code"), Name: r.text("name"), Class: r.text("class"), ClassName: r.text("class_name"),
			Lead: r.text("lead"), Co: strings.Fields(r.text("co")), Fallback: r.text("fallback"), StartStandard: r.text("start_standard"),
			ReportIn: r.text("report_in"), Resolve: r.text("resolve"), Category: r.text("category"),
			ValidFrom: r.instant("valid_from"), ValidTo: r.instant("valid_to"),
		})
	},
}

// CallItems are all entries of the call-item list, of any validity, in the order in which they were loaded.
func (s *Snapshot) CallItems() []*pb.CallItem { return s.content.callItems }

// CallItem is the item of the call-item list (呼应启动事项) at the instant.
func (s *Snapshot) CallItem(code string, t time.Time) (*pb.CallItem, bool) {
	return at(s.callItems[code], t)
}

// callTree has one level: items are not above one another.
func (c *content) callTree() *tree {
	nodes := make([]node, len(c.callItems))
	for i, item := range c.callItems {
		nodes[i] = entry(item.GetCode(), "", start(item.GetValidFrom()), end(item.GetValidTo()))
	}
	return grow(nodes)
}

// callList lists what is wrong with the call-item list: units and categories that are not there for as long as an item, a class that is not
// the code's, limits that cannot be read.
func (v *validator) callList() {
	t := v.content.callTree()
	units, categories := v.content.unitTree(), v.content.categoryTree()
	classes := map[string]string{}
	for i, item := range v.content.callItems {
		code, period := item.GetCode(), &t.nodes[i]
		v.code(ofCallItems, i, code)
		v.name(ofCallItems, i, "name", code, item.GetName())
		v.name(ofCallItems, i, "class_name", code, item.GetClassName())
		v.validity(ofCallItems, i, code, item.GetValidFrom(), item.GetValidTo())
		switch {
		case code == "":
		case len(code) != callCode || strings.Trim(code, "0123456789") != "":
			v.add(ofCallItems, i, "code", BadField, code, "want two digits of the class and two of the item")
		case item.GetClass() != code[:callClass]:
			v.add(ofCallItems, i, "class", BadField, code, "want %s, the first two digits of the code", code[:callClass])
		case item.GetClassName() == "":
		case classes[item.GetClass()] == "":
			classes[item.GetClass()] = item.GetClassName()
		case classes[item.GetClass()] != item.GetClassName():
			v.add(ofCallItems, i, "class_name", BadField, code, "class %s is called %s before", item.GetClass(), quotable(classes[item.GetClass()]))
		}
		v.of(ofCallItems, i, "lead", "unit", UnknownUnit, item.GetLead(), units, period)
		v.of(ofCallItems, i, "fallback", "unit", UnknownUnit, item.GetFallback(), units, period)
		if n := len(item.GetCo()); n > maxCallUnits {
			v.add(ofCallItems, i, "co", BadField, code, "there may be %d units, not %d", maxCallUnits, n)
		} else {
			for j, co := range item.GetCo() {
				if co == item.GetLead() || slices.Contains(item.GetCo()[:j], co) {
					v.add(ofCallItems, i, "co", DuplicateCode, code, "unit %s stands before", quotable(co))
					continue
				}
				v.of(ofCallItems, i, "co", "unit", UnknownUnit, co, units, period)
			}
		}
		if item.GetCategory() != "" {
			v.of(ofCallItems, i, "category", "category", UnknownCategory, item.GetCategory(), categories, period)
		}
		switch n := utf8.RuneCountInString(item.GetStartStandard()); {
		case n == 0:
			v.add(ofCallItems, i, "start_standard", MissingField, code, "the item does not say when a call may be started")
		case n > maxStartStandard:
			v.add(ofCallItems, i, "start_standard", BadField, code, "the text has %d characters, at most %d are allowed", n, maxStartStandard)
		case strings.ContainsFunc(item.GetStartStandard(), unfit):
			v.add(ofCallItems, i, "start_standard", BadField, code, "the text has characters that cannot be shown")
		}
		v.limit(i, "report_in", code, item.GetReportIn())
		v.limit(i, "resolve", code, item.GetResolve())
	}
	v.tree(ofCallItems, t)
}

// limit lists what is wrong with a limit of a call item. An empty one is the profile's.
func (v *validator) limit(i int, field, code, text string) {
	if text == "" {
		return
	}
	switch limit, err := calendar.ParseLimit(text); {
	case err != nil:
		v.add(ofCallItems, i, field, BadField, code, "want a limit such as 30 min, 2 NH or 3 WD, not %s", quotable(text))
	case limit.None():
		v.add(ofCallItems, i, field, BadField, code, "leave it empty where the profile's limit holds")
	}
}
