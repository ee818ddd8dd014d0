package wall

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// verifyPercent is how many of a hundred self-solved posts the community looks at where the registry has no weights.
const verifyPercent = 10

// selfSolve: the grid worker solved it within the grid's own powers (子墙自解), and says so on the wall. Some are drawn to be looked at.
func selfSolve(s State, a *rule.Asked, c *pb.SelfSolvePostRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_GRID_WORKER); err != nil {
		return nil, err
	}
	if err := s.ofKeeper(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.PostState_POST_STATE_SCREENED); err != nil {
		return nil, err
	}
	if s.Mother {
		return nil, rule.No(rule.WrongState, "the post stands on the community's mother wall; a grid worker solves what stands on the grid's own")
	}
	if err := a.CheckTime(s.ScreenedAt); err != nil {
		return nil, err
	}
	category, ok := a.Registry.Category(s.Category, a.At)
	if !ok || !category.SelfSolvable {
		return nil, rule.No(rule.NotSelfSolvable, "matters of category %s are beyond a grid worker's powers; lift the post", s.Category)
	}
	if err := a.Deliver("", s.Category, s.Keeper, ""); err != nil {
		return nil, err
	}
	if err := a.PublicWords(c.GetParticulars().GetReply()); err != nil {
		return nil, err
	}
	if err := rule.Attachments(c.Attachments); err != nil {
		return nil, err
	}
	if category.Object == pb.MatterObject_MATTER_OBJECT_INCIDENT {
		for _, kind := range []pb.AttachmentKind{pb.AttachmentKind_ATTACHMENT_KIND_BEFORE, pb.AttachmentKind_ATTACHMENT_KIND_AFTER} {
			if !slices.ContainsFunc(c.Attachments, func(p *pb.Attachment) bool { return p.GetKind() == kind && p.Position != nil && p.ShotAt != nil }) {
				return nil, rule.Bad("attachments", rule.PhotosNeeded, "an incident needs a photo before and one after, each with position and shot_at")
			}
		}
	}
	percent := uint32(verifyPercent)
	if w := a.Registry.Weights(); w != nil {
		percent = w.VerifyPercent
	}
	return rule.One(&pb.PostSelfSolved{
		Unit: s.Keeper, Category: s.Category, Attachments: c.Attachments, Sealed: a.Sealed, Drawn: drawn(s.No, a.At, percent), Percent: percent,
	})
}

// drawn says whether a post is among those of a hundred that are looked at. It follows from the post's number and from the instant at which its solution was
// recorded: anybody can draw again from the history, and nobody knows beforehand.
func drawn(no string, recorded time.Time, percent uint32) bool {
	sum := sha256.Sum256(fmt.Appendf(nil, "verify\x00%s\x00%d", no, recorded.UnixMicro()))
	return binary.BigEndian.Uint64(sum[:])%100 < uint64(percent)
}

func (s *State) selfSolved(at time.Time, e *pb.PostSelfSolved) {
	s.Solution, s.SolvedAt, s.EndedAt, s.Drawn, s.Percent, s.Echo = e.Sealed, at, at, e.Drawn, e.Percent, pb.EchoKind_ECHO_KIND_RESULT
	s.Attachments = append(slices.Clip(s.Attachments), e.Attachments...)
}
