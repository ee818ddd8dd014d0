package check

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

const (
	// SeedSize is how many bytes a seed has.
	SeedSize = 16
	// mostDrawn is the size of the largest sample.
	mostDrawn = 400
)

// Sample draws n ids, all if there are fewer, without replacement: those whose SHA-256 of the seed followed by the id comes first, in that order. It depends on
// nothing else: not on the order of the ids, nor on how many of them are named twice.
func Sample(seed []byte, ids []string, n int) []string {
	type ranked struct {
		id   string
		rank [sha256.Size]byte
	}
	all := make([]ranked, 0, len(ids))
	for _, id := range distinct(ids) {
		all = append(all, ranked{id, sha256.Sum256(append(bytes.Clone(seed), id...))})
	}
	slices.SortFunc(all, func(a, b ranked) int { return bytes.Compare(a.rank[:], b.rank[:]) })
	drawn := make([]string, 0, min(n, len(all)))
	for _, r := range all[:min(n, len(all))] {
		drawn = append(drawn, r.id)
	}
	return drawn
}

// PopulationHash is the SHA-256 of ids, sorted, each once and with a line feed.
func PopulationHash(ids []string) []byte {
	h := sha256.New()
	for _, id := range distinct(ids) {
		h.Write([]byte(id))
		h.Write([]byte{'\n'})
	}
	return h.Sum(nil)
}

// distinct are the ids sorted, each once.
func distinct(ids []string) []string {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Redraw says whether a sample is the one that its seed draws from a population: nil if it is.
func Redraw(e *pb.SpotCheckDrawn, population []string) error {
	switch {
	case uint64(len(distinct(population))) != e.Population:
		return errors.New("the population has another size")
	case !bytes.Equal(PopulationHash(population), e.PopulationHash):
		return errors.New("the population is another one")
	case !slices.Equal(Sample(e.Seed, population, len(e.Tickets)), e.Tickets):
		return errors.New("the seed draws other tickets")
	}
	return nil
}

// draw: a unit that commands an area draws from the tickets closed there in a period (双月随机抽查), or from those of one category (半年集中督查).
func draw(s State, a *rule.Asked, c *pb.DrawSpotCheckRequest) ([]proto.Message, error) {
	if s.Exists() {
		return nil, nil
	}
	if err := a.Require(pb.Role_ROLE_SUPERVISOR, pb.Role_ROLE_ASSESSMENT); err != nil {
		return nil, err
	}
	if err := a.CheckTime(time.Time{}); err != nil {
		return nil, err
	}
	focused := c.Kind == pb.CheckKind_CHECK_KIND_FOCUSED_INSPECTION
	switch {
	case c.Kind == pb.CheckKind_CHECK_KIND_UNSPECIFIED:
		return nil, rule.Bad("kind", rule.MissingField, "is required")
	case c.Area == "":
		return nil, rule.Bad("area", rule.MissingField, "is required")
	case c.From == nil:
		return nil, rule.Bad("from", rule.MissingField, "is required")
	case c.To == nil:
		return nil, rule.Bad("to", rule.MissingField, "is required")
	case !c.From.AsTime().Before(c.To.AsTime()):
		return nil, rule.Bad("to", rule.BadField, "must lie after from")
	case c.To.AsTime().After(a.At):
		return nil, rule.Bad("to", rule.BadField, "lies in the future")
	case c.Size == 0:
		return nil, rule.Bad("size", rule.MissingField, "is required")
	case c.Size > mostDrawn:
		return nil, rule.Bad("size", rule.TooMany, "want at most %d", mostDrawn)
	case focused && c.Category == "":
		return nil, rule.Bad("category", rule.MissingField, "is required for a focused inspection")
	case !focused && c.Category != "":
		return nil, rule.Bad("category", rule.BadField, "is given only with a focused inspection")
	}
	path, ok := a.Registry.Path(c.Area, a.At)
	if !ok {
		return nil, rule.Bad("area", rule.UnknownArea, "no area %q is valid today", c.Area)
	}
	if !commands(a, path) {
		return nil, rule.Bad("area", rule.OutOfScope, "your unit does not command area %q", c.Area)
	}
	if focused {
		if _, ok := a.Registry.Category(c.Category, a.At); !ok {
			return nil, rule.Bad("category", rule.UnknownCategory, "no category %q is valid today", c.Category)
		}
	}
	from := a.Drawing
	if from == nil || len(from.Seed) != SeedSize {
		return nil, errors.New("a spot check needs what there is to draw from, and a seed")
	}
	if len(from.Tickets) == 0 {
		return nil, rule.No(rule.NothingToDraw, "no ticket was closed there in that period")
	}
	return rule.One(&pb.SpotCheckDrawn{
		No: a.No, Kind: c.Kind, Path: path, From: c.From, To: c.To, KnownAt: from.KnownAt, Seed: from.Seed, Population: uint64(len(distinct(from.Tickets))),
		PopulationHash: PopulationHash(from.Tickets), Tickets: Sample(from.Seed, from.Tickets, int(c.Size)), Unit: a.Actor.Unit, Category: c.Category,
		UnitPath: a.Registry.UnitPath(a.Actor.Unit),
	})
}

// commands says whether the actor's unit commands an area: for a supervisor, whether it is the territorial unit there or stands above it; for an
// assessment office, whether the area lies in its own.
func commands(a *rule.Asked, path []*pb.AreaNode) bool {
	if a.Acting == pb.Role_ROLE_SUPERVISOR {
		there, ok := a.Registry.Responsible(path[len(path)-1].Code, a.At)
		if ok && rule.Within(a.Registry, there.Code, a.Actor.Unit) {
			return true
		}
		if a.Require(pb.Role_ROLE_ASSESSMENT) != nil {
			return false
		}
	}
	office, ok := a.Registry.Unit(a.Actor.Unit, a.At)
	return ok && slices.ContainsFunc(path, func(n *pb.AreaNode) bool { return n.Code == office.Area })
}

func (s *State) drawn(at time.Time, e *pb.SpotCheckDrawn) {
	s.No, s.Drawn, s.DrawnAt, s.Items = e.No, e, at, make([]Item, len(e.Tickets))
	for i, id := range e.Tickets {
		s.Items[i].Ticket = id
	}
}
