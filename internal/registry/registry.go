// Package registry is the reference data of a city: its levels, areas, units and categories, as immutable versions that
// take effect whole. It reads them from CSV, lists everything that is wrong with them, keeps the rules of the stream they are
// recorded in, and answers look-ups at an instant.
//
// Areas and units are trees that say themselves who is above whom; nothing is derived from codes, and an area's level may
// skip others. An entry is valid from an instant until before another; a code may have several entries as long as no two
// are valid at once.
package registry

import (
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// Stream is the one stream that registry versions are recorded in.
const Stream = "registry-main"

// The node below the root that stands for the place of matters whose place is unknown. No area may have this code, no
// level this name.
const (
	UnlocatedLevel = "unlocated"
	UnlocatedCode  = "UNLOCATED"
	unlocatedName  = "未定位"
)

// DefaultLevels are the levels of content that names none: city, district, street, community, grid.
func DefaultLevels() []*pb.Level {
	return []*pb.Level{
		{Name: "city", Rank: 1, DisplayName: "市"},
		{Name: "district", Rank: 2, DisplayName: "区（县、市）"},
		{Name: "street", Rank: 3, DisplayName: "街道（镇、园区）"},
		{Name: "community", Rank: 4, DisplayName: "社区（村）"},
		{Name: "grid", Rank: 5, DisplayName: "网格"},
	}
}

// Snapshot is one version of the registry: a rule.Registry. It never changes, and any number of goroutines may read it;
// what its methods return is shared and must not be changed. Look-ups do not allocate.
type Snapshot struct {
	version   string
	validFrom time.Time
	hash      []byte
	content   content
	weights   *pb.ReviewWeights

	areas      map[string][]span[place]
	units      map[string]*unit
	categories map[string][]span[*pb.Category]
	catalogue  map[string][]*pb.CatalogueEntry // by category
	bans       map[string][]span[*pb.BanItem]  // by category
	banItems   map[string][]span[*pb.BanItem]  // by code
	callItems  map[string][]span[*pb.CallItem]
	anchored   map[string][]span[*pb.Unit] // territorial units by area
	offices    map[office][]span[*pb.Unit]
	lines      map[line][]span[*pb.Unit]
	ranks      map[string]uint32
	unlocated  []*pb.AreaNode
	wishes     bool                  // a unit wants something done without anybody\'s word
	tree       *tree                 // of the areas
	gone       map[string][]home     // places of earlier versions that have ended, by code
	former     map[string][]*pb.Area // entries of earlier versions whose codes the content does not tell of
}

// span is a value that holds from an instant until before another.
type span[T any] struct {
	from, to int64
	value    T
}

// at finds what holds at the instant. There are few spans, most often one.
func at[T any](spans []span[T], t time.Time) (value T, ok bool) {
	us := t.UnixMicro()
	for i := range spans {
		if s := &spans[i]; s.from <= us && us < s.to {
			return s.value, true
		}
	}
	return value, false
}

type place struct {
	area *pb.Area
	path []*pb.AreaNode
}

// unit is what is known of a unit's code. Path and level are those of its latest entry: they are asked for without an
// instant, and for units that have been closed too.
type unit struct {
	entries []span[*pb.Unit]
	path    []string
	level   string
	rank    uint32
}

// Version is the version's name.
func (s *Snapshot) Version() string { return s.version }

// ValidFrom is when the version takes effect.
func (s *Snapshot) ValidFrom() time.Time { return s.validFrom }

// Hash is the ContentHash it was published with; nil if it was not published.
func (s *Snapshot) Hash() []byte { return s.hash }

// Levels are the version's levels as loaded, or the default ones.
func (s *Snapshot) Levels() []*pb.Level { return s.content.levels }

// Wishes says whether any unit, valid or not, wants something done below it without anybody's word.
func (s *Snapshot) Wishes() bool { return s.wishes }

// Areas are all entries of areas, of any validity, in the order in which they were loaded.
func (s *Snapshot) Areas() []*pb.Area { return s.content.areas }

// Units are all entries of units, of any validity, in the order in which they were loaded.
func (s *Snapshot) Units() []*pb.Unit { return s.content.units }

// Categories are all entries of categories, of any validity, in the order in which they were loaded.
func (s *Snapshot) Categories() []*pb.Category { return s.content.categories }

// Rank is a level's rank; 0 if the level is unknown.
func (s *Snapshot) Rank(level string) uint32 { return s.ranks[level] }

// Area is the area at the instant.
func (s *Snapshot) Area(code string, t time.Time) (*pb.Area, bool) {
	p, ok := at(s.areas[code], t)
	return p.area, ok
}

// Path is the area's whole path at the instant, root first. An area with an ancestor that is not valid then is not found.
func (s *Snapshot) Path(area string, t time.Time) ([]*pb.AreaNode, bool) {
	p, ok := at(s.areas[area], t)
	return p.path, ok
}

// Unlocated is the path of matters whose place is unknown: the root, and below it a node of the level UnlocatedLevel with
// the code UnlocatedCode.
func (s *Snapshot) Unlocated() []*pb.AreaNode { return s.unlocated }

// Unit is the unit at the instant.
func (s *Snapshot) Unit(code string, t time.Time) (*pb.Unit, bool) {
	u := s.units[code]
	if u == nil {
		return nil, false
	}
	return at(u.entries, t)
}

// UnitPath is the unit's path through the unit tree, root first, itself included, by the latest entries of it and of those
// above it; nil if it is unknown.
func (s *Snapshot) UnitPath(code string) []string {
	u := s.units[code]
	if u == nil {
		return nil
	}
	return u.path
}

// Level is the level of the area that the unit is anchored at, and its rank, by the latest entries of both; "" and 0 if
// unknown.
func (s *Snapshot) Level(code string) (name string, rank uint32) {
	u := s.units[code]
	if u == nil {
		return "", 0
	}
	return u.level, u.rank
}

// Category is the category at the instant.
func (s *Snapshot) Category(code string, t time.Time) (*pb.Category, bool) {
	return at(s.categories[code], t)
}

// Responsible is the unit of kind AREA that is anchored at the area, or at the nearest area above it that has one then.
func (s *Snapshot) Responsible(area string, t time.Time) (*pb.Unit, bool) {
	path, _ := s.Path(area, t)
	for i := len(path) - 1; i >= 0; i-- {
		if u, ok := at(s.anchored[path[i].Code], t); ok {
			return u, true
		}
	}
	return nil, false
}
