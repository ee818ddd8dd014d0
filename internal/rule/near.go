package rule

import (
	"slices"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// Below says whether a category is the other or stands below it in the catalogue at the instant.
func Below(r Registry, category, top string, at time.Time) bool {
	for range mostCategories {
		if category == top || category == "" {
			return category == top
		}
		c, ok := r.Category(category, at)
		if !ok {
			return false
		}
		category = c.Parent
	}
	return false
}

// mostCategories is more than stand above each other.
const mostCategories = 16

// Nearby says whether a matter lies where a unit is at home: the unit's own area is on the matter's path, or below its place.
func Nearby(r Registry, unit string, path []*pb.AreaNode, at time.Time) bool {
	home, ok := r.Unit(unit, at)
	if !ok || home.Area == "" || len(path) == 0 {
		return false
	}
	if slices.ContainsFunc(path, func(n *pb.AreaNode) bool { return n.Code == home.Area }) {
		return true
	}
	leaf := path[len(path)-1].Code
	own, _ := r.Path(home.Area, at)
	return slices.ContainsFunc(own, func(n *pb.AreaNode) bool { return n.Code == leaf })
}
