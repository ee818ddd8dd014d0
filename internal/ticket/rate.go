package ticket

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// Rating is that a rater has rated a unit.
type Rating struct{ Rater, Unit string }

// ended are the states in which a round is looked back on.
var ended = []pb.TicketState{pb.TicketState_TICKET_STATE_CALLBACK, pb.TicketState_TICKET_STATE_CLOSED}

// officers are the roles that act for a street.
var officers = []pb.Role{pb.Role_ROLE_STREET_CLERK, pb.Role_ROLE_STREET_LEADER, pb.Role_ROLE_STREET_SECRETARY, pb.Role_ROLE_STREET_DIRECTOR}

// rateLead: a street or community of the place, or the petitioner, rates the unit that led (反评价). Once by each rater, and never by the lead
// or those below it. Source: Guangling, where communities rate too.
func rateLead(s State, a *rule.Asked, c *pb.RateLeadRequest) ([]proto.Message, error) {
	community := []pb.Role{pb.Role_ROLE_COMMUNITY_CLERK, pb.Role_ROLE_COMMUNITY_SECRETARY}
	if err := a.Require(slices.Concat(officers, community, []pb.Role{pb.Role_ROLE_CITIZEN})...); err != nil {
		return nil, err
	}
	if err := s.in(ended...); err != nil {
		return nil, err
	}
	if s.Lead == "" {
		return nil, rule.No(rule.WrongState, "nobody led the ticket; it was answered directly")
	}
	if err := a.CheckTime(s.SubmittedAt); err != nil {
		return nil, err
	}
	e := &pb.LeadRated{Unit: s.Lead, Response: c.Response, Cooperation: c.Cooperation, Result: c.Result, Rater: a.Actor.Unit, Sealed: a.Sealed, UnitPath: s.LeadPath, Path: s.Path}
	switch {
	case a.Acting == pb.Role_ROLE_CITIZEN:
		if s.Subject == "" || s.Anonymous {
			return nil, rule.No(rule.OutOfScope, "the petitioner is not known")
		}
		e.RaterKind, e.Rater = pb.RaterKind_RATER_KIND_RESIDENT, s.Subject
	case slices.Contains(community, a.Acting):
		e.RaterKind = pb.RaterKind_RATER_KIND_COMMUNITY
	default:
		e.RaterKind = pb.RaterKind_RATER_KIND_STREET
	}
	if e.RaterKind != pb.RaterKind_RATER_KIND_RESIDENT {
		switch here, beside := s.lies(a); {
		case beside && e.RaterKind == pb.RaterKind_RATER_KIND_STREET:
			e.RaterKind = pb.RaterKind_RATER_KIND_OTHER_STREET
		case !here:
			return nil, rule.No(rule.OutOfScope, "your unit %q is of another place", a.Actor.Unit)
		}
		if rule.Within(a.Registry, a.Actor.Unit, s.Lead) {
			return nil, rule.No(rule.SeparationOfDuties, "unit %q led the ticket; nobody rates their own", s.Lead)
		}
	}
	if slices.Contains(s.Ratings, Rating{e.Rater, s.Lead}) {
		return nil, rule.No(rule.AlreadyDone, "unit %q is rated by this rater already", s.Lead)
	}
	for _, mark := range []struct {
		field string
		value uint32
	}{{"response", c.Response}, {"cooperation", c.Cooperation}, {"result", c.Result}} {
		if mark.value < 1 || mark.value > 5 {
			return nil, rule.Bad(mark.field, rule.BadField, "want 1 to 5")
		}
	}
	return rule.One(e)
}

// lies says whether the actor's unit is anchored at an area of a street or below that the ticket lies in, or at one that is affected too. Of a
// confidential ticket the place knows nothing but within its scope.
func (s *State) lies(a *rule.Asked) (here, beside bool) {
	if s.Confidentiality == pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL && !s.InScope(a.Registry, a.Actor.Unit) {
		return false, false
	}
	u, ok := a.Registry.Unit(a.Actor.Unit, a.At)
	if _, rank := a.Registry.Level(a.Actor.Unit); !ok || rank < a.Registry.Rank("street") {
		return false, false
	}
	is := func(n *pb.AreaNode) bool { return n.Code == u.Area }
	here = slices.ContainsFunc(s.Path, is)
	for _, area := range s.AlsoAffects {
		path, _ := a.Registry.Path(area, a.At)
		beside = beside || !here && slices.ContainsFunc(path, is)
	}
	return here, beside
}

func (s *State) leadRated(_ *pb.EventMeta, e *pb.LeadRated) {
	s.Ratings = append(slices.Clip(s.Ratings), Rating{e.Rater, e.Unit})
}

// mostAsked is how many people a joint review may say were asked on one side, so that sums of many stay exact.
const mostAsked = 1_000_000

// jointReview: residents, units and party members say together what they think of how it was solved (联评). Once a round. Source: Yan'an.
func jointReview(s State, a *rule.Asked, c *pb.RecordJointReviewRequest) ([]proto.Message, error) {
	if err := a.Require(append(slices.Clone(officers), pb.Role_ROLE_COMMUNITY_SECRETARY)...); err != nil {
		return nil, err
	}
	if err := s.in(ended...); err != nil {
		return nil, err
	}
	if here, _ := s.lies(a); !here {
		return nil, rule.No(rule.OutOfScope, "your unit %q is of another place", a.Actor.Unit)
	}
	if err := a.CheckTime(s.SubmittedAt); err != nil {
		return nil, err
	}
	if s.JointlyReviewed {
		return nil, rule.No(rule.AlreadyDone, "this round was reviewed jointly already")
	}
	asked := uint32(0)
	for _, side := range []struct {
		count, score string
		n, points    uint32
	}{
		{"residents", "residents_score", c.Residents, c.ResidentsScore},
		{"units", "units_score", c.Units, c.UnitsScore},
		{"party_members", "party_members_score", c.PartyMembers, c.PartyMembersScore},
	} {
		switch {
		case side.n > mostAsked:
			return nil, rule.Bad(side.count, rule.BadField, "want at most %d", mostAsked)
		case side.points > 100_00:
			return nil, rule.Bad(side.score, rule.BadField, "want hundredths of 0 to 100")
		case side.n == 0 && side.points > 0:
			return nil, rule.Bad(side.count, rule.MissingField, "is required with %s", side.score)
		}
		asked += side.n
	}
	if asked == 0 {
		return nil, rule.Bad("residents", rule.MissingField, "nobody was asked: residents, units or party_members is required")
	}
	return rule.One(&pb.JointReviewRecorded{
		Residents: c.Residents, ResidentsScore: c.ResidentsScore, Units: c.Units, UnitsScore: c.UnitsScore,
		PartyMembers: c.PartyMembers, PartyMembersScore: c.PartyMembersScore, Sealed: a.Sealed,
	})
}

func (s *State) jointReviewRecorded(*pb.EventMeta, *pb.JointReviewRecorded) { s.JointlyReviewed = true }
