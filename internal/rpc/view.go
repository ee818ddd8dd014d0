package rpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/ticket"
	"github.com/chuishao/dispatch/internal/view"
)

type viewService struct {
	pb.UnimplementedViewServiceServer
	service
	reader    *view.Reader
	projector projector.Progress
	stopping  <-chan struct{}
}

// wait waits until the views have seen what the token stands for.
func (s viewService) wait(ctx context.Context, token string, views ...string) error {
	position, err := ParseToken("min_consistency_token", token)
	if err != nil || position == 0 {
		return err
	}
	within, cancel := waiting(ctx)
	defer cancel()
	err = s.projector.WaitFor(within, position, views...)
	stopped := new(projector.StoppedError)
	switch {
	case errors.As(err, &stopped):
		return &rule.Refusal{Reason: ViewBehind, Field: "min_consistency_token", Message: fmt.Sprintf("view %s has stopped before that position", stopped.View)}
	case err != nil && errors.Is(within.Err(), context.DeadlineExceeded):
		return &rule.Refusal{Reason: ViewBehind, Field: "min_consistency_token", Message: "the view has not come that far within the call's time"}
	}
	return err
}

// known is the position only up to which a question wants to be answered; nil: all.
func known(token string) (*eventstore.Position, error) {
	if token == "" {
		return nil, nil
	}
	p, err := ParseToken("known_at", token)
	return &p, err
}

// asOf is the instant a question is about, and the view's page token. Where the caller names none it is now, and stays what it was on
// the first page: it stands before the view's token, as in "1k9f0q2w.…".
func (s viewService) asOf(asked *timestamppb.Timestamp, pageToken string) (at time.Time, inner string, err error) {
	switch {
	case asked != nil:
		return asked.AsTime(), pageToken, nil
	case pageToken == "":
		return s.dispatcher.Now(), "", nil
	}
	when, inner, ok := strings.Cut(pageToken, ".")
	us, err := strconv.ParseInt(when, 36, 64)
	if !ok || err != nil || inner == "" {
		return time.Time{}, "", rule.Bad("page_token", rule.BadField, "is not a token that this service gave")
	}
	return time.UnixMicro(us).UTC(), inner, nil
}

// nextPage is the token of the next page of a question about at.
func nextPage(asked *timestamppb.Timestamp, at time.Time, inner string) string {
	if asked != nil || inner == "" {
		return inner
	}
	return strconv.FormatInt(at.UnixMicro(), 36) + "." + inner
}

// paged is what questions for pages of figures have in common: the instant they are about, what is known for them, and the view's page token.
type paged struct {
	asked   *timestamppb.Timestamp
	at      time.Time
	knownAt *eventstore.Position
	inner   string
}

// next is the token of the page that follows.
func (p paged) next(inner string) string { return nextPage(p.asked, p.at, inner) }

// paged reads what such a question asks for, and waits until the views can answer it.
func (s viewService) paged(ctx context.Context, q interface {
	GetKnownAt() string
	GetAsOf() *timestamppb.Timestamp
	GetPageToken() string
	GetMinConsistencyToken() string
}, views ...string) (p paged, err error) {
	p.asked = q.GetAsOf()
	if p.knownAt, err = known(q.GetKnownAt()); err != nil {
		return p, err
	}
	if p.at, p.inner, err = s.asOf(p.asked, q.GetPageToken()); err != nil {
		return p, err
	}
	return p, s.wait(ctx, q.GetMinConsistencyToken(), views...)
}

// GetClosure gives the stock view of a node.
func (s viewService) GetClosure(ctx context.Context, q *pb.GetClosureRequest) (*pb.GetClosureResponse, error) {
	knownAt, err := known(q.KnownAt)
	if err != nil {
		return nil, err
	}
	if err := s.wait(ctx, q.MinConsistencyToken, view.ClosureView); err != nil {
		return nil, err
	}
	at, _, err := s.asOf(q.AsOf, "")
	if err != nil {
		return nil, err
	}
	row, position, err := s.reader.ClosureAt(ctx, view.ClosureQuery{Level: q.Level, Code: q.Code, At: at, KnownAt: knownAt, WithMedian: q.WithMedian, Map: s.areas(q.AreaMode)})
	if refusal, ok := errors.AsType[*rule.Refusal](err); ok && refusal.Reason == rule.NotFound {
		// Nothing was ever reported there. Of an area of the registry that is an answer.
		if row = s.nothingAt(q.Level, q.Code, at); row != nil {
			err = nil
		}
	}
	if err != nil {
		return nil, err
	}
	return &pb.GetClosureResponse{Row: row, AsOf: timestamppb.New(at), ConsistencyToken: Token(position)}, nil
}

