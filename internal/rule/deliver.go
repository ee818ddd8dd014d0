package rule

import (
	"slices"
	"strings"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// Deliver refuses to bring a matter of a category to a unit of a community or grid if the ban list (禁入清单) keeps it out, unless the named
// admission ("admissions/{admission}"; may be empty) is in force there. Dispatching, delegating, ruling, co-handling and summoning all ask it.
// Source: Liwan's admission of matters into communities.
func (a *Asked) Deliver(field, category, unit, admission string) error {
	item, banned := a.Registry.Banned(category, a.At)
	if !banned || !BelowStreet(a.Registry, unit) {
		return nil
	}
	if in := a.Admissions[strings.TrimPrefix(admission, "admissions/")]; in != nil && in.Item == item.Code && a.inForce(in, unit) {
		return nil
	}
	return &Refusal{
		Reason: BannedInCommunities, Field: field, BanItem: item.Code, Target: unit,
		Message: "item " + item.Code + " of the ban list keeps category " + category + " out of communities",
	}
}

// inForce says whether an admission holds now for the community that a unit is or lies in.
func (a *Asked) inForce(in *pb.Admission, unit string) bool {
	if in.State != pb.AdmissionState_ADMISSION_STATE_ADMITTED || a.At.Before(Instant(in.ValidFrom)) || !a.At.Before(Instant(in.ValidTo)) {
		return false
	}
	u, ok := a.Registry.Unit(unit, a.At)
	if !ok {
		return false
	}
	path, _ := a.Registry.Path(u.Area, a.At)
	return slices.ContainsFunc(path, func(n *pb.AreaNode) bool { return slices.Contains(in.Communities, n.Code) })
}

// BelowStreet says whether the unit is anchored below the rank of streets: in a community or grid.
func BelowStreet(r Registry, unit string) bool {
	street := r.Rank("street")
	_, rank := r.Level(unit)
	return street > 0 && rank > street
}
