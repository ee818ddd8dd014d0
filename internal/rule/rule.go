// Package rule is what the rules of all streams share: what they are told besides the command (Asked), how they say no
// (Refusal), and what their states have in common (Life). It is pure: no I/O, no clock.
package rule

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
)

// Actor is who gives a command, as the credentials say.
type Actor struct {
	Person string    // staff reference or system name; never a petitioner's name
	Roles  []pb.Role // the roles the principal holds in Unit
	Unit   string    // the code of the unit the roles are held in
}

// Asked is what a rule knows besides the stream's state and the command: who asks, when, and the reference data in force.
type Asked struct {
	Actor      Actor
	At         time.Time // when the command is recorded; whole microseconds, UTC
	OccurredAt time.Time // when it happened; At unless the caller said otherwise
	Backdated  bool      // the caller gave OccurredAt
	LateFrom   time.Time // facts of this instant or later were admitted, though they are older than MaxBackdate; zero: none were
	Imported   bool      // another system's record: OccurredAt is the record's, however old

	Registry Registry
	Calendar *calendar.Calendar
	Profile  calendar.Profile
	// ProfileVersion is the profile's name and version as events name it.
	ProfileVersion string
	// ProfileNamed is the profile of a version as events name it, for a command that computes limits again; else nil.
	ProfileNamed func(version string) (calendar.Profile, bool)

	Sealed *pb.Sealed            // the command's particulars, sealed; nil if it had none
	No     string                // the public number of a stream that comes to life
	Linked map[string]*pb.Ticket // the tickets a whistle names, by stream id; a duplicate's primary, or a primary's duplicate
	// Against are the units that confidential tickets of a whistle complain of; none of the whole city, beside whom there is nobody.
	Against []string
	// Admissions are those that a command names, by id.
	Admissions map[string]*pb.Admission
	// Posts are those that a matter of the month is about, Entries the other side of a match, by id.
	Posts   map[string]*pb.Post
	Entries map[string]*pb.Entry
	// Petitioner is the data subject of a duplicate, or of who supports or reviews a post, or of a ticket that a whistle was blown for; empty if nobody is known.
	Petitioner string
	// Unredacted says that the public words of the command hold what identifies a person; see PublicWords.
	Unredacted bool
	// Drawing is what a sample is drawn from, and Sampled the ticket of a sample that somebody looked at again; nil for other commands.
	Drawing *Drawing
	Sampled *Sampled
	// Child is the id of the whistle that a raised one goes on as.
	Child string

	// Acting is the role the command was allowed for. Require sets it.
	Acting pb.Role
}

// Registry is the reference data in force: an immutable value behind lookups. A code that is unknown, or not valid at the
// instant, is not found.
type Registry interface {
	Version() string
	// Path is the area's whole path at the instant, root first.
	Path(area string, at time.Time) ([]*pb.AreaNode, bool)
	// Successor is the area that stands at the instant for one that a code named up to then: itself while it is valid; of what was
	// divided or closed, the nearest area that all of it lies in now.
	Successor(area string, at time.Time) (string, bool)
	// Unlocated is the path of matters whose place is unknown: the root and the node UNLOCATED below it.
	Unlocated() []*pb.AreaNode
	Unit(code string, at time.Time) (*pb.Unit, bool)
	// UnitPath is the unit's path through the unit tree, root first, itself included; nil if it is unknown.
	UnitPath(code string) []string
	// Level is the level of the area the unit is anchored at, and its rank; 0 if unknown.
	Level(unit string) (name string, rank uint32)
	Category(code string, at time.Time) (*pb.Category, bool)
	// Responsible is the territorial unit that holds tickets of the area: its own, or the nearest above it that has one.
	Responsible(area string, at time.Time) (*pb.Unit, bool)
	// Rank is a level's rank; 0 if the level is unknown.
	Rank(level string) uint32
	// Above is the territorial unit one level up: that of the nearest area above the unit's own that has one.
	Above(unit string, at time.Time) (string, bool)
	// Office is the unit of the kind that is anchored at the unit's own area, or at the nearest area above it that has one.
	Office(kind pb.UnitKind, unit string, at time.Time) (string, bool)
	// Catalogue is who is responsible for matters of the category in the area at the instant (派单目录), the most specific area first; nil if nothing
	// is said of it.
	Catalogue(category, area string, at time.Time) []*pb.CatalogueEntry
	// Weights are those of reviews and ratings, and of samples, never nil; they must not be changed.
	Weights() *pb.ReviewWeights
	// Banned is the item of the ban list (禁入清单) that keeps matters of the category, or of one above it, out of communities.
	Banned(category string, at time.Time) (*pb.BanItem, bool)
	// BanItem is the item of the ban list with the code.
	BanItem(code string, at time.Time) (*pb.BanItem, bool)
	// CallItem is the item of the call-item list (呼应启动事项) of a code.
	CallItem(code string, at time.Time) (*pb.CallItem, bool)
	// Nearest is, of the unit and those of its line (条线), the one nearest to another unit, at or above its area and not below it: the
	// unit itself where it is of no line.
	Nearest(unit, to string, at time.Time) (string, bool)
}

