package double

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"regexp"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// service answers calls about streams.
type service struct {
	streams.UnimplementedStreamsServer
	node *Node
	up   *serving
}

var errPosition = status.Error(codes.InvalidArgument, "Trying to read from an invalid position.")

// misdirected is the answer of a node that does not lead to a caller who wants the leader, nil otherwise.
func (s *service) misdirected(ctx context.Context, trailer func(metadata.MD)) error {
	asked, _ := metadata.FromIncomingContext(ctx)
	leader := s.node.cluster.leads()
	if leader == s.node || !slices.Contains(asked.Get("requires-leader"), "true") {
		return nil
	}
	host, port, err := net.SplitHostPort(leader.Addr())
	if err != nil {
		return err
	}
	trailer(metadata.Pairs("exception", "not-leader", "leader-endpoint-host", host, "leader-endpoint-port", port))
	return status.Error(codes.NotFound, "Leader info available")
}

// Append is of the contract: the stream and the revision it is expected at first, then events.
func (s *service) Append(call streams.Streams_AppendServer) error {
	first, err := call.Recv()
	if err != nil {
		return err
	}
	options := first.GetOptions()
	if options == nil {
		return status.Error(codes.InvalidArgument, "the first message must be the options")
	}
	p := &proposed{stream: string(options.GetStreamIdentifier().GetStreamName()), expected: options.ExpectedStreamRevision}
	fault, err := s.node.begin(call.Context(), s.up, "Append", p.stream)
	if err != nil {
		return err
	}
	if err := s.misdirected(call.Context(), call.SetTrailer); err != nil {
		return err
	}
	size := 0
	for {
		m, err := call.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		event := m.GetProposedMessage()
		if event == nil || event.Metadata["type"] == "" || event.Metadata["content-type"] == "" {
			call.SetTrailer(metadata.Pairs("exception", "missing-required-metadata-property"))
			return status.Error(codes.InvalidArgument, "a required property is missing")
		}
		if size += len(event.Data) + len(event.CustomMetadata) + 2*len(event.Metadata["type"]); size > MaxAppendSize {
			call.SetTrailer(metadata.Pairs("exception", "maximum-append-size-exceeded", "maximum-append-size", "1048576"))
			return status.Error(codes.InvalidArgument, "Maximum Append Size of 1048576 Exceeded.")
		}
		p.events = append(p.events, event)
	}
	done := s.node.cluster.history.append(p)
	if done.tombstoned {
		return gone(p.stream, call.SetTrailer)
	}
	if fault.After != nil {
		return fault.After
	}
	if done.wrong {
		return call.SendAndClose(&streams.AppendResp{Result: &streams.AppendResp_WrongExpectedVersion_{
			WrongExpectedVersion: wrong(p.expected, done.current),
		}})
	}
	return call.SendAndClose(&streams.AppendResp{Result: &streams.AppendResp_Success_{Success: &streams.AppendResp_Success{
		CurrentRevisionOption: &streams.AppendResp_Success_CurrentRevision{CurrentRevision: done.revision},
		PositionOption: &streams.AppendResp_Success_Position{
			Position: &streams.AppendResp_Position{CommitPosition: done.position, PreparePosition: done.position},
		},
	}}})
}

func wrong(expected any, current int64) *streams.AppendResp_WrongExpectedVersion {
	w := &streams.AppendResp_WrongExpectedVersion{}
	switch e := expected.(type) {
	case *streams.AppendReq_Options_Revision:
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedRevision{ExpectedRevision: e.Revision}
	case *streams.AppendReq_Options_StreamExists:
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedStreamExists{ExpectedStreamExists: &shared.Empty{}}
	default:
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedNoStream{ExpectedNoStream: &shared.Empty{}}
	}
	if current < 0 {
		w.CurrentRevisionOption = &streams.AppendResp_WrongExpectedVersion_CurrentNoStream{CurrentNoStream: &shared.Empty{}}
	} else {
		w.CurrentRevisionOption = &streams.AppendResp_WrongExpectedVersion_CurrentRevision{CurrentRevision: uint64(current)}
	}
	return w
}

func gone(stream string, trailer func(metadata.MD)) error {
	trailer(metadata.Pairs("exception", "stream-deleted", "stream-name", stream))
	return status.Errorf(codes.FailedPrecondition, "Event stream '%s' is deleted.", stream)
}

// Delete is of the contract: the stream is empty until somebody appends to it, and its numbers go on.
func (s *service) Delete(ctx context.Context, r *streams.DeleteReq) (*streams.DeleteResp, error) {
	position, err := s.remove(ctx, "Delete", string(r.GetOptions().GetStreamIdentifier().GetStreamName()), false)
	if err != nil {
		return nil, err
	}
	return &streams.DeleteResp{PositionOption: &streams.DeleteResp_Position_{
		Position: &streams.DeleteResp_Position{CommitPosition: position, PreparePosition: position},
	}}, nil
}