// areas is the map that figures are restated on; nil where they are told as at acceptance.
func (s viewService) areas(mode pb.AreaMode) view.Map {
	if mode != pb.AreaMode_AREA_MODE_RESTATED {
		return nil
	}
	return s.dispatcher.Registry().MapAt(s.dispatcher.Now())
}

// levelOf names the level of a unit.
func (s viewService) levelOf(unit string) string {
	level, _ := s.dispatcher.Registry().Level(unit)
	return level
}

// nothingAt is the row of an area of the registry where nothing was reported; nil if it is none.
func (s viewService) nothingAt(level, code string, at time.Time) *pb.ClosureRow {
	path, ok := s.dispatcher.Registry().Path(code, at)
	if !ok || path[len(path)-1].Level != level {
		return nil
	}
	names := make([]string, len(path))
	for i, n := range path {
		names[i] = n.Name
	}
	return &pb.ClosureRow{Level: level, Code: code, Name: names[len(names)-1], Path: strings.Join(names, "/"), Figures: &pb.ClosureFigures{}}
}

// ListClosure gives the stock view of every node of a level.
func (s viewService) ListClosure(ctx context.Context, q *pb.ListClosureRequest) (*pb.ListClosureResponse, error) {
	p, err := s.paged(ctx, q, view.ClosureView)
	if err != nil {
		return nil, err
	}
	rows, next, position, err := s.reader.ListClosure(ctx, view.ClosureQuery{
		Level: q.Level, Area: q.Area, At: p.at, KnownAt: p.knownAt, WithMedian: q.WithMedian, WithDirect: q.WithDirect, Map: s.areas(q.AreaMode),
		PageSize: q.PageSize, PageToken: p.inner,
	})
	if err != nil {
		return nil, err
	}
	return &pb.ListClosureResponse{Rows: rows, NextPageToken: p.next(next), AsOf: timestamppb.New(p.at), ConsistencyToken: Token(position)}, nil
}

// ListMetrics gives a metric of every node of a level.
func (s viewService) ListMetrics(ctx context.Context, q *pb.ListMetricsRequest) (*pb.ListMetricsResponse, error) {
	p, err := s.paged(ctx, q, view.MetricViews(q.Metric)...)
	if err != nil {
		return nil, err
	}
	office := s.dispatcher.Calendar()
	if p.knownAt != nil {
		if office, err = s.dispatcher.CalendarAt(ctx, *p.knownAt); err != nil {
			return nil, err
		}
	}
	figures, next, position, err := s.reader.ListMetrics(ctx, view.MetricQuery{
		Metric: q.Metric, Level: q.Level, Area: q.Area, From: rule.Instant(q.From), To: rule.Instant(q.To), At: p.at, KnownAt: p.knownAt,
		Map: s.areas(q.AreaMode), Weights: s.dispatcher.Registry().Weights(), LevelOf: s.levelOf, Worked: func(from, to time.Time) (time.Duration, error) {
			d, _, err := office.Worked(from, to)
			return d, err
		}, PageSize: q.PageSize, PageToken: p.inner,
	})
	if err != nil {
		return nil, err
	}
	return &pb.ListMetricsResponse{Figures: figures, NextPageToken: p.next(next), ConsistencyToken: Token(position)}, nil
}

