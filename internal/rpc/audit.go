package rpc

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/rule"
)

type auditService struct {
	pb.UnimplementedAuditServiceServer
	service
	verify func(ctx context.Context, historyOnly bool, tell func(*pb.VerifyHistoryResponse) error) error
	backup func(ctx context.Context, to io.Writer) error
	// Each takes a place while it runs: they read all there is, and a backup takes the room of a second history.
	verifying, backingUp chan bool
}

// take takes a place; free gives it back. It refuses when none is free.
func take(places chan bool, what string) (free func(), err error) {
	select {
	case places <- true:
		return func() { <-places }, nil
	default:
		return nil, &rule.Refusal{Reason: Busy, Message: what + " is under way on this server already: try again when it has ended"}
	}
}

// StreamHistory gives the history, or a part of it, in the order of recording.
func (s auditService) StreamHistory(r *pb.StreamHistoryRequest, stream grpc.ServerStreamingServer[pb.HistoryEvent]) error {
	ctx := stream.Context()
	if _, err := requireRole(ctx, pb.Role_ROLE_AUDITOR); err != nil {
		return err
	}
	after, err := ParseToken("after", r.After)
	if err != nil {
		return err
	}
	until, err := ParseToken("until_position", r.UntilPosition)
	if err != nil {
		return err
	}
	if r.Name != "" && r.Area != "" {
		return rule.Bad("area", rule.BadField, "want a name or an area, not both")
	}
	send := func(rec eventstore.Recorded) error {
		if rec.Position <= after {
			return nil
		}
		e, err := event.Decode(rec)
		if err != nil {
			return err
		}
		if !inTime(r, e.Meta) {
			return nil
		}
		m, err := historyEvent(&e)
		if err != nil {
			return err
		}
		return stream.Send(m)
	}
	if r.Name != "" {
		events, err := s.story(ctx, r.Name, until)
		if err != nil {
			return err
		}
		for _, rec := range events {
			if err := send(rec); err != nil {
				return err
			}
		}
		return nil
	}
	var wanted map[string]bool
	if r.Area != "" {
		if wanted, err = s.lying(ctx, r.Area, until); err != nil {
			return err
		}
	}
	for rec, err := range s.dispatcher.Store().ReadAll(ctx, after) {
		if err != nil {
			return fmt.Errorf("read history after position %d: %w", after, err)
		}
		if until > 0 && rec.Position > until {
			break
		}
		if wanted != nil && !wanted[dispatch.ID(rec.Stream)] {
			continue
		}
		if err := send(rec); err != nil {
			return err
		}
	}
	return nil
}

func inTime(r *pb.StreamHistoryRequest, m *pb.EventMeta) bool {
	recorded, occurred := m.GetRecordedAt().AsTime(), m.GetOccurredAt().AsTime()
	switch {
	case r.RecordedFrom != nil && recorded.Before(r.RecordedFrom.AsTime()),
		r.RecordedTo != nil && !recorded.Before(r.RecordedTo.AsTime()),
		r.OccurredUntil != nil && occurred.After(r.OccurredUntil.AsTime()):
		return false
	}
	return true
}

// story is what is recorded of one ticket or whistle: its own stream, and what was noted beside it.
func (s auditService) story(ctx context.Context, name string, until eventstore.Position) ([]eventstore.Recorded, error) {
	own, err := dispatch.Stream(name, collection(name))
	if err != nil {
		return nil, err
	}
	var all []eventstore.Recorded
	for _, stream := range []string{own, "audit-" + dispatch.ID(own)} {
		for rec, err := range s.dispatcher.Store().ReadStream(ctx, stream, 0) {
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", stream, err)
			}
			if until > 0 && rec.Position > until {
				break
			}
			all = append(all, rec)
		}
		if len(all) == 0 {
			return nil, rule.Bad("name", rule.NotFound, "nothing is recorded of it")
		}
	}
	slices.SortFunc(all, func(a, b eventstore.Recorded) int { return cmp.Compare(a.Position, b.Position) })
	return all, nil
}

// lying are the ids of tickets and whistles whose area is, by their latest event that says so, the area or below it.
func (s auditService) lying(ctx context.Context, area string, until eventstore.Position) (map[string]bool, error) {
	in := map[string]bool{}
	for rec, err := range s.dispatcher.Store().ReadAll(ctx, 0) {
		if err != nil {
			return nil, fmt.Errorf("read history: %w", err)
		}
		if until > 0 && rec.Position > until {
			break
		}
		if !strings.HasPrefix(rec.Stream, "ticket-") && !strings.HasPrefix(rec.Stream, "whistle-") {
			continue
		}
		e, err := event.Decode(rec)
		if err != nil {
			return nil, err
		}
		placed, ok := e.Event.(interface{ GetPath() []*pb.AreaNode })
		if !ok || len(placed.GetPath()) == 0 {
			continue
		}
		if slices.ContainsFunc(placed.GetPath(), func(n *pb.AreaNode) bool { return n.Code == area }) {
			in[dispatch.ID(rec.Stream)] = true
		} else {
			delete(in, dispatch.ID(rec.Stream))
		}
	}
	return in, nil
}

