package rpc

import (
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/rule"
)

type registryService struct {
	pb.UnimplementedRegistryServiceServer
	service
}

// maxRegistry is the size of the largest registry that is taken in, in bytes: some hundred thousand areas.
const maxRegistry = 64 << 20

// LoadRegistry takes in all pieces before anything is done with them.
func (s registryService) LoadRegistry(stream grpc.ClientStreamingServer[pb.LoadRegistryRequest, pb.LoadRegistryResponse]) error {
	ctx := stream.Context()
	actor, err := requireRole(ctx, pb.Role_ROLE_AUDITOR, pb.Role_ROLE_SYSTEM)
	if err != nil {
		return err
	}
	var first *pb.LoadRegistryRequest
	var pieces []*pb.RegistryPiece
	answer := new(pb.LoadRegistryResponse)
	size := 0
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if first == nil {
			first = m
		}
		if size += proto.Size(m); size > maxRegistry {
			return &rule.Refusal{Reason: MessageTooLarge, Field: "piece", Message: "the registry has more than " + strconv.Itoa(maxRegistry) + " bytes"}
		}
		if p := m.Piece; p != nil {
			pieces = append(pieces, p)
			answer.Areas += uint32(len(p.Areas))
			answer.Units += uint32(len(p.Units))
			answer.Categories += uint32(len(p.Categories))
			answer.Bans += uint32(len(p.Bans))
			answer.CallItems += uint32(len(p.CallItems))
			answer.Catalogue += uint32(len(p.Catalogue))
		}
	}
	switch {
	case first.GetVersion() == "":
		return rule.Bad("version", rule.MissingField, "is required in the first message")
	case len(pieces) == 0:
		return rule.Bad("piece", rule.MissingField, "is required")
	}
	faults, result, err := s.dispatcher.LoadRegistry(ctx, actor, first.Version, rule.Instant(first.ValidFrom), pieces, first.ValidateOnly)
	if err != nil {
		return err
	}
	answer.Version, answer.Faults = first.Version, faults
	if result.Position > 0 {
		answer.ConsistencyToken = Token(result.Position)
	}
	return stream.SendAndClose(answer)
}

// inForce is the registry, or a refusal while there is none.
func (s registryService) inForce() (*registry.Snapshot, error) {
	r := s.dispatcher.Registry()
	if r.Version() == "" {
		return nil, rule.No(rule.RegistryNotLoaded, "no registry is loaded")
	}
	return r, nil
}

// GetRegistry says what is in force.
func (s registryService) GetRegistry(context.Context, *pb.GetRegistryRequest) (*pb.Registry, error) {
	r, err := s.inForce()
	if err != nil {
		return nil, err
	}
	m := &pb.Registry{
		Version: r.Version(), Levels: r.Levels(), Areas: uint32(len(r.Areas())), Units: uint32(len(r.Units())), Categories: uint32(len(r.Categories())),
	}
	if !r.ValidFrom().IsZero() {
		m.ValidFrom = timestamppb.New(r.ValidFrom())
	}
	return m, nil
}

// ListAreas lists entries of areas in the order in which they were loaded.
func (s registryService) ListAreas(_ context.Context, q *pb.ListAreasRequest) (*pb.ListAreasResponse, error) {
	r, err := s.inForce()
	if err != nil {
		return nil, err
	}
	now := s.dispatcher.Now()
	areas, next, err := pageOf(q, r, r.Areas(), func(a *pb.Area) bool {
		if q.Level != "" && a.Level != q.Level {
			return false
		}
		return q.Ancestor == "" || a.Code != q.Ancestor && below(r, a, q.Ancestor, now)
	})
	return &pb.ListAreasResponse{Areas: areas, NextPageToken: next}, err
}

// GetAreaHistory says what an area was and became, a page at a time.
func (s registryService) GetAreaHistory(_ context.Context, q *pb.GetAreaHistoryRequest) (*pb.GetAreaHistoryResponse, error) {
	r, err := s.inForce()
	if err != nil {
		return nil, err
	}
	steps := r.Lineage(q.Code)
	if len(steps) == 0 {
		return nil, rule.Bad("code", rule.NotFound, "no area ever had this code")
	}
	answer := new(pb.GetAreaHistoryResponse)
	answer.Steps, answer.NextPageToken, err = pageOf(q, r, steps, func(*pb.AreaStep) bool { return true })
	if err != nil {
		return nil, err
	}
	now := s.dispatcher.Now()
	if area, ok := r.Successor(q.Code, now); ok {
		answer.Present, _ = r.Path(area, now)
	}
	return answer, nil
}

// below says whether the area's path has the ancestor: now, or where the entry is not valid now, when it begins to be.
func below(r *registry.Snapshot, a *pb.Area, ancestor string, now time.Time) bool {
	path, ok := r.Path(a.Code, now)
	if current, _ := r.Area(a.Code, now); !ok || !proto.Equal(current, a) {
		path, _ = r.Path(a.Code, rule.Instant(a.ValidFrom))
	}
	return slices.ContainsFunc(path, func(n *pb.AreaNode) bool { return n.Code == ancestor })
}