// ListBehind gives the tickets behind a figure, as far as the caller may see them.
func (s viewService) ListBehind(ctx context.Context, q *pb.ListBehindRequest) (*pb.ListBehindResponse, error) {
	p, err := s.paged(ctx, q, view.MetricViews(q.Metric)...)
	if err != nil {
		return nil, err
	}
	actor, _ := ActorFrom(ctx)
	all := slices.Contains(actor.Roles, pb.Role_ROLE_AUDITOR) || slices.Contains(actor.Roles, pb.Role_ROLE_ASSESSMENT)
	answer := new(pb.ListBehindResponse)
	// Each look asks for what is missing of the page, so that the last one's token follows the page's last row.
	ask, size := q.PageSize, pageSize(q, 50, 1000)
	for range mostLooks {
		rows, next, total, position, err := s.reader.ListBehind(ctx, view.BehindQuery{
			Metric: q.Metric, Level: q.Level, Code: q.Code, Set: q.Set, From: rule.Instant(q.From), To: rule.Instant(q.To), At: p.at,
			KnownAt: p.knownAt, Map: s.areas(q.AreaMode), PageSize: ask, PageToken: p.inner,
		})
		if err != nil {
			return nil, err
		}
		answer.NextPageToken, answer.TotalSize, answer.ConsistencyToken = p.next(next), total, Token(position)
		for _, row := range rows {
			seen := all
			if !seen {
				if seen, err = s.mayLook(ctx, row.Name); err != nil {
					return nil, err
				}
			}
			if seen {
				if row.No == "" {
					row.No = dispatch.PublicNumber(strings.Replace(row.Name, "/", "-", 1))
				}
				answer.Tickets = append(answer.Tickets, row)
			}
		}
		if next == "" || len(answer.Tickets) == size {
			break
		}
		p.inner, ask = next, int32(size-len(answer.Tickets))
	}
	return answer, nil
}

// mostLooks is how often ListBehind looks for rows that the caller may see before it answers with a page that is not full.
const mostLooks = 20

// scope is whose tickets and whistles the caller's lists hold: an auditor's all; else those of the caller's unit, the units above and
// those below it; of who assesses, the tickets whose matter lies in the unit's area; and, of a unit that governs an area, the whistles that
// lie there.
func (s viewService) scope(ctx context.Context) view.Scope {
	actor, _ := ActorFrom(ctx)
	if slices.Contains(actor.Roles, pb.Role_ROLE_AUDITOR) {
		return view.Scope{All: true}
	}
	registry := s.dispatcher.Registry()
	scope := view.Scope{Path: registry.UnitPath(actor.Unit), Units: []string{actor.Unit}}
	_, own := registry.Level(actor.Unit)
	for _, unit := range scope.Path {
		if _, level := registry.Level(unit); level == own {
			scope.Leads = append(scope.Leads, unit)
		}
	}
	unit, ok := registry.Unit(actor.Unit, s.dispatcher.Now())
	if ok && unit.Area != "" && slices.Contains(actor.Roles, pb.Role_ROLE_ASSESSMENT) {
		scope.Assesses = []string{unit.Area}
	}
	if ok && governs(unit) {
		scope.Areas = []string{unit.Area}
	}
	return scope
}

// governs says whether a unit governs its area, and does not only work there.
func governs(unit *pb.Unit) bool {
	return unit.Kind == pb.UnitKind_UNIT_KIND_AREA || unit.Kind == pb.UnitKind_UNIT_KIND_COMMAND_CENTRE
}

// ListTickets gives a page of the tickets in the caller's scope.
func (s viewService) ListTickets(ctx context.Context, q *pb.ListTicketsRequest) (*pb.ListTicketsResponse, error) {
	if err := s.wait(ctx, q.MinConsistencyToken, view.TicketsView); err != nil {
		return nil, err
	}
	rows, next, position, err := s.reader.ListTickets(ctx, view.TicketQuery{
		Scope: s.scope(ctx), Filter: q.Filter, OrderBy: q.OrderBy, Now: s.dispatcher.Now(), PageSize: q.PageSize, PageToken: q.PageToken,
	})
	if err != nil {
		return nil, err
	}
	return &pb.ListTicketsResponse{Tickets: rows, NextPageToken: next, ConsistencyToken: Token(position)}, nil
}

