package registry

import (
	"slices"
	"strings"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// maxBanCategories is how many categories one item of the ban list may name.
const maxBanCategories = 256

var bansTable = table{
	name: "bans", section: ofBans, optional: true,
	must: []string{"code", "name", "categories"}, may: []string{"valid_from", "valid_to"},
	read: func(p *pb.RegistryPiece, r *row) {
		p.Bans = append(p.Bans, &pb.BanItem{
			Code: r.text("code"), Name: r.text("name"), Categories: strings.Fields(r.text("categories")),
			ValidFrom: r.instant("valid_from"), ValidTo: r.instant("valid_to"),
		})
	},
}

// Bans are all entries of the ban list, of any validity, in the order in which they were loaded.
func (s *Snapshot) Bans() []*pb.BanItem { return s.content.bans }

// Banned is the item of the ban list that is valid at the instant and names the category, or the nearest category above it that
// one names. Of several it is the one that was loaded first.
func (s *Snapshot) Banned(category string, t time.Time) (*pb.BanItem, bool) {
	for range maxDepth {
		if b, ok := at(s.bans[category], t); ok {
			return b, true
		}
		k, ok := at(s.categories[category], t)
		if !ok || k.GetParent() == "" {
			break
		}
		category = k.GetParent()
	}
	return nil, false
}

// BanItem is the item of the ban list with the code that is valid at the instant.
func (s *Snapshot) BanItem(code string, t time.Time) (*pb.BanItem, bool) {
	return at(s.banItems[code], t)
}

func (s *Snapshot) ban() {
	s.banItems = make(map[string][]span[*pb.BanItem], len(s.content.bans))
	s.bans = make(map[string][]span[*pb.BanItem], len(s.content.bans))
	for _, b := range s.content.bans {
		s.banItems[b.GetCode()] = append(s.banItems[b.GetCode()], span[*pb.BanItem]{start(b.GetValidFrom()), end(b.GetValidTo()), b})
		for _, k := range b.GetCategories() {
			s.bans[k] = append(s.bans[k], span[*pb.BanItem]{start(b.GetValidFrom()), end(b.GetValidTo()), b})
		}
	}
}

// banTree has one level: items are not above one another.
func (c *content) banTree() *tree {
	nodes := make([]node, len(c.bans))
	for i, b := range c.bans {
		nodes[i] = entry(b.GetCode(), "", start(b.GetValidFrom()), end(b.GetValidTo()))
	}
	return grow(nodes)
}

func (v *validator) bans() {
	known := v.content.categoryTree().codes
	for i, b := range v.content.bans {
		v.code(ofBans, i, b.GetCode())
		v.name(ofBans, i, "name", b.GetCode(), b.GetName())
		v.validity(ofBans, i, b.GetCode(), b.GetValidFrom(), b.GetValidTo())
		if n := len(b.GetCategories()); n > maxBanCategories {
			v.add(ofBans, i, "categories", BadField, b.GetCode(), "there may be %d categories, not %d", maxBanCategories, n)
			continue
		}
		for j, k := range b.GetCategories() {
			switch _, ok := known[k]; {
			case !ok:
				v.add(ofBans, i, "categories", UnknownCategory, b.GetCode(), "there is no category %s", quotable(k))
			case slices.Contains(b.GetCategories()[:j], k):
				v.add(ofBans, i, "categories", DuplicateCode, b.GetCode(), "category %s stands before", quotable(k))
			}
		}
	}
	v.tree(ofBans, v.content.banTree())
}
