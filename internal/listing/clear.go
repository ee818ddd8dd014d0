package listing

import (
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// clearProblem: the issuer, or somebody above, confirms that the problem is gone (销号), which is another person than looked.
func clearProblem(s State, a *rule.Asked, _ *pb.ClearListedProblemRequest) ([]proto.Message, error) {
	if err := s.byIssuer(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.ListingState_LISTING_STATE_CHECKED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	if a.Actor.Person == s.CheckedBy.GetPerson() {
		return nil, rule.No(rule.SecondPersonNeeded, "whoever looked does not clear it; a second person does")
	}
	return rule.One(&pb.ListedProblemCleared{Sealed: a.Sealed})
}

// account: the issuer, or somebody above, holds the owner to account (通报, 约谈). It may happen more than once.
func account(s State, a *rule.Asked, c *pb.HoldToAccountRequest) ([]proto.Message, error) {
	if err := s.byIssuer(a); err != nil {
		return nil, err
	}
	if err := s.in(open...); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.ListedAt); err != nil {
		return nil, err
	}
	if c.Kind == pb.AccountKind_ACCOUNT_KIND_UNSPECIFIED {
		return nil, rule.Bad("kind", rule.MissingField, "is required")
	}
	if err := said(c.GetParticulars().GetText()); err != nil {
		return nil, err
	}
	return rule.One(&pb.OwnerAccounted{Kind: c.Kind, Sealed: a.Sealed})
}

// open are the states in which it is not cleared.
var open = []pb.ListingState{
	pb.ListingState_LISTING_STATE_LISTED, pb.ListingState_LISTING_STATE_REPORTED_DONE, pb.ListingState_LISTING_STATE_CHECKED, pb.ListingState_LISTING_STATE_FAILED,
}