// Within says whether a unit is the ancestor or lies below it in the unit tree.
func Within(r Registry, unit, ancestor string) bool {
	return ancestor != "" && slices.Contains(r.UnitPath(unit), ancestor)
}

// CommonUnit is the lowest unit that all the units are or lie below: the lowest that commands them all. Empty if there is none.
func CommonUnit(r Registry, units ...string) string {
	var common []string
	for i, u := range units {
		path := r.UnitPath(u)
		if i == 0 {
			common = path
			continue
		}
		n := 0
		for n < len(common) && n < len(path) && common[n] == path[n] {
			n++
		}
		common = common[:n]
	}
	if len(common) == 0 {
		return ""
	}
	return common[len(common)-1]
}

// Require refuses unless the actor holds one of the roles, and notes the first that fits as the role that acts.
func (a *Asked) Require(roles ...pb.Role) error {
	for _, r := range roles {
		if slices.Contains(a.Actor.Roles, r) {
			a.Acting = r
			return nil
		}
	}
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = Name(r)
	}
	return &Refusal{Reason: RoleNotAllowed, Message: "this needs one of the roles " + strings.Join(names, ", ")}
}

// MaxBackdate is how old a fact may be when it is recorded: phones of grid workers are offline for a while.
const MaxBackdate = 72 * time.Hour

// CheckTime refuses an instant the command cannot have happened at: after it is recorded, before what it follows, or longer
// ago than MaxBackdate, unless that was admitted.
func (a *Asked) CheckTime(notBefore time.Time) error {
	switch {
	case a.Imported:
		return nil
	case a.OccurredAt.After(a.At):
		return Bad("occurred_at", OccurredInFuture, "lies in the future")
	case a.Backdated && a.At.Sub(a.OccurredAt) > MaxBackdate && (a.LateFrom.IsZero() || a.OccurredAt.Before(a.LateFrom)):
		return Bad("occurred_at", OccurredTooLongAgo, "lies more than 72 hours back")
	case a.Backdated && a.OccurredAt.Before(notBefore):
		return Bad("occurred_at", OccurredBeforeCause, "lies before what it follows, at %s", notBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// Due is the instant a timer of the profile that starts at start is due, and whether a calendar year was missing. A zero instant: the profile sets no limit.
func (a *Asked) Due(t calendar.Timer, grade string, start time.Time) (due time.Time, provisional bool, err error) {
	limit, err := a.Profile.Limit(t, grade)
	if err != nil || limit.None() {
		return time.Time{}, false, err
	}
	return a.Calendar.Due(start, limit)
}

// Later is an event that occurred at another instant than its command.
type Later struct {
	proto.Message
	OccurredAt time.Time
}

// Then makes an event that occurred at the instant rather than when its command did.
func Then(event proto.Message, at time.Time) proto.Message { return Later{event, at} }

// Stamp is a time on the wire; the zero time is unset.
func Stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// Instant is the time of a stamp; unset is the zero time.
func Instant(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

// Latest is the later of two instants.
func Latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Index is the path of an element of a repeated field, from 0.
func Index(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }

// One is what a rule gives that makes one event.
func One(e proto.Message) ([]proto.Message, error) { return []proto.Message{e}, nil }