// ListInbox gives a page of what waits for the caller's unit in the hands of one of the caller's roles. Lights are as of the first page.
func (s viewService) ListInbox(ctx context.Context, q *pb.ListInboxRequest) (*pb.ListInboxResponse, error) {
	actor, _ := ActorFrom(ctx)
	role, err := inboxRole(actor, q.Role)
	if err != nil {
		return nil, err
	}
	at, inner, err := s.asOf(nil, q.PageToken)
	if err != nil {
		return nil, err
	}
	if err := s.wait(ctx, q.MinConsistencyToken, view.TicketsView); err != nil {
		return nil, err
	}
	query := view.InboxQuery{
		Path: s.dispatcher.Registry().UnitPath(actor.Unit), Role: role, Scope: s.scope(ctx), Now: at, PageSize: q.PageSize, PageToken: inner,
	}
	if unit, ok := s.dispatcher.Registry().Unit(actor.Unit, s.dispatcher.Now()); ok && unit.Area != "" {
		query.Areas = []string{unit.Area}
	}
	rows, counts, next, position, err := s.reader.Inbox(ctx, query)
	if err != nil {
		return nil, err
	}
	return &pb.ListInboxResponse{Rows: rows, NextPageToken: nextPage(nil, at, next), Counts: counts, ConsistencyToken: Token(position)}, nil
}

// inboxRole is the role whose inbox a caller asks for: one of the caller's, the first that has an inbox if the caller does not say.
func inboxRole(actor rule.Actor, asked pb.Role) (pb.Role, error) {
	if asked == pb.Role_ROLE_UNSPECIFIED {
		for _, r := range actor.Roles {
			if view.HasInbox(r) {
				return r, nil
			}
		}
		return 0, &rule.Refusal{Reason: rule.RoleNotAllowed, Message: "none of your roles has an inbox"}
	}
	if !slices.Contains(actor.Roles, asked) {
		return 0, rule.Bad("role", rule.RoleNotAllowed, "is none of your roles")
	}
	if !view.HasInbox(asked) {
		return 0, rule.Bad("role", rule.BadField, "has no inbox")
	}
	return asked, nil
}

// ListPrecedents gives a page of the rulings that may be followed, the latest first. A ticket is named to who may see it; what was ruled of
// confidential ones is left out.
func (s viewService) ListPrecedents(ctx context.Context, q *pb.ListPrecedentsRequest) (*pb.ListPrecedentsResponse, error) {
	if _, err := requireRole(ctx, pb.Role_ROLE_AGENT, pb.Role_ROLE_DISPATCHER, pb.Role_ROLE_DUTY_LEADER, pb.Role_ROLE_SUPERVISOR, pb.Role_ROLE_AUDITOR); err != nil {
		return nil, err
	}
	r, now := s.dispatcher.Registry(), s.dispatcher.Now()
	query := view.PrecedentQuery{Category: q.Category, PageSize: q.PageSize, PageToken: q.PageToken}
	if q.Area != "" {
		path, ok := r.Path(q.Area, now)
		if !ok {
			return nil, rule.Bad("area", rule.UnknownArea, "no area %q is valid today", q.Area)
		}
		for _, n := range path {
			query.Areas = append(query.Areas, n.Code)
		}
	}
	if err := s.wait(ctx, q.MinConsistencyToken, view.PrecedentsView); err != nil {
		return nil, err
	}
	if q.Area != "" {
		// What was ruled of an area that is no more holds for the one that stands for it.
		ruled, err := s.reader.PrecedentAreas(ctx)
		if err != nil {
			return nil, err
		}
		for _, code := range ruled {
			if to, ok := r.Successor(code, now); ok && to != code && slices.Contains(query.Areas, to) {
				query.Former = append(query.Former, code)
			}
		}
	}
	rows, next, position, err := s.reader.Precedents(ctx, query)
	if err != nil {
		return nil, err
	}
	answer := &pb.ListPrecedentsResponse{NextPageToken: next, ConsistencyToken: Token(position)}
	for _, row := range rows {
		state, _, err := s.dispatcher.LoadTicket(ctx, row.Ticket)
		if err != nil {
			return nil, err
		}
		if state.Confidentiality == pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL {
			continue
		}
		if s.shows(ctx, &state) != nil {
			row.Ticket = ""
		}
		answer.Precedents = append(answer.Precedents, row)
	}
	return answer, nil
}