func historyEvent(e *event.Decoded) (*pb.HistoryEvent, error) {
	text, err := eventJSON(e.Event)
	if err != nil {
		return nil, fmt.Errorf("event %s@%d as JSON: %w", e.Stream, e.Version, err)
	}
	return &pb.HistoryEvent{
		Position: Token(e.Position), Stream: e.Stream, Version: uint64(e.Version), Id: uuid.UUID(e.ID).String(), Type: e.Type,
		OccurredAt: e.Meta.OccurredAt, RecordedAt: e.Meta.RecordedAt, Actor: e.Meta.Actor, RequestId: e.Meta.RequestId,
		CausedBy: e.Meta.CausedBy, Meta: e.Recorded.Meta, Data: e.Data, Json: text, Hash: hex.EncodeToString(e.Meta.Hash),
	}, nil
}

// eventJSON leaves out what is sealed. protojson varies its spaces on purpose; without them equal events have equal texts.
func eventJSON(m proto.Message) (string, error) {
	if fd := m.ProtoReflect().Descriptor().Fields().ByName("sealed"); fd != nil && m.ProtoReflect().Has(fd) {
		m = proto.Clone(m)
		m.ProtoReflect().Clear(fd)
	}
	raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return "", err
	}
	var compact bytes.Buffer
	err = json.Compact(&compact, raw)
	return compact.String(), err
}

// GetTicketAsOf gives the ticket as it was, as it was known.
func (s auditService) GetTicketAsOf(ctx context.Context, r *pb.GetTicketAsOfRequest) (*pb.Ticket, error) {
	if _, err := requireRole(ctx, pb.Role_ROLE_AUDITOR); err != nil {
		return nil, err
	}
	known, err := ParseToken("known_at", r.KnownAt)
	if err != nil {
		return nil, err
	}
	if known == 0 && r.KnownAt != "" {
		return nil, rule.Bad("name", rule.NotFound, "nothing was known at that position")
	}
	state, result, err := s.dispatcher.TicketAsOf(ctx, r.Name, rule.Instant(r.AsOf), known)
	if err != nil {
		return nil, err
	}
	return s.ticket(ctx, state, result)
}

// VerifyHistory replays and checks everything.
func (s auditService) VerifyHistory(r *pb.VerifyHistoryRequest, stream grpc.ServerStreamingServer[pb.VerifyHistoryResponse]) error {
	if _, err := requireRole(stream.Context(), pb.Role_ROLE_AUDITOR); err != nil {
		return err
	}
	if s.verify == nil {
		return &rule.Refusal{Reason: UnknownMethod, Message: "this server does not verify"}
	}
	free, err := take(s.verifying, "a verification")
	if err != nil {
		return err
	}
	defer free()
	return s.verify(stream.Context(), r.HistoryOnly, stream.Send)
}

// EraseSubject destroys a data subject's key.
func (s auditService) EraseSubject(ctx context.Context, r *pb.EraseSubjectRequest) (*pb.EraseSubjectResponse, error) {
	subject, result, err := s.dispatcher.Erase(ctx, request(ctx, r).Actor, r)
	if err != nil {
		return nil, s.absent(ctx, err)
	}
	return &pb.EraseSubjectResponse{Subject: subject, ConsistencyToken: Token(result.Position)}, nil
}

// Backup sends a consistent copy, piece by piece.
func (s auditService) Backup(_ *pb.BackupRequest, stream grpc.ServerStreamingServer[pb.BackupResponse]) error {
	if _, err := requireRole(stream.Context(), pb.Role_ROLE_AUDITOR, pb.Role_ROLE_SYSTEM); err != nil {
		return err
	}
	if s.backup == nil {
		return &rule.Refusal{Reason: UnknownMethod, Message: "this server makes no backups"}
	}
	free, err := take(s.backingUp, "a backup")
	if err != nil {
		return err
	}
	defer free()
	return s.backup(stream.Context(), chunks{stream})
}

// maxChunk is the size of a piece of a backup, in bytes.
const maxChunk = 256 << 10

// chunks sends what is written to it.
type chunks struct {
	stream grpc.ServerStreamingServer[pb.BackupResponse]
}

func (c chunks) Write(p []byte) (int, error) {
	written := 0
	for chunk := range slices.Chunk(p, maxChunk) {
		if err := c.stream.Send(&pb.BackupResponse{Chunk: chunk}); err != nil {
			return written, err
		}
		written += len(chunk)
	}
	return written, nil
}
