package ticket

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// excludes are the metrics that each code may take a ticket out of.
var excludes = map[pb.ExclusionCode][]string{
	pb.ExclusionCode_EXCLUSION_CODE_X6:  {"M24"},
	pb.ExclusionCode_EXCLUSION_CODE_X7:  {"M23", "M24"},
	pb.ExclusionCode_EXCLUSION_CODE_X8:  {"M23"},
	pb.ExclusionCode_EXCLUSION_CODE_X9:  {"M11", "M13"},
	pb.ExclusionCode_EXCLUSION_CODE_X10: {"M08", "M11", "M22"},
	pb.ExclusionCode_EXCLUSION_CODE_X11: {"M11", "M13", "M22", "M23", "M24"},
	pb.ExclusionCode_EXCLUSION_CODE_X12: {"M11", "M13", "M22", "M23", "M24"},
}

// Excludes are the metrics that a code may take a ticket out of; none for a code that is not granted by anybody. The caller owns
// the slice.
func Excludes(code pb.ExclusionCode) []string { return slices.Clone(excludes[code]) }

// requestExclusion: the lead asks, soon after the callback, to leave the ticket out of rates (剔除申请). What was denied is not asked
// again, and one code is granted at most.
func requestExclusion(s State, a *rule.Asked, c *pb.RequestExclusionRequest) ([]proto.Message, error) {
	if err := s.byLead(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_CLOSED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.ClosedAt); err != nil {
		return nil, err
	}
	if c.Code == pb.ExclusionCode_EXCLUSION_CODE_UNSPECIFIED {
		return nil, rule.Bad("code", rule.MissingField, "is required")
	}
	may := Excludes(c.Code)
	for i, m := range c.Metrics {
		if !slices.Contains(may, m) || slices.Contains(c.Metrics[:i], m) {
			return nil, rule.Bad(rule.Index("metrics", i), rule.BadField, "want metrics of %s, each once", strings.Join(may, ", "))
		}
	}
	if err := said("text", c.GetParticulars().GetText()); err != nil {
		return nil, err
	}
	switch {
	case s.Exclusion != nil:
		return nil, rule.No(rule.AlreadyProposed, "an exclusion is asked for and not decided")
	case s.Excluded != 0:
		return nil, rule.No(rule.AlreadyDone, "an exclusion was granted")
	case slices.Contains(s.ExclusionDenied, c.Code):
		return nil, rule.Bad("code", rule.AlreadyDone, "was denied")
	case s.Limits.ExclusionBy.IsZero():
		return nil, rule.No(rule.ExclusionLapsed, "there is no right to ask for exclusion: nobody was called back, or the profile gives none")
	case !calendar.OnTime(a.OccurredAt, s.Limits.ExclusionBy), !calendar.OnTime(a.At, s.Limits.ExclusionBy): // nor is it asked for in retrospect
		return nil, rule.No(rule.ExclusionLapsed, "the right to ask for exclusion lapsed at %s", s.Limits.ExclusionBy.In(a.Calendar.Zone()).Format(time.RFC3339))
	}
	e := &pb.ExclusionRequested{Code: c.Code, Metrics: c.Metrics, Sealed: a.Sealed}
	if len(e.Metrics) == 0 {
		e.Metrics = may
	}
	return rule.One(e)
}

// decideExclusion: the assessment office of an area in which the matter lies says whether the ticket counts. Nobody else does, and
// not who ever dispatched it, nor those complained of.
func decideExclusion(s State, a *rule.Asked, c *pb.DecideExclusionRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_ASSESSMENT); err != nil {
		return nil, err
	}
	if err := s.assessment(a); err != nil {
		return nil, err
	}
	if slices.Contains(s.Dispatchers, a.Actor.Person) || rule.Within(a.Registry, a.Actor.Unit, s.Lead) {
		return nil, rule.No(rule.SeparationOfDuties, "whoever decides must neither have dispatched the matter nor belong to unit %q, which asks", s.Lead)
	}
	if rule.Within(a.Registry, a.Actor.Unit, s.ComplainedOf) {
		return nil, rule.No(rule.SeparationOfDuties, "whoever decides must not belong to the unit complained of")
	}
	if err := s.in(pb.TicketState_TICKET_STATE_CLOSED); err != nil {
		return nil, err
	}
	if s.Exclusion == nil {
		return nil, rule.No(rule.NothingProposed, "no exclusion is asked for")
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	if err := said("note", c.GetParticulars().GetNote()); err != nil {
		return nil, err
	}
	if !c.Granted {
		return rule.One(&pb.ExclusionDenied{Code: s.Exclusion.Code, Sealed: a.Sealed})
	}
	return rule.One(&pb.ExclusionGranted{Code: s.Exclusion.Code, Metrics: s.Exclusion.Metrics, Sealed: a.Sealed})
}

func (s *State) exclusionRequested(_ *pb.EventMeta, e *pb.ExclusionRequested) { s.Exclusion = e }

func (s *State) exclusionGranted(_ *pb.EventMeta, e *pb.ExclusionGranted) {
	s.Exclusion, s.Excluded, s.ExcludedMetrics = nil, e.Code, e.Metrics
}

// exclusionDenied: the right was used, so that it does not lapse.
func (s *State) exclusionDenied(_ *pb.EventMeta, e *pb.ExclusionDenied) {
	s.Exclusion, s.ExclusionDenied = nil, append(slices.Clip(s.ExclusionDenied), e.Code)
	s.fire(pb.TicketTimer_TICKET_TIMER_EXCLUSION, s.Limits.ExclusionBy)
}
