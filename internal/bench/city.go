package bench

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/examples/wuxi"
	"github.com/chuishao/dispatch/internal/principal"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/rule"
)

// who is an actor in the two forms that are needed: for the dispatcher itself, and for a call.
type who struct {
	actor    rule.Actor
	metadata metadata.MD
}

func newWho(person, unit string, roles ...pb.Role) *who {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = strings.TrimPrefix(r.String(), "ROLE_")
	}
	return &who{
		actor: rule.Actor{Person: person, Unit: unit, Roles: roles},
		metadata: metadata.Pairs(principal.DevActorHeader,
			fmt.Sprintf("person=%s;roles=%s;unit=%s", person, strings.Join(names, ","), unit)),
	}
}

const centre = "320200000000-ZH"

var (
	system     = newWho("system", centre, pb.Role_ROLE_SYSTEM)
	hotline    = newWho("hotline", centre, pb.Role_ROLE_CONNECTED_SYSTEM, pb.Role_ROLE_AGENT)
	dispatcher = newWho("dispatcher", centre, pb.Role_ROLE_DISPATCHER)
	supervisor = newWho("supervisor", centre, pb.Role_ROLE_SUPERVISOR)
	caller     = newWho("caller", centre, pb.Role_ROLE_CALLER)
)

// city is the example city, made ready for drawing matters from it.
type city struct {
	content    *registry.Content
	places     []place
	weights    []float64 // running sums: a few places have most matters
	categories []*pb.Category
}

// place is an area without areas below it, and who handles what happens there.
type place struct {
	path  []*pb.AreaNode
	leads []*who
}

func openCity() (*city, error) {
	content, faults := registry.ReadDir(wuxi.Files)
	if len(faults) > 0 {
		return nil, fmt.Errorf("example registry: %v", faults)
	}
	c := &city{content: content}
	piece := content.Piece
	areas, parents := map[string]*pb.Area{}, map[string]bool{}
	for _, a := range piece.Areas {
		areas[a.Code], parents[a.Parent] = a, true
	}
	leads := map[string][]*who{}
	for _, u := range piece.Units {
		if u.Kind == pb.UnitKind_UNIT_KIND_DEPARTMENT {
			leads[u.Area] = append(leads[u.Area], newWho("clerk of "+u.Code, u.Code, pb.Role_ROLE_DEPARTMENT_CLERK))
		}
	}
	for _, a := range piece.Areas {
		if parents[a.Code] {
			continue
		}
		var p place
		for at := a; at != nil; at = areas[at.Parent] {
			p.path = append(p.path, &pb.AreaNode{Level: at.Level, Code: at.Code, Name: at.Name})
			if p.leads == nil {
				p.leads = leads[at.Code]
			}
		}
		slices.Reverse(p.path)
		c.places = append(c.places, p)
	}
	// Where the many matters are must not follow the order of codes.
	order := rand.New(rand.NewPCG(1, 2))
	order.Shuffle(len(c.places), func(i, j int) { c.places[i], c.places[j] = c.places[j], c.places[i] })
	sum := 0.0
	for i := range c.places {
		sum += 1 / math.Pow(float64(i+1), 0.8)
		c.weights = append(c.weights, sum)
	}
	for _, k := range piece.Categories {
		if k.Parent != "" && k.Object != pb.MatterObject_MATTER_OBJECT_INCIDENT { // the lives have no photos
			c.categories = append(c.categories, k)
		}
	}
	return c, nil
}

func (c *city) place(r *rand.Rand) *place {
	x := r.Float64() * c.weights[len(c.weights)-1]
	return &c.places[min(sort.SearchFloat64s(c.weights, x), len(c.places)-1)]
}

func (c *city) category(r *rand.Rand) *pb.Category { return c.categories[r.IntN(len(c.categories))] }

// record is the nth of so many matters of another system, reported within the year before now, in about the order in which they were
// reported, as such systems hand them over. About every eighth is still open.
func (c *city) record(n, of int, now time.Time) *pb.ImportRecordRequest {
	r := rand.New(rand.NewPCG(uint64(n), 3))
	p := c.place(r)
	ago := time.Duration(float64(year)*float64(of-n)/float64(of)) + time.Duration(r.Int64N(int64(24*time.Hour)))
	reported := now.Add(-ago).Truncate(time.Second)
	took := time.Duration(r.ExpFloat64() * float64(4*24*time.Hour))
	m := &pb.ImportRecordRequest{
		RequestId: fmt.Sprintf("bench/record/%d", n), OccurredAt: stamp(reported), Source: "bench", SourceRef: fmt.Sprintf("%d", n),
		Channel: pb.Channel(1 + r.IntN(9)), Path: p.path, Category: c.category(r).Code,
		Agency: p.leads[r.IntN(len(p.leads))].actor.Unit, Status: "closed",
	}
	if r.IntN(4) > 0 {
		m.DueAt = stamp(reported.Add(time.Duration(3+r.IntN(12)) * 24 * time.Hour))
	}
	if closed := reported.Add(took.Truncate(time.Second)); r.IntN(8) > 0 && closed.Before(now) {
		m.ClosedAt = stamp(closed)
	} else {
		m.Status = "open"
	}
	return m
}
