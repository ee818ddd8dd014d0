package demo

import (
	"fmt"
	"math/rand/v2"
	"strings"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/examples/wuxi"
	"github.com/chuishao/dispatch/internal/registry"
)

// The root of the example city: its area, and the unit that everything lies below.
const (
	cityArea   = "320200000000"
	cityCentre = "320200000000-ZH"
)

// city is the example city, made ready for drawing places from it.
type city struct {
	piece     *pb.RegistryPiece
	districts []*pb.Area
	places    []place // one a grid
	grades    map[string]pb.Grade
	pace      map[string]float64 // how long districts take, next to the others
}

// place is where something happens.
type place struct{ grid, community, street, district *pb.Area }

func openCity() (*city, error) {
	content, faults := registry.ReadDir(wuxi.Files)
	if len(faults) > 0 {
		return nil, fmt.Errorf("example city: %v", faults)
	}
	c := &city{piece: content.Piece, grades: map[string]pb.Grade{}, pace: map[string]float64{}}
	areas := map[string]*pb.Area{}
	for _, a := range c.piece.Areas {
		areas[a.Code] = a
		if a.Level == "district" {
			c.districts = append(c.districts, a)
			c.pace[a.Code] = 0.75 + 0.13*float64(len(c.districts)*3%7)
		}
	}
	for _, a := range c.piece.Areas {
		p := place{grid: a, community: areas[a.Parent]}
		if a.Level != "grid" || p.community.GetLevel() != "community" {
			continue
		}
		p.street = areas[p.community.Parent]
		p.district = areas[p.street.GetParent()]
		if p.district.GetLevel() == "district" {
			c.places = append(c.places, p)
		}
	}
	for _, k := range c.piece.Categories {
		c.grades[k.Code] = k.Grade
	}
	return c, nil
}

func (c *city) place(r *rand.Rand) place { return c.places[r.IntN(len(c.places))] }

// unit is the unit that a matter's word for a lead means at a place.
func (p *place) unit(lead string) string {
	switch lead {
	case "street":
		return p.street.Code
	case "community":
		return p.community.Code
	}
	if utility, ok := strings.CutPrefix(lead, "+"); ok {
		return cityArea + "-" + utility
	}
	return p.district.Code + "-" + lead
}

// centre is the command centre that dispatches to the unit: a district's cannot reach the city's utilities.
func (p *place) centre(lead string) string {
	if strings.HasPrefix(lead, "+") {
		return cityCentre
	}
	return p.district.Code + "-ZH"
}

// actor is who calls, as a node in development is told.
func actor(person, unit string, roles ...pb.Role) string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = strings.TrimPrefix(r.String(), "ROLE_")
	}
	return fmt.Sprintf("person=%s;roles=%s;unit=%s", person, strings.Join(names, ","), unit)
}

// clerk is who works for a lead at a place, in the role that the kind of unit has.
func (p *place) clerk(lead string) string {
	switch lead {
	case "street":
		return actor("clerk-"+p.street.Code, p.street.Code, pb.Role_ROLE_STREET_CLERK)
	case "community":
		return actor("clerk-"+p.community.Code, p.community.Code, pb.Role_ROLE_COMMUNITY_CLERK)
	}
	unit := p.unit(lead)
	return actor("clerk-"+unit, unit, pb.Role_ROLE_DEPARTMENT_CLERK)
}
