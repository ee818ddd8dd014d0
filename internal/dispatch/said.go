package dispatch

import (
	"context"
	"errors"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/privacy"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/ticket"
)

// Said is what an actor is shown, masked, of what was said with one event of a ticket (nil: of anything else). Nil: nothing was said, or nothing
// that the actor is shown. Erased says that the data subject's key was destroyed. Whether the actor may see the event is the
// caller's to ask.
func (d *Dispatcher) Said(ctx context.Context, stream string, s *ticket.State, e proto.Message, actor rule.Actor) (p *pb.Particulars, erased bool, err error) {
	said, ok := e.(interface{ GetSealed() *pb.Sealed })
	if !ok {
		return nil, false, nil
	}
	p, err = d.unseal(ctx, stream, said.GetSealed())
	if errors.Is(err, privacy.ErrErased) {
		return nil, true, nil
	}
	if err != nil || p == nil {
		return nil, false, err
	}
	seen := summons
	switch kind, _, _ := strings.Cut(stream, "-"); {
	case s != nil:
		seen = d.sees(s, actor)
	case kind == "wall":
		if seen, err = d.seesPost(ctx, stream, e, actor); err != nil {
			return nil, false, err
		}
		p.Reply = privacy.MaskPublic(p.Reply)
	case kind == "deliberation":
		seen = partReply // everybody may look: what was said in public
	}
	if mask(p, seen); proto.Size(p) == 0 {
		return nil, false, nil
	}
	return p, false, nil
}

// summons is what everybody is shown of a whistle who may see it: why and where they are called, not who complained.
const summons = matter | partText | partNote

// seesPost is what an actor is shown of what was said with an event of a post: everybody the public words, and the unit that has the wall, those above
// it and auditors what the matter is. Who a resident is, nobody.
func (d *Dispatcher) seesPost(ctx context.Context, stream string, e proto.Message, actor rule.Actor) (parts, error) {
	s, _, err := d.posts.state(ctx, "posts/"+ID(stream))
	if err != nil {
		return 0, err
	}
	inside := actor.Unit != "" && (rule.Within(d.Registry(), s.Keeper, actor.Unit) || rule.Within(d.Registry(), s.PostedTo, actor.Unit)) &&
		!slices.Equal(actor.Roles, []pb.Role{pb.Role_ROLE_CITIZEN})
	if inside || slices.Contains(actor.Roles, pb.Role_ROLE_AUDITOR) {
		return summons, nil
	}
	switch e.(type) {
	case *pb.PostScreened, *pb.PostSelfSolved:
		return partReply, nil
	}
	return 0, nil
}
