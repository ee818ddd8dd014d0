package jetstream

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chuishao/dispatch/internal/eventstore"
)

// An event is one message. Its subject is STREAM.<pp>.<name of its stream>, where pp is a hash of the name, so that consumers can be cut into 64 without
// renaming anything. Its body is Meta and then Data; the rest stands in headers.
const (
	headerID      = "Ev-Id"      // 32 hexadecimal digits
	headerType    = "Ev-Type"    //
	headerVersion = "Ev-Version" // in its stream, from 1
	headerRest    = "Ev-Rest"    // how many events of the same append follow it
	headerMeta    = "Ev-Meta"    // how many bytes of the body are Meta

	// Headers of the server.
	headerExpect   = "Nats-Expected-Last-Subject-Sequence"
	headerBatch    = "Nats-Batch-Id"
	headerBatchSeq = "Nats-Batch-Sequence"
	headerCommit   = "Nats-Batch-Commit"
	headerSequence = "Nats-Sequence"
	headerSubject  = "Nats-Subject"
)

// subject is where the events of a stream are. The characters that names of streams are made of mean nothing in subjects.
func (s *Store) subject(stream string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(stream))
	return fmt.Sprintf("%s.%02d.%s", s.address.stream, h.Sum32()%64, stream)
}

// stored is a message of the stream. If it is none of ours, only its position is set.
type stored struct {
	eventstore.Recorded
	ours bool
	rest uint64 // how many events of its append follow it
}

// end is where the event's stream stands after its append.
func (e *stored) end() head {
	return head{e.Version + eventstore.Version(e.rest), uint64(e.Position) + e.rest}
}

func (s *Store) decode(subject string, position uint64, h nats.Header, body []byte) (stored, error) {
	e := stored{Recorded: eventstore.Recorded{Position: eventstore.Position(position)}}
	_, name, _ := strings.Cut(strings.TrimPrefix(subject, s.address.stream+"."), ".")
	if eventstore.CheckStream(name) != nil || s.subject(name) != subject {
		return e, nil
	}
	id, bad1 := hex.DecodeString(h.Get(headerID))
	version, bad2 := strconv.ParseUint(h.Get(headerVersion), 10, 64)
	rest, bad3 := strconv.ParseUint(h.Get(headerRest), 10, 16)
	meta, bad4 := strconv.ParseUint(h.Get(headerMeta), 10, 32)
	e.Type = h.Get(headerType)
	if err := errors.Join(bad1, bad2, bad3, bad4); err != nil || len(id) != 16 || version == 0 || e.Type == "" || meta > uint64(len(body)) {
		return e, &HistoryError{s.address.stream, fmt.Sprintf("the message at position %d is no event of this service", position)}
	}
	e.ours, e.rest = true, rest
	e.Stream, e.Version = name, eventstore.Version(version)
	copy(e.ID[:], id)
	e.Meta, e.Data = body[:meta:meta], body[meta:len(body):len(body)]
	return e, nil
}

// encode makes the messages of one append that follows an event at a position, 0 for none.
func (s *Store) encode(stream string, after eventstore.Version, follows uint64, events []eventstore.Event, batch string) []*nats.Msg {
	subject := s.subject(stream)
	msgs := make([]*nats.Msg, len(events))
	for i := range events {
		e := &events[i]
		body := make([]byte, 0, len(e.Meta)+len(e.Data))
		body = append(append(body, e.Meta...), e.Data...)
		h := nats.Header{
			headerID:      {hex.EncodeToString(e.ID[:])},
			headerType:    {e.Type},
			headerVersion: {strconv.FormatUint(uint64(after)+uint64(i)+1, 10)},
			headerRest:    {strconv.Itoa(len(events) - 1 - i)},
			headerMeta:    {strconv.Itoa(len(e.Meta))},
		}
		if i == 0 {
			h[headerExpect] = []string{strconv.FormatUint(follows, 10)}
		}
		if len(events) > 1 {
			h[headerBatch] = []string{batch}
			h[headerBatchSeq] = []string{strconv.Itoa(i + 1)}
			if i == len(events)-1 {
				h[headerCommit] = []string{"1"}
			}
		}
		msgs[i] = &nats.Msg{Subject: subject, Header: h, Data: body}
	}
	return msgs
}

// apiError is what a server answers instead of what was asked for.
type apiError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *apiError) Error() string { return fmt.Sprintf("%s (%d)", e.Description, e.ErrCode) }

// Codes of errors, as the server's errors.json has them.
const (
	codeNoMessage       = 10037
	codeStreamNotFound  = 10059
	codeWrongSequence   = 10071
	codeSequenceInDoubt = 10164 // another message of the subject is under way
	codeIncompleteBatch = 10176 // the leader changed in the middle, or the batch was too slow
)

// stays reports whether the same request has no better chance later.
func (e *apiError) stays() bool {
	switch e.ErrCode {
	case codeNoMessage, codeStreamNotFound, codeWrongSequence, codeSequenceInDoubt, codeIncompleteBatch:
		return false
	}
	switch e.Code {
	case 408, 429, 500, 503:
		return false
	}
	return true
}

// leaderless reports whether the server answered in place of a leader that it does not know.
func (e *apiError) leaderless() bool { return e.Code == 503 || e.Code == 408 }

