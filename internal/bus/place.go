package bus

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
)

// place is where the matter of a stream lies and who has to do with it, folded from the stream's events. Its slices are never changed.
type place struct {
	version  eventstore.Version
	position eventstore.Position // of the last event folded

	path         []*pb.AreaNode
	holder, lead string   // of a ticket
	units        []string // its co-handlers; of other kinds all who have to do with it, the first first
	// confidential: only who has it may learn of it, and never who is complained of.
	confidential bool
	complainedOf string
	tickets      []string // ids of the tickets that a stream of another kind is about
}

// has are the units that an event of the stream is for, each once.
func (p *place) has() []string {
	var list []string
	for _, u := range append([]string{p.holder, p.lead}, p.units...) {
		if u != "" && !slices.Contains(list, u) {
			list = append(list, u)
		}
	}
	return list
}

// apply folds one event of a stream of a kind. Of kinds that are nobody's but the city's nothing is noted: they have no place.
func (p *place) apply(kind string, d *event.Decoded) {
	p.version, p.position = d.Version, d.Position
	switch kind {
	case "ticket":
		p.ticket(d.Event)
	case "whistle":
		p.whistle(d.Event)
	case "wall":
		p.wall(d)
	default:
		p.other(d.Event)
	}
}

func (p *place) ticket(event proto.Message) {
	const confidential = pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL
	switch e := event.(type) {
	case *pb.TicketReported:
		p.path, p.holder, p.confidential, p.complainedOf = e.Path, e.Holder, e.Confidentiality == confidential, e.ComplainedOf
	case *pb.RecordImported:
		p.path = e.Path
	case *pb.TicketAccepted:
		p.path, p.holder = e.Path, e.Holder
		if e.Confidentiality != 0 {
			p.confidential = e.Confidentiality == confidential
		}
	case *pb.TicketTriaged:
		p.path, p.holder, p.confidential, p.complainedOf = e.Path, e.Holder, e.Confidentiality == confidential, e.ComplainedOf
	case *pb.TriageCorrected:
		if len(e.Path) > 0 {
			p.path = e.Path
		}
		if e.Holder != "" {
			p.holder = e.Holder
		}
		if e.ComplainedOf != "" {
			p.complainedOf = e.ComplainedOf
		}
		if e.Confidentiality != 0 {
			p.confidential = e.Confidentiality == confidential
		}
	case *pb.ArchiveCorrected:
		if len(e.Path) > 0 {
			p.path = e.Path
		}
	case *pb.DeclineOverturned:
		p.path, p.holder = e.Path, e.Holder
	case *pb.AdjudicationOpened:
		p.holder = e.Holder
	case *pb.TicketDispatched:
		p.leads(e.Lead)
		p.units = e.Co
	case *pb.TicketEscalated:
		p.leads(e.To)
	case *pb.EscalationRefused:
		p.leads(e.To)
	case *pb.TicketDelegated:
		p.leads(e.To)
	case *pb.TicketReopened:
		p.holder = e.Lead
	case *pb.ReturnApproved:
		p.holder, p.lead, p.units = e.Holder, "", nil
	case *pb.HolderMoved:
		if p.holder == e.From {
			p.holder = e.To
		}
		if p.lead == e.From {
			p.lead, p.units = e.To, without(p.units, e.To)
		}
	case *pb.CoHandlerRequested:
		p.units = with(p.units, e.Unit)
	case *pb.CoHandlerDeclined:
		p.units = without(p.units, e.Unit)
	}
}

// leads notes that a unit leads from now on, and does not help as well.
func (p *place) leads(unit string) {
	p.holder, p.lead, p.units = unit, unit, without(p.units, unit)
}

