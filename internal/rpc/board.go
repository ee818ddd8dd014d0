package rpc

import (
	"context"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/deliberation"
	"github.com/chuishao/dispatch/internal/view"
	"github.com/chuishao/dispatch/internal/wall"
)

// ListWallPosts gives a page of the posts of a wall and of those below it. Which there are the view says; what they say, their histories.
func (s viewService) ListWallPosts(ctx context.Context, q *pb.ListWallPostsRequest) (*pb.ListWallPostsResponse, error) {
	if err := s.wait(ctx, q.MinConsistencyToken, view.WallsView, view.TicketsView); err != nil {
		return nil, err
	}
	actor, _ := ActorFrom(ctx)
	registry, now := s.dispatcher.Registry(), s.dispatcher.Now()
	ids, lights, next, position, err := s.reader.ListWallPosts(ctx, view.BoardQuery{
		Filter: q.Filter, OrderBy: q.OrderBy, PageSize: q.PageSize, PageToken: q.PageToken,
		Sees: func(keeper string) bool {
			kept := wall.State{Keeper: keeper}
			kept.State = pb.PostState_POST_STATE_POSTED
			return kept.MaySee(registry, actor, now)
		},
	}, now)
	if err != nil {
		return nil, err
	}
	answer := &pb.ListWallPostsResponse{NextPageToken: next, ConsistencyToken: Token(position), Lights: lights}
	for _, id := range ids {
		_, post, result, err := s.dispatcher.Post(ctx, "posts/"+id)
		if err != nil {
			return nil, err
		}
		post.Etag, post.ConsistencyToken = result.ETag(), Token(result.Position)
		answer.WallPosts = append(answer.WallPosts, post)
	}
	return answer, nil
}

// ListDeliberations gives a page of matters of the month: those that are published, and of the others those of the caller's communities.
func (s viewService) ListDeliberations(ctx context.Context, q *pb.ListDeliberationsRequest) (*pb.ListDeliberationsResponse, error) {
	if err := s.wait(ctx, q.MinConsistencyToken, view.DeliberationsView); err != nil {
		return nil, err
	}
	actor, _ := ActorFrom(ctx)
	registry := s.dispatcher.Registry()
	ids, next, position, err := s.reader.ListDeliberations(ctx, view.BoardQuery{
		Filter: q.Filter, PageSize: q.PageSize, PageToken: q.PageToken,
		Sees: func(keeper string) bool { return deliberation.Sees(registry, actor, keeper) },
	})
	if err != nil {
		return nil, err
	}
	answer := &pb.ListDeliberationsResponse{NextPageToken: next, ConsistencyToken: Token(position)}
	for _, id := range ids {
		_, matter, result, err := s.dispatcher.Deliberation(ctx, "deliberations/"+id)
		if err != nil {
			return nil, err
		}
		matter.Etag, matter.ConsistencyToken = result.ETag(), Token(result.Position)
		answer.Deliberations = append(answer.Deliberations, matter)
	}
	return answer, nil
}

// ListEntries gives a page of needs and resources.
func (s viewService) ListEntries(ctx context.Context, q *pb.ListEntriesRequest) (*pb.ListEntriesResponse, error) {
	if err := s.wait(ctx, q.MinConsistencyToken, view.ExchangeView); err != nil {
		return nil, err
	}
	ids, next, position, err := s.reader.ListEntries(ctx, view.BoardQuery{Filter: q.Filter, PageSize: q.PageSize, PageToken: q.PageToken})
	if err != nil {
		return nil, err
	}
	actor, _ := ActorFrom(ctx)
	answer := &pb.ListEntriesResponse{NextPageToken: next, ConsistencyToken: Token(position)}
	for _, id := range ids {
		entry, result, err := s.dispatcher.Entry(ctx, "exchanges/"+id, actor)
		if err != nil {
			return nil, err
		}
		entry.Etag, entry.ConsistencyToken = result.ETag(), Token(result.Position)
		answer.Entries = append(answer.Entries, entry)
	}
	return answer, nil
}