var errNoAnswer = errors.New("no server answered in time")

// Bounds of one attempt. What a call does in all is bounded by Options.Patience.
const (
	attemptRead    = 3 * time.Second
	attemptWrite   = 5 * time.Second
	attemptMonitor = attemptRead - time.Second // so that in one attempt the others' answers are made use of
	longestPause   = 250 * time.Millisecond

	// leaveAfter is how long no leader may answer before another server is tried, which may know of one. An election takes about as long.
	leaveAfter = 5 * time.Second
)

// retry tries until it succeeds or fails for good, the context ends, the store is closed, or the store's patience is over; the last two are errors that
// are ErrUnavailable.
func (s *Store) retry(ctx context.Context, try func(context.Context) error) error {
	limit := time.Now().Add(s.opts.Patience)
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, longestPause) {
		err := s.attempt(ctx, attemptRead, try)
		switch {
		case err == nil || final(err):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(limit):
			return unavailable(err)
		}
		if err := s.pause(ctx, pause); err != nil {
			return err
		}
	}
}

// attempt tries once and gives up when the time is up, the connection is lost or the store is closed.
func (s *Store) attempt(ctx context.Context, most time.Duration, try func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.closing.Err() != nil {
		return errClosed
	}
	up, _ := s.link.now()
	one, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	defer context.AfterFunc(up, cancel)()
	defer context.AfterFunc(s.closing, cancel)()
	err := try(one)
	switch {
	case err == nil || final(err):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return errNoAnswer // of this attempt, not of the caller's context
	}
	return err
}

// pause waits for a while, or less if the connection comes back.
func (s *Store) pause(ctx context.Context, d time.Duration) error {
	_, back := s.link.now()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-back:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing.Done():
		return errClosed
	}
	return nil
}

// request sends one request to the API of JetStream and reads the answer. What the server refuses is an *apiError.
func (s *Store) request(ctx context.Context, subject string, request, response any) (err error) {
	var body []byte
	if request != nil {
		if body, err = json.Marshal(request); err != nil {
			return err
		}
	}
	made := time.Now()
	defer func() { s.judge(err, made) }()
	msg, err := s.nc.RequestWithContext(ctx, "$JS.API."+subject, body)
	if err != nil {
		return err
	}
	var failed struct {
		Error *apiError `json:"error"`
	}
	if err := json.Unmarshal(msg.Data, &failed); err != nil {
		return err
	}
	if failed.Error != nil {
		return failed.Error
	}
	return json.Unmarshal(msg.Data, response)
}

// get is a request for messages.
type get struct {
	Seq      uint64 `json:"seq,omitempty"`
	Last     string `json:"last_by_subj,omitempty"`
	Next     string `json:"next_by_subj,omitempty"`
	Batch    int    `json:"batch,omitempty"`
	MaxBytes int    `json:"max_bytes,omitempty"`
}

// getAtLeader reads one message at the leader. There is none if ok is false.
func (s *Store) getAtLeader(ctx context.Context, what get) (e stored, ok bool, err error) {
	var answer struct {
		Message struct {
			Subject string `json:"subject"`
			Seq     uint64 `json:"seq"`
			Header  []byte `json:"hdrs"`
			Data    []byte `json:"data"`
		} `json:"message"`
	}
	err = s.request(ctx, "STREAM.MSG.GET."+s.address.stream, what, &answer)
	if refusal, is := errors.AsType[*apiError](err); is && refusal.ErrCode == codeNoMessage {
		return stored{}, false, nil
	}
	if err != nil {
		return stored{}, false, err
	}
	m := &answer.Message
	var h nats.Header
	if len(m.Header) > 0 {
		if h, err = nats.DecodeHeadersMsg(m.Header); err != nil {
			return stored{}, false, &HistoryError{s.address.stream, fmt.Sprintf("the headers of the message at position %d cannot be read", m.Seq)}
		}
	}
	e, err = s.decode(m.Subject, m.Seq, h, m.Data)
	return e, err == nil, err
}

// getDirect reads messages at any replica, which may be behind. It may return fewer than there are.
func (s *Store) getDirect(ctx context.Context, what get) ([]stored, error) {
	body, err := json.Marshal(what)
	if err != nil {
		return nil, err
	}
	inbox := s.nc.NewInbox()
	answers := make(chan *nats.Msg, what.Batch+1) // all that can come
	sub, err := s.nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only if the connection is gone, and with it the subscription
	if err := s.nc.PublishRequest("$JS.API.DIRECT.GET."+s.address.stream, inbox, body); err != nil {
		return nil, err
	}
	page := make([]stored, 0, min(what.Batch, 64))
	for {
		var m *nats.Msg
		select {
		case m = <-answers:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		switch m.Header.Get("Status") {
		case "204", "404": // the end of the batch; nothing there
			return page, nil
		case "":
		default:
			return nil, fmt.Errorf("read directly: %s %s", m.Header.Get("Status"), m.Header.Get("Description"))
		}
		position, err := strconv.ParseUint(m.Header.Get(headerSequence), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read directly: an answer without a sequence")
		}
		e, err := s.decode(m.Header.Get(headerSubject), position, m.Header, m.Data)
		if err != nil {
			return nil, err
		}
		page = append(page, e)
	}
}