// Tombstone is of the contract: the stream is gone for ever.
func (s *service) Tombstone(ctx context.Context, r *streams.TombstoneReq) (*streams.TombstoneResp, error) {
	position, err := s.remove(ctx, "Tombstone", string(r.GetOptions().GetStreamIdentifier().GetStreamName()), true)
	if err != nil {
		return nil, err
	}
	return &streams.TombstoneResp{PositionOption: &streams.TombstoneResp_Position_{
		Position: &streams.TombstoneResp_Position{CommitPosition: position, PreparePosition: position},
	}}, nil
}

func (s *service) remove(ctx context.Context, method, stream string, forever bool) (uint64, error) {
	fault, err := s.node.begin(ctx, s.up, method, stream)
	if err != nil {
		return 0, err
	}
	h := s.node.cluster.history
	if _, tombstone := h.current(stream); tombstone {
		return 0, status.Errorf(codes.FailedPrecondition, "Event stream '%s' is deleted.", stream)
	}
	return h.delete(stream, forever), fault.After
}

// Read is of the contract: reads of a stream or of $all, forwards or backwards, and subscriptions to either.
func (s *service) Read(r *streams.ReadReq, call streams.Streams_ReadServer) error {
	o := r.GetOptions()
	subscribes := o.GetSubscription() != nil
	stream := string(o.GetStream().GetStreamIdentifier().GetStreamName())
	method := "ReadAll"
	switch {
	case subscribes:
		method = "Subscribe"
	case o.GetStream() != nil:
		method = "ReadStream"
	}
	fault, err := s.node.begin(call.Context(), s.up, method, stream)
	if err != nil {
		return err
	}
	if err := s.misdirected(call.Context(), call.SetTrailer); err != nil {
		return err
	}
	send := func(r *record) error {
		return call.Send(&streams.ReadResp{Content: &streams.ReadResp_Event{Event: r.event}})
	}
	switch {
	case subscribes:
		return s.subscribe(o, stream, call, fault)
	case o.GetStream() != nil:
		return s.readStream(o, stream, call, send)
	}
	return s.readAll(o, send)
}

func (s *service) readStream(o *streams.ReadReq_Options, stream string, call streams.Streams_ReadServer, send func(*record) error) error {
	records, found, tombstone, _ := s.node.cluster.history.page(stream, s.node.hidden())
	switch {
	case tombstone:
		return gone(stream, call.SetTrailer)
	case !found:
		return call.Send(&streams.ReadResp{Content: &streams.ReadResp_StreamNotFound_{
			StreamNotFound: &streams.ReadResp_StreamNotFound{StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte(stream)}},
		}})
	}
	at := func(revision uint64) int {
		return sort.Search(len(records), func(i int) bool { return records[i].revision >= revision })
	}
	from := 0
	switch p := o.GetStream().RevisionOption.(type) {
	case *streams.ReadReq_Options_StreamOptions_Revision:
		from = at(p.Revision)
	case *streams.ReadReq_Options_StreamOptions_End:
		from = len(records) - 1
	}
	if o.ReadDirection == streams.ReadReq_Options_Backwards {
		records = slices.Clone(records[:min(from+1, len(records))])
		slices.Reverse(records)
	} else {
		records = records[max(0, from):]
	}
	for i, r := range records {
		if uint64(i) == o.GetCount() {
			return nil
		}
		if err := send(r); err != nil {
			return err
		}
	}
	return nil
}

// begins is the index of the record at a position.
func begins(log []*record, p *streams.ReadReq_Options_Position) (int, error) {
	i := sort.Search(len(log), func(i int) bool { return log[i].position >= p.CommitPosition })
	if i == len(log) || log[i].position != p.CommitPosition || p.CommitPosition != p.PreparePosition {
		return 0, errPosition
	}
	return i, nil
}

