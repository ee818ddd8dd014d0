package dispatch

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/deliberation"
	"github.com/chuishao/dispatch/internal/privacy"
	"github.com/chuishao/dispatch/internal/rule"
)

// beginMatter is the id of a community's matter of a month. It follows from the two, so that there is one.
func beginMatter(r Request) (id string, ok bool) {
	c, ok := r.Command.(*pb.ChooseMatterRequest)
	if !ok {
		return "", false
	}
	return uuid.NewSHA1(space, []byte("deliberation\x00"+c.Area+"\x00"+c.Month)).String(), true
}

// aboutMatter looks up the posts that a matter is about, and whether what is published of it names their posters.
func (d *Dispatcher) aboutMatter(ctx context.Context, m deliberation.State, a *rule.Asked, command proto.Message) error {
	if _, ok := command.(*pb.PublishMatterRequest); ok {
		for _, id := range m.Posts {
			s, result, err := d.posts.state(ctx, "posts/"+id)
			if err != nil {
				return err
			}
			if err := d.names(ctx, result.Stream, a, command, s.Published); err != nil {
				return err
			}
		}
		return nil
	}
	c, ok := command.(*pb.ChooseMatterRequest)
	if !ok {
		return nil
	}
	a.Posts = map[string]*pb.Post{}
	for i, name := range c.Posts {
		s, result, err := d.posts.state(ctx, name)
		refusal := new(rule.Refusal)
		switch {
		case errors.As(err, &refusal) && refusal.Reason == rule.NotFound:
			// The rule refuses it, if nothing else is wrong.
		case errors.As(err, &refusal):
			return rule.About(rule.Index("posts", i), err)
		case err != nil:
			return err
		default:
			a.Posts[ID(result.Stream)] = s.Message(ID(result.Stream))
		}
	}
	return nil
}

// Deliberation is a community's matter of a month as everybody is shown it, by its name: with the public words once it is published. Whether the
// caller may see it is not asked. A *rule.Refusal NOT_FOUND if there is none.
func (d *Dispatcher) Deliberation(ctx context.Context, name string) (*deliberation.State, *pb.Deliberation, Result, error) {
	s, result, err := d.deliberations.state(ctx, name)
	if err != nil {
		return nil, nil, result, err
	}
	m := s.Message(ID(result.Stream))
	said, err := d.unseal(ctx, result.Stream, s.Published)
	if m.Erased = errors.Is(err, privacy.ErrErased); err != nil && !m.Erased {
		return nil, nil, result, err
	}
	m.Words = privacy.MaskPublic(said.GetReply())
	return &s, m, result, nil
}