// ListWhistles gives a page of the whistles in the caller's scope.
func (s viewService) ListWhistles(ctx context.Context, q *pb.ListWhistlesRequest) (*pb.ListWhistlesResponse, error) {
	if err := s.wait(ctx, q.MinConsistencyToken, view.WhistlesView, view.TicketsView); err != nil {
		return nil, err
	}
	rows, next, position, err := s.reader.ListWhistles(ctx, view.WhistleQuery{
		Scope: s.scope(ctx), Filter: q.Filter, Now: s.dispatcher.Now(), PageSize: q.PageSize, PageToken: q.PageToken,
	})
	if err != nil {
		return nil, err
	}
	return &pb.ListWhistlesResponse{Whistles: rows, NextPageToken: next, ConsistencyToken: Token(position)}, nil
}

// ListReviews gives a page of the reviews that the caller may see.
func (s viewService) ListReviews(ctx context.Context, q *pb.ListReviewsRequest) (*pb.ListReviewsResponse, error) {
	if err := s.wait(ctx, q.MinConsistencyToken, view.ReviewsView); err != nil {
		return nil, err
	}
	actor, _ := ActorFrom(ctx)
	scope := s.scope(ctx)
	scope.All = scope.All || slices.Contains(actor.Roles, pb.Role_ROLE_ASSESSMENT)
	rows, next, position, err := s.reader.ListReviews(ctx, view.ReviewQuery{
		Scope: scope, Person: actor.Person, Filter: q.Filter, OrderBy: q.OrderBy, PageSize: q.PageSize, PageToken: q.PageToken,
	})
	if err != nil {
		return nil, err
	}
	return &pb.ListReviewsResponse{Reviews: rows, NextPageToken: next, ConsistencyToken: Token(position)}, nil
}

// ListAdmissions gives a page of the admissions into communities.
func (s viewService) ListAdmissions(ctx context.Context, q *pb.ListAdmissionsRequest) (*pb.ListAdmissionsResponse, error) {
	if err := s.wait(ctx, q.MinConsistencyToken, view.AdmissionsView); err != nil {
		return nil, err
	}
	rows, next, position, err := s.reader.ListAdmissions(ctx, view.AdmissionQuery{Filter: q.Filter, PageSize: q.PageSize, PageToken: q.PageToken})
	if err != nil {
		return nil, err
	}
	return &pb.ListAdmissionsResponse{Admissions: rows, NextPageToken: next, ConsistencyToken: Token(position)}, nil
}

// ListStages gives how long tickets dwelt in each stage.
func (s viewService) ListStages(ctx context.Context, q *pb.ListStagesRequest) (*pb.ListStagesResponse, error) {
	knownAt, err := known(q.KnownAt)
	if err != nil {
		return nil, err
	}
	if err := s.wait(ctx, q.MinConsistencyToken, view.ServiceView); err != nil {
		return nil, err
	}
	rows, next, position, err := s.reader.ListStages(ctx, view.PeriodQuery{
		Level: q.Level, Area: q.Area, From: rule.Instant(q.From), To: rule.Instant(q.To), At: rule.Instant(q.AsOf), KnownAt: knownAt,
		Map: s.areas(q.AreaMode), WithQuantiles: q.WithQuantiles, PageSize: q.PageSize, PageToken: q.PageToken,
	})
	if err != nil {
		return nil, err
	}
	return &pb.ListStagesResponse{Rows: rows, NextPageToken: next, ConsistencyToken: Token(position)}, nil
}