func (p *place) whistle(event proto.Message) {
	switch e := event.(type) {
	case *pb.WhistleDrafted:
		// Nobody is summoned by a draft.
		p.path, p.units, p.tickets = e.Path, []string{e.Street}, e.Tickets
		p.units = with(p.units, e.ScreenedBy)
	case *pb.WhistleBlown:
		p.path, p.units, p.tickets = e.Path, []string{e.Street}, e.Tickets
		p.units = with(p.units, e.ScreenedBy)
	case *pb.WhistleIssued:
		for _, one := range e.Participants {
			p.units = with(p.units, one.Unit)
		}
	case *pb.ParticipantAdded:
		p.units = with(p.units, e.Participant.GetUnit())
	case *pb.ParticipantExcused:
		p.units = with(p.units, e.Replacement.GetUnit())
	case *pb.HelperJoined:
		p.units = with(p.units, e.Unit)
	case *pb.WhistleRaised:
		p.units = with(p.units, e.To)
	}
}

func (p *place) wall(d *event.Decoded) {
	switch e := d.Event.(type) {
	case *pb.PostPublished:
		p.path, p.units = e.Path, []string{e.Keeper}
	case *pb.PostLifted:
		p.path, p.units = e.Path, []string{e.Keeper}
	case *pb.PostTicketed:
		p.tickets = []string{strings.TrimPrefix(d.Stream, "wall-")} // its ticket has the same id
	case *pb.PostJointlyHandled:
		for _, u := range e.Units {
			p.units = with(p.units, u)
		}
	}
}

func (p *place) other(event proto.Message) {
	switch e := event.(type) {
	case *pb.ProblemListed:
		p.path, p.units = e.Path, with([]string{e.Owner}, e.Issuer)
	case *pb.SpotCheckDrawn:
		p.units = []string{e.Unit} // whose tickets were drawn learns of it from who comes to look
	case *pb.AdmissionApplied:
		p.units = with([]string{e.Unit}, e.DecidedBy)
	case *pb.MatterChosen:
		p.path, p.units = e.Path, []string{e.Keeper}
	case *pb.MatterDecided:
		p.units = with(p.units, e.Lead)
	case *pb.EntryOpened:
		p.path, p.units = e.Path, []string{e.Unit}
	case *pb.EntryMatched:
		p.units = with(p.units, e.Unit)
	}
}

func with(units []string, unit string) []string {
	if unit == "" || slices.Contains(units, unit) {
		return units
	}
	return append(slices.Clip(units), unit)
}

func without(units []string, unit string) []string {
	if !slices.Contains(units, unit) {
		return units
	}
	return slices.DeleteFunc(slices.Clone(units), func(u string) bool { return u == unit })
}

// places remembers the places of the streams that were heard of last. What it holds is exact only while every event passes through it, in the order of the
// history. It belongs to one goroutine.
type places struct {
	store    eventstore.Store
	now, old map[string]*place
	most     int // of each
	// paths has one of each path through the areas, which thousands of streams share.
	paths map[string][]*pb.AreaNode
}

func newPlaces(store eventstore.Store) *places {
	return &places{store: store, now: map[string]*place{}, most: 20_000, paths: map[string][]*pb.AreaNode{}}
}

// mostPaths is how many paths are shared; a city has some thousand.
const mostPaths = 20_000

// shared is the one of the paths that are like this one.
func (s *places) shared(path []*pb.AreaNode) []*pb.AreaNode {
	var b strings.Builder
	for _, n := range path {
		b.WriteString(n.GetLevel())
		b.WriteByte(0)
		b.WriteString(n.GetCode())
		b.WriteByte(0)
	}
	if one, ok := s.paths[b.String()]; ok {
		return one
	}
	if len(s.paths) >= mostPaths {
		clear(s.paths)
	}
	// Only what is asked of them: their names go with the event.
	one := make([]*pb.AreaNode, len(path))
	for i, n := range path {
		one[i] = &pb.AreaNode{Level: n.GetLevel(), Code: n.GetCode()}
	}
	s.paths[b.String()] = one
	return one
}