func (s *service) readAll(o *streams.ReadReq_Options, send func(*record) error) error {
	hidden := s.node.hidden()
	log, _ := s.node.cluster.history.visible(hidden)
	backwards := o.ReadDirection == streams.ReadReq_Options_Backwards
	from := 0
	switch p := o.GetAll().AllOption.(type) {
	case *streams.ReadReq_Options_AllOptions_Position:
		i, err := begins(log, p.Position)
		if err != nil {
			return err
		}
		from = i // forwards with the record there, backwards without it
	case *streams.ReadReq_Options_AllOptions_End:
		from = len(log)
	}
	count := o.GetCount()
	if backwards {
		for i := from - 1; i >= 0 && count > 0; i, count = i-1, count-1 {
			if err := send(log[i]); err != nil {
				return err
			}
		}
		return nil
	}
	// A page at a time, so that what is appended meanwhile is read too.
	const page = 32
	for count > 0 {
		log, _ = s.node.cluster.history.visible(hidden)
		if from >= len(log) {
			return nil
		}
		for _, r := range log[from:min(from+page, len(log))] {
			if count == 0 {
				return nil
			}
			if err := send(r); err != nil {
				return err
			}
			from++
			count--
		}
	}
	return nil
}

// wants says which records a filter lets through.
func wants(f *streams.ReadReq_Options_FilterOptions) (func(*record) bool, error) {
	if f == nil {
		return func(*record) bool { return true }, nil
	}
	name := func(r *record) string { return r.stream }
	by := f.GetStreamIdentifier()
	if by == nil {
		by = f.GetEventType()
		name = func(r *record) string { return r.event.Event.Metadata["type"] }
	}
	if by.GetRegex() != "" {
		pattern, err := regexp.Compile(by.Regex)
		if err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		return func(r *record) bool { return pattern.MatchString(name(r)) }, nil
	}
	return func(r *record) bool {
		return slices.ContainsFunc(by.GetPrefix(), func(p string) bool { return strings.HasPrefix(name(r), p) })
	}, nil
}

// subscribe sends the confirmation, even to who is refused then, what is there, that the caller has caught up, and then whatever comes.
func (s *service) subscribe(o *streams.ReadReq_Options, stream string, call streams.Streams_ReadServer, fault Fault) error {
	h := s.node.cluster.history
	filter := o.GetFilter()
	passes, err := wants(filter)
	if err != nil {
		return err
	}
	look := func() ([]*record, <-chan struct{}) { return h.visible(s.node.hidden()) }
	if o.GetStream() != nil {
		look = func() ([]*record, <-chan struct{}) {
			records, _, _, grown := h.page(stream, s.node.hidden())
			return records, grown
		}
	}
	if err := call.Send(&streams.ReadResp{Content: &streams.ReadResp_Confirmation{
		Confirmation: &streams.ReadResp_SubscriptionConfirmation{SubscriptionId: uuid.NewString()},
	}}); err != nil {
		return err
	}
	log, _ := look()
	next := 0
	switch p := o.GetAll().GetAllOption().(type) {
	case *streams.ReadReq_Options_AllOptions_Position:
		i, err := begins(log, p.Position)
		if err != nil {
			return err
		}
		next = i + 1 // without the record there
	case *streams.ReadReq_Options_AllOptions_End:
		next = len(log)
	}
	switch p := o.GetStream().GetRevisionOption().(type) {
	case *streams.ReadReq_Options_StreamOptions_Revision:
		next = sort.Search(len(log), func(i int) bool { return log[i].revision > p.Revision })
	case *streams.ReadReq_Options_StreamOptions_End:
		next = len(log)
	}
	every := uint64(math.MaxUint64)
	if filter != nil {
		every = uint64(max(1, filter.GetMax())) * uint64(max(1, filter.CheckpointIntervalMultiplier))
	}
	checkpoint := func(at *record) error {
		if filter == nil || at == nil {
			return nil
		}
		return call.Send(&streams.ReadResp{Content: &streams.ReadResp_Checkpoint_{
			Checkpoint: &streams.ReadResp_Checkpoint{CommitPosition: at.position, PreparePosition: at.position},
		}})
	}
	considered, sent, caughtUp := uint64(0), 0, sync.Once{}
	var last *record
	for {
		log, grown := look()
		for ; next < len(log); next++ {
			last = log[next]
			if passes(last) {
				if fault.Drop > 0 && sent == fault.Drop {
					return status.Error(codes.Unavailable, "the subscription was dropped")
				}
				sent++
				if err := call.Send(&streams.ReadResp{Content: &streams.ReadResp_Event{Event: last.event}}); err != nil {
					return err
				}
			}
			if considered++; considered%every == 0 {
				if err := checkpoint(last); err != nil {
					return err
				}
			}
		}
		caughtUp.Do(func() {
			if err = checkpoint(last); err == nil {
				err = call.Send(&streams.ReadResp{Content: &streams.ReadResp_CaughtUp_{CaughtUp: &streams.ReadResp_CaughtUp{}}})
			}
		})
		if err != nil {
			return err
		}
		select {
		case <-grown:
		case <-call.Context().Done():
			return call.Context().Err()
		case <-s.up.dead:
			return status.Error(codes.Unavailable, "shutting down")
		}
	}
}
