package rule

import (
	"slices"
	"strings"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// Deliver refuses to bring a matter of a category to a unit of a community or grid if the ban list (禁入清单) keeps it out, unless the named
// admission ("admissions/{admission}"; may be empty) is in force there. One that does not exist or is not in force is refused whatever it is named
// for, at the field admission beside the one that names the unit. Dispatching, delegating, ruling, co-handling and summoning all ask it.
// Source: Liwan's admission of matters into communities.
func (a *Asked) Deliver(field, category, unit, admission string) error {
	if admission != "" && !a.inForce(a.Admissions[AdmissionID(admission)]) {
		refusal := &Refusal{Reason: AdmissionNotInForce, Field: field[:strings.LastIndexByte(field, '.')+1] + "admission", Message: "does not exist or is not in force"}
		if item, banned := a.banned(category, unit); banned { // it was tried to bring in what is banned
			refusal.BanItem, refusal.Target = item.Code, unit
		}
		return refusal
	}
	return a.Keep(field, category, unit, admission)
}

// Keep is Deliver for what a unit had before, under an admission that the command does not name: if that is not in force any more, the unit is
// refused as if there had been none.
func (a *Asked) Keep(field, category, unit, admission string) error {
	item, banned := a.banned(category, unit)
	if !banned {
		return nil
	}
	if in := a.Admissions[AdmissionID(admission)]; a.inForce(in) && in.Item == item.Code && a.covers(in, unit) {
		return nil
	}
	return &Refusal{
		Reason: BannedInCommunities, Field: field, BanItem: item.Code, Target: unit,
		Message: "item " + item.Code + " of the ban list keeps category " + category + " out of communities",
	}
}

// AdmissionID is the id within an admission's name, or the id itself.
func AdmissionID(name string) string { return strings.TrimPrefix(name, "admissions/") }

// banned is the item of the ban list that keeps a category out of the unit, where that is one of a community or grid.
func (a *Asked) banned(category, unit string) (*pb.BanItem, bool) {
	item, banned := a.Registry.Banned(category, a.At)
	return item, banned && BelowStreet(a.Registry, unit)
}

// inForce says whether an admission (nil: none) holds now, and held when the command happened.
func (a *Asked) inForce(in *pb.Admission) bool {
	if in.GetState() != pb.AdmissionState_ADMISSION_STATE_ADMITTED {
		return false
	}
	from, to := Instant(in.ValidFrom), Instant(in.ValidTo)
	return !a.OccurredAt.Before(from) && !a.At.Before(from) && a.OccurredAt.Before(to) && a.At.Before(to)
}

// covers says whether an admission is for the community that a unit is or lies in.
func (a *Asked) covers(in *pb.Admission, unit string) bool {
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