// ListLedger gives the ledger of suspensions or listings.
func (s viewService) ListLedger(ctx context.Context, q *pb.ListLedgerRequest) (*pb.ListLedgerResponse, error) {
	knownAt, err := known(q.KnownAt)
	if err != nil {
		return nil, err
	}
	views := []string{view.ServiceView}
	if q.Kind == pb.LedgerKind_LEDGER_KIND_LISTING {
		views = append(views, view.ListingsView)
	}
	if err := s.wait(ctx, q.MinConsistencyToken, views...); err != nil {
		return nil, err
	}
	rows, next, position, err := s.reader.ListLedger(ctx, q.Kind, view.PeriodQuery{
		Level: q.Level, Area: q.Area, From: rule.Instant(q.From), To: rule.Instant(q.To), At: rule.Instant(q.AsOf), KnownAt: knownAt,
		Map: s.areas(q.AreaMode), Now: s.dispatcher.Now(), PageSize: q.PageSize, PageToken: q.PageToken,
	})
	if err != nil {
		return nil, err
	}
	return &pb.ListLedgerResponse{Rows: rows, NextPageToken: next, ConsistencyToken: Token(position)}, nil
}

// ListTimeline gives what happened to a ticket or whistle, from its history: always current.
func (s viewService) ListTimeline(ctx context.Context, q *pb.ListTimelineRequest) (*pb.ListTimelineResponse, error) {
	cursor, err := pageCursor(q)
	if err != nil {
		return nil, err
	}
	var after uint64
	if cursor != "" {
		if after, err = strconv.ParseUint(cursor, 10, 64); err != nil {
			return nil, rule.Bad("page_token", rule.BadField, "is not a token that this service gave")
		}
	}
	it, result, err := s.look(ctx, q.Name)
	if err != nil {
		return nil, err
	}
	of, _ := it.(*ticket.State)
	actor, _ := ActorFrom(ctx)
	answer := &pb.ListTimelineResponse{ConsistencyToken: Token(result.Position)}
	size := pageSize(q, 100, 1000)
	var state pb.TicketState
	for rec, err := range s.dispatcher.Store().ReadStream(ctx, result.Stream, 0) {
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", result.Stream, err)
		}
		e, err := event.Decode(rec)
		if err != nil {
			return nil, err
		}
		if is := ticket.StateAfter(e.Event); is != 0 {
			state = is
		}
		if uint64(e.Version) <= after {
			continue
		}
		if len(answer.Entries) == size {
			answer.NextPageToken = pageToken(q, strconv.FormatUint(uint64(e.Version)-1, 10))
			break
		}
		particulars, erased, err := s.dispatcher.Said(ctx, result.Stream, of, e.Event, actor)
		if err != nil {
			return nil, err
		}
		answer.Entries = append(answer.Entries, &pb.TimelineEntry{
			Particulars: particulars, Erased: erased,
			Type: e.Type, OccurredAt: e.Meta.OccurredAt, RecordedAt: e.Meta.RecordedAt, Actor: e.Meta.Actor, State: state, Stage: ticket.StageOf(state),
			Version: uint64(e.Version), ConsistencyToken: Token(e.Position),
		})
	}
	return answer, nil
}

// WatchClosure sends a node's figures now and whenever they change.
func (s viewService) WatchClosure(q *pb.WatchClosureRequest, stream grpc.ServerStreamingServer[pb.WatchClosureResponse]) error {
	ctx := stream.Context()
	var last *pb.ClosureRow
	return s.watch(ctx, view.ClosureView, func(now time.Time) error {
		row, position, err := s.reader.ClosureAt(ctx, view.ClosureQuery{Level: q.Level, Code: q.Code, At: now})
		if err != nil || proto.Equal(row, last) {
			return err
		}
		last = row
		return stream.Send(&pb.WatchClosureResponse{Row: row, AsOf: timestamppb.New(now), ConsistencyToken: Token(position)})
	})
}

// ListViews says how far each view has come. Why one stopped is told to auditors only: it quotes what is inside.
func (s viewService) ListViews(ctx context.Context, _ *pb.ListViewsRequest) (*pb.ListViewsResponse, error) {
	actor, _ := ActorFrom(ctx)
	answer := new(pb.ListViewsResponse)
	for _, v := range s.projector.Status() {
		status := &pb.ViewStatus{View: v.View, ConsistencyToken: Token(v.Position), LagSeconds: v.Lag.Seconds()}
		if v.Stopped != nil {
			status.Stopped = "stopped"
			if slices.Contains(actor.Roles, pb.Role_ROLE_AUDITOR) {
				status.Stopped = v.Stopped.Error()
			}
		}
		answer.Views = append(answer.Views, status)
	}
	return answer, nil
}
