// Package review holds the rules of what units are thought of by those who see their work: the triple review of a unit or cadre (组织考, 党员议,
// 居民评), the grade of a resident unit (驻区单位评议), and a street's opinion of a department's decision (街道意见权). One step, one file. The package
// is pure.
package review

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// What a review is, as Review.kind says it.
const (
	Triple        = "TRIPLE"
	ResidentUnit  = "RESIDENT_UNIT"
	StreetOpinion = "STREET_OPINION"
)

// MaxScore is the most that can be scored, in hundredths of points.
const MaxScore = 100_00

// State is a review, folded from its events. It is a value: copies may be changed apart, but what its slices and pointers lead to is
// shared and never changed.
type State struct {
	rule.Life[pb.ReviewState]

	Kind     string
	Unit     string // who is reviewed
	Person   string // the cadre; empty where the unit itself is
	From, To time.Time
	OpenedBy string // the unit
	Ticket   string // the id of the ticket it is about; empty where it is about the period
	Weights  *pb.ReviewWeights
	Group    []*pb.Reviewer
	Scores   []Score
	Points   uint32 // hundredths, once it is closed
	OpenedAt time.Time
	ClosedAt time.Time
}

// Score is what a member of the group gave.
type Score struct {
	Person string
	Kind   pb.ReviewerKind
	Score  uint32 // hundredths
}

// Decide says what a command makes happen, or why not: a *rule.Refusal. No events and no error: it had been done before. Neither s nor
// what it points to is changed.
func Decide(s State, a *rule.Asked, command proto.Message) ([]proto.Message, error) {
	switch c := command.(type) {
	case *pb.OpenReviewRequest:
		return open(s, a, c)
	case *pb.GradeResidentUnitRequest:
		return grade(s, a, c)
	case *pb.GiveStreetOpinionRequest:
		return giveOpinion(s, a, c)
	}
	if !s.Exists() {
		return nil, rule.Bad("name", rule.NotFound, "no such review")
	}
	switch c := command.(type) {
	case *pb.ScoreReviewRequest:
		return score(s, a, c)
	case *pb.CloseReviewRequest:
		return closeReview(s, a, c)
	}
	return nil, fmt.Errorf("no rule for command %T", command)
}

// Evolve is the state after an event. An event that is not of this kind of stream is an error. s is not changed.
func Evolve(s State, meta *pb.EventMeta, event proto.Message) (State, error) {
	at := meta.GetOccurredAt().AsTime()
	switch e := event.(type) {
	case *pb.ReviewOpened:
		s.opened(at, e)
	case *pb.ReviewScored:
		s.Scores = append(slices.Clip(s.Scores), Score{e.Person, e.Kind, e.Score})
	case *pb.ReviewClosed:
		s.ClosedAt, s.Points = at, e.Points
	case *pb.ResidentUnitGraded:
		s.graded(at, e)
	case *pb.StreetOpinionGiven:
		s.opinionGiven(at, e)
	default:
		return s, fmt.Errorf("%T is no event of a review", event)
	}
	s.Sealed(event)
	s.Happened(meta, event, StateAfter(event))
	return s, nil
}

// StateAfter is the main state an event leads to; UNSPECIFIED for one that changes none.
func StateAfter(event proto.Message) pb.ReviewState {
	switch event.(type) {
	case *pb.ReviewOpened:
		return pb.ReviewState_REVIEW_STATE_OPEN
	case *pb.ReviewClosed, *pb.ResidentUnitGraded, *pb.StreetOpinionGiven:
		return pb.ReviewState_REVIEW_STATE_CLOSED
	}
	return pb.ReviewState_REVIEW_STATE_UNSPECIFIED
}

// MaySee says whether somebody may know of it: of what is closed anybody, before that the unit reviewed with those above and below it, who
// opened it with those below, and the group's members.
func (s *State) MaySee(r rule.Registry, who rule.Actor, _ time.Time) bool {
	if s.State == pb.ReviewState_REVIEW_STATE_CLOSED {
		return true
	}
	if slices.Contains(who.Roles, pb.Role_ROLE_AUDITOR) || slices.Contains(who.Roles, pb.Role_ROLE_ASSESSMENT) {
		return true
	}
	return rule.Within(r, s.Unit, who.Unit) || rule.Within(r, who.Unit, s.Unit) || rule.Within(r, who.Unit, s.OpenedBy) || s.member(who.Person) != nil
}

// member is a member of the group; nil if there is none of that reference.
func (s *State) member(person string) *pb.Reviewer {
	for _, m := range s.Group {
		if m.Person == person {
			return m
		}
	}
	return nil
}

func (s *State) scored(person string) bool {
	return slices.ContainsFunc(s.Scores, func(x Score) bool { return x.Person == person })
}

// Message is the review as the contract shows it. The points of single members are nobody's business.
func (s *State) Message(id string) *pb.Review {
	m := &pb.Review{
		Name: "reviews/" + id, No: s.No, State: s.State, Kind: s.Kind, Unit: s.Unit, Person: s.Person, From: rule.Stamp(s.From), To: rule.Stamp(s.To),
		Group: s.Group, Scored: uint32(len(s.Scores)), OpenedBy: s.OpenedBy, OpenedAt: rule.Stamp(s.OpenedAt), ClosedAt: rule.Stamp(s.ClosedAt),
		Weights: s.Weights,
	}
	if s.Ticket != "" {
		m.Ticket = "tickets/" + s.Ticket
	}
	if s.State == pb.ReviewState_REVIEW_STATE_CLOSED && s.Kind != StreetOpinion {
		m.Points = &s.Points
	}
	return m
}