func (s *places) known(stream string) *place {
	p := s.now[stream]
	if p == nil {
		if p = s.old[stream]; p != nil {
			s.keep(stream, p)
		}
	}
	return p
}

func (s *places) keep(stream string, p *place) {
	if len(p.path) > 0 {
		p.path = s.shared(p.path)
	}
	if len(s.now) >= s.most {
		s.old, s.now = s.now, make(map[string]*place, s.most)
	}
	s.now[stream] = p
}

// of is the place of a stream as the events before an upper bound leave it. Both bounds are exclusive; a version of 0 is none.
func (s *places) read(ctx context.Context, stream string, version eventstore.Version, position eventstore.Position) (*place, error) {
	p := new(place)
	kind, _, _ := strings.Cut(stream, "-")
	if version == 1 {
		return p, nil
	}
	for r, err := range s.store.ReadStream(ctx, stream, 0) {
		if err != nil {
			return nil, err
		}
		if r.Position >= position || version > 0 && r.Version >= version {
			break
		}
		d, err := event.Decode(r)
		if err != nil {
			return nil, err
		}
		p.apply(kind, &d)
	}
	return p, nil
}

// move folds an event, and gives its stream's place before and after it.
func (s *places) move(ctx context.Context, d *event.Decoded) (before, after place, err error) {
	p := s.known(d.Stream)
	if p == nil || p.version+1 != d.Version {
		if p, err = s.read(ctx, d.Stream, d.Version, d.Position); err != nil {
			return before, after, err
		}
		s.keep(d.Stream, p)
	}
	before = *p
	kind, _, _ := strings.Cut(d.Stream, "-")
	p.apply(kind, d)
	if len(p.path) > 0 && (len(before.path) == 0 || &p.path[0] != &before.path[0]) {
		p.path = s.shared(p.path)
	}
	return before, *p, nil
}

// about is the place of a ticket that an event of another stream is about, as of that event.
func (s *places) about(ctx context.Context, ticket string, d *event.Decoded) (*place, error) {
	stream := "ticket-" + ticket
	if p := s.known(stream); p != nil {
		return p, nil
	}
	p, err := s.read(ctx, stream, 0, d.Position)
	if err == nil && p.version > 0 {
		s.keep(stream, p)
	}
	return p, err
}

// subjects are where an event goes, each once: where its matter lay and who had it before, and where it lies and who has it since. What is confidential goes to no place,
// only to those who have it, as the event leaves it; so who is complained of hears nothing, not even that it was let go of.
func (s *places) subjects(ctx context.Context, d *event.Decoded) (list []string, confidential bool, err error) {
	before, after, err := s.move(ctx, d)
	if err != nil {
		return nil, false, err
	}
	against := []string{after.complainedOf}
	confidential = after.confidential
	for _, t := range after.tickets {
		p, err := s.about(ctx, t, d)
		if err != nil {
			return nil, false, err
		}
		if p.confidential {
			confidential = true
			against = append(against, p.complainedOf)
		}
	}
	add := func(a area, unit string) {
		if at := subject(a, unit, d.Stream, d.Type); !slices.Contains(list, at) {
			list = append(list, at)
		}
	}
	if confidential {
		for _, u := range after.confidants() {
			if !slices.Contains(against, u) {
				add(nowhere, u)
			}
		}
	} else {
		for _, p := range []*place{&before, &after} {
			if p.version == 0 {
				continue
			}
			a := spell(p.path)
			for _, u := range p.has() {
				add(a, u)
			}
			if len(p.has()) == 0 {
				add(a, "")
			}
		}
	}
	if len(list) == 0 {
		add(nowhere, "")
	}
	return list, confidential, nil
}

// confidants are who may learn of what is confidential: who has it. Of a ticket co-handlers may not.
func (p *place) confidants() []string {
	if p.holder != "" || p.lead != "" {
		q := place{holder: p.holder, lead: p.lead}
		return q.has()
	}
	return p.has()
}