// ListUnits lists entries of units in the order in which they were loaded.
func (s registryService) ListUnits(_ context.Context, q *pb.ListUnitsRequest) (*pb.ListUnitsResponse, error) {
	r, err := s.inForce()
	if err != nil {
		return nil, err
	}
	units, next, err := pageOf(q, r, r.Units(), func(u *pb.Unit) bool {
		if q.Area != "" && u.Area != q.Area {
			return false
		}
		return q.Ancestor == "" || u.Code != q.Ancestor && rule.Within(r, u.Code, q.Ancestor)
	})
	return &pb.ListUnitsResponse{Units: units, NextPageToken: next}, err
}

// ListCategories lists entries of the catalogue in the order in which they were loaded.
func (s registryService) ListCategories(_ context.Context, q *pb.ListCategoriesRequest) (*pb.ListCategoriesResponse, error) {
	r, err := s.inForce()
	if err != nil {
		return nil, err
	}
	categories, next, err := pageOf(q, r, r.Categories(), func(*pb.Category) bool { return true })
	return &pb.ListCategoriesResponse{Categories: categories, NextPageToken: next}, err
}

// ListCallItems lists entries of the call-item list in the order in which they were loaded.
func (s registryService) ListCallItems(_ context.Context, q *pb.ListCallItemsRequest) (*pb.ListCallItemsResponse, error) {
	r, err := s.inForce()
	if err != nil {
		return nil, err
	}
	items, next, err := pageOf(q, r, r.CallItems(), func(i *pb.CallItem) bool { return q.Class == "" || i.Class == q.Class })
	return &pb.ListCallItemsResponse{CallItems: items, NextPageToken: next, Version: r.Version()}, err
}

// ListBans lists entries of the ban list in the order in which they were loaded.
func (s registryService) ListBans(_ context.Context, q *pb.ListBansRequest) (*pb.ListBansResponse, error) {
	r, err := s.inForce()
	if err != nil {
		return nil, err
	}
	bans, next, err := pageOf(q, r, r.Bans(), func(*pb.BanItem) bool { return true })
	return &pb.ListBansResponse{Bans: bans, NextPageToken: next, Version: r.Version()}, err
}

// LoadCalendarYear puts a year's holidays in force.
func (s registryService) LoadCalendarYear(ctx context.Context, r *pb.LoadCalendarYearRequest) (*pb.LoadCalendarYearResponse, error) {
	c, result, err := s.dispatcher.LoadCalendarYear(ctx, request(ctx, r).Actor, r)
	if err != nil {
		return nil, err
	}
	answer := &pb.LoadCalendarYearResponse{Version: c.Version()}
	if result.Position > 0 {
		answer.ConsistencyToken = Token(result.Position)
	}
	return answer, nil
}

// GetCalendar gives the calendar in force, from a history that has come as far as was asked.
func (s registryService) GetCalendar(ctx context.Context, r *pb.GetCalendarRequest) (*pb.Calendar, error) {
	if r.MinConsistencyToken != "" {
		if err := s.dispatcher.RefreshLimits(ctx); err != nil {
			return nil, err
		}
	}
	t := s.dispatcher.Calendar().Table()
	m := &pb.Calendar{Version: t.Version, Zone: t.Zone, Windows: t.Windows}
	for _, y := range t.Years {
		m.Years = append(m.Years, &pb.CalendarYear{Year: int32(y.Year), Off: y.Off, Work: y.Work})
	}
	return m, nil
}

// LoadProfile puts a deadline profile in force.
func (s registryService) LoadProfile(ctx context.Context, r *pb.LoadProfileRequest) (*pb.LoadProfileResponse, error) {
	p, result, err := s.dispatcher.LoadProfile(ctx, request(ctx, r).Actor, r)
	if err != nil {
		return nil, err
	}
	answer := &pb.LoadProfileResponse{Name: p.Name(), Version: p.Version()}
	if result.Position > 0 {
		answer.ConsistencyToken = Token(result.Position)
	}
	return answer, nil
}

// GetProfile gives the deadline profile in force, from a history that has come as far as was asked.
func (s registryService) GetProfile(ctx context.Context, r *pb.GetProfileRequest) (*pb.DeadlineProfile, error) {
	if r.MinConsistencyToken != "" {
		if err := s.dispatcher.RefreshLimits(ctx); err != nil {
			return nil, err
		}
	}
	p := s.dispatcher.Profile()
	return &pb.DeadlineProfile{Name: p.Name(), Version: p.Version(), Content: p.JSON()}, nil
}

// pageOf is a page of those entries that are wanted. Its token holds the version, since places in another's list mean nothing.
func pageOf[E any](q pageRequest, r *registry.Snapshot, all []E, wanted func(E) bool) (page []E, next string, err error) {
	cursor, err := pageCursor(q)
	if err != nil {
		return nil, "", err
	}
	at := 0
	if cursor != "" {
		place, version, _ := strings.Cut(cursor, "@")
		at, err = strconv.Atoi(place)
		switch {
		case err != nil || at < 0 || at > len(all):
			return nil, "", rule.Bad("page_token", rule.BadField, "is not a token that this service gave")
		case version != r.Version():
			return nil, "", rule.Bad("page_token", rule.BadField, "belongs to registry version %s, which is no longer in force: begin again", version)
		}
	}
	size := pageSize(q, 100, 1000)
	for ; at < len(all); at++ {
		if !wanted(all[at]) {
			continue
		}
		if len(page) == size {
			return page, pageToken(q, strconv.Itoa(at)+"@"+r.Version()), nil
		}
		page = append(page, all[at])
	}
	return page, "", nil
}
