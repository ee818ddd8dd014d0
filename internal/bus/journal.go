package bus

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/chuishao/dispatch/internal/eventstore"
)

// Headers of this package's own.
const (
	// PositionHeader is the position in the store up to which everything is on the bus once the message is.
	PositionHeader = "Store-Position"
	// EventHeader is the event at that position: "<stream>@<version> <id>".
	EventHeader = "Store-Event"
	// EpochHeader is the sequence of the first message of the epoch. Another epoch begins when the bus was emptied, or the store is not the one it was: then events may come
	// again, and what came after the last that the store still has is void.
	EpochHeader = "Bus-Epoch"
)

const (
	// most is how many messages go in one batch where nothing else is said; any server takes 1,000.
	most = 500
	// mostEmbedded is how many an embedded server takes. A batch is synced some four times, however large it is.
	mostEmbedded = 10_000
	// mostBytes is about how many bytes of payload go in one batch.
	mostBytes = 4 << 20
	// settleWithin is how long an event that the bus has is looked for in the store, where nothing else is said.
	settleWithin = 15 * time.Second
	// usualSource is the ce-source where nothing else is said.
	usualSource = "/chuishao"
	// answerWithin is how long a server may take to answer.
	answerWithin = 10 * time.Second

	errNoMessage    = 10037
	errNoStream     = 10059
	errWrongLast    = 10071
	errWrongLastNow = 10164 // another message is on its way in
)

// gone says of an error that the stream is not there, so that it must be prepared anew.
func gone(err error) bool {
	var api *apiError
	return errors.As(err, &api) && api.ErrCode == errNoStream
}

// errLost says that somebody else wrote first, so that what was about to be written is written already, or is to be made anew.
var errLost = errors.New("another relay was quicker")

// journal is a stream that says itself how far it has come: each message names the position in the store that it stands for, and a batch is taken only
// right after the message that its writer knew as the last.
type journal struct {
	nc     *nats.Conn
	stream string
}

// keep writes the journal by run, from a look at how far it has come to the first thing that goes wrong, again and again until the context ends, whose
// error it gives, or the stream is no longer there. Who was too slow stands by.
func (j *journal) keep(ctx context.Context, standby time.Duration, trouble func(error), run func(context.Context, *journal) error) error {
	for {
		err := run(ctx, j)
		if errors.Is(err, errLost) {
			err = j.standBy(ctx, cmp.Or(standby, time.Second))
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			continue
		}
		if gone(err) {
			return err
		}
		if trouble != nil {
			trouble(err)
		}
		if !pause(ctx, retryAfter) {
			return ctx.Err()
		}
	}
}

// standBy returns once nobody has written to the journal for as long as between two looks.
func (j *journal) standBy(ctx context.Context, every time.Duration) error {
	seen, err := j.last(ctx)
	for err == nil {
		if !pause(ctx, every) {
			return ctx.Err()
		}
		was := seen.seq
		if seen, err = j.last(ctx); err == nil && seen.seq == was {
			return nil
		}
	}
	return err
}

// mark is how far a journal has come.
type mark struct {
	seq      uint64 // of the last message that ever was
	found    bool   // the last message is there; if not, what follows is not known
	position eventstore.Position
	event    ref
	epoch    uint64
	header   nats.Header
	data     []byte
}

// ref names an event.
type ref struct {
	stream  string
	version eventstore.Version
	id      string
}

func refOf(r *eventstore.Recorded) ref { return ref{r.Stream, r.Version, hex.EncodeToString(r.ID[:])} }

func (r ref) String() string { return fmt.Sprintf("%s@%d %s", r.stream, r.version, r.id) }

func parseRef(s string) (r ref, ok bool) {
	name, id, ok := strings.Cut(s, " ")
	at := strings.LastIndexByte(name, '@')
	if !ok || at < 0 {
		return r, false
	}
	version, err := strconv.ParseUint(name[at+1:], 10, 64)
	return ref{name[:at], eventstore.Version(version), id}, err == nil
}

// apiError is what a server answers.
type apiError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *apiError) Error() string { return fmt.Sprintf("%s (%d)", e.Description, e.ErrCode) }

func (j *journal) ask(ctx context.Context, what string, request any, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	m, err := j.nc.RequestWithContext(ctx, "$JS.API."+what+"."+j.stream, body)
	if err != nil {
		return passing(fmt.Errorf("ask %s of the stream %s: %w", what, j.stream, err))
	}
	var failed struct {
		Error *apiError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &failed); err != nil {
		return fmt.Errorf("ask %s of the stream %s: %w", what, j.stream, err)
	}
	if e := failed.Error; e != nil {
		err := fmt.Errorf("ask %s of the stream %s: %w", what, j.stream, e)
		if e.Code >= 500 {
			return passing(err)
		}
		return err
	}
	return json.Unmarshal(m.Data, answer)
}

// get reads the message that a request names, from the stream's leader: others may be behind. found is false where there is none.
func (j *journal) get(ctx context.Context, request map[string]any) (m mark, found bool, err error) {
	var answer struct {
		Message struct {
			Seq    uint64 `json:"seq"`
			Header []byte `json:"hdrs"`
			Data   []byte `json:"data"`
		} `json:"message"`
	}
	err = j.ask(ctx, "STREAM.MSG.GET", request, &answer)
	var api *apiError
	if errors.As(err, &api) && api.ErrCode == errNoMessage {
		return m, false, nil
	}
	if err != nil {
		return m, false, err
	}
	m = mark{seq: answer.Message.Seq, found: true, data: answer.Message.Data}
	if m.header, err = nats.DecodeHeadersMsg(answer.Message.Header); err == nil {
		err = m.parse()
	}
	if err != nil {
		return m, false, fmt.Errorf("message %d of the stream %s is not one of ours: %w", m.seq, j.stream, err)
	}
	return m, true, nil
}

func (m *mark) parse() error {
	position, err := strconv.ParseUint(m.header.Get(PositionHeader), 10, 64)
	if err != nil {
		return fmt.Errorf("%s: %w", PositionHeader, err)
	}
	m.position = eventstore.Position(position)
	if m.epoch, err = strconv.ParseUint(m.header.Get(EpochHeader), 10, 64); err != nil {
		return fmt.Errorf("%s: %w", EpochHeader, err)
	}
	var ok bool
	if m.event, ok = parseRef(m.header.Get(EventHeader)); !ok && position > 0 {
		return fmt.Errorf("%s is not an event", EventHeader)
	}
	return nil
}

// last is how far the journal has come.
func (j *journal) last(ctx context.Context) (mark, error) {
	m, found, err := j.get(ctx, map[string]any{"last_by_subj": ">"})
	if err != nil || found {
		return m, err
	}
	var answer struct {
		State struct {
			LastSeq uint64 `json:"last_seq"`
		} `json:"state"`
	}
	if err := j.ask(ctx, "STREAM.INFO", struct{}{}, &answer); err != nil {
		return m, err
	}
	return mark{seq: answer.State.LastSeq}, nil
}

// same is where in the store the journal's last event is. found says whether it is there at all, resumed whether it is where it was: then its epoch goes on.
func (m *mark) same(ctx context.Context, store eventstore.Store, settle time.Duration) (at eventstore.Position, found, resumed bool, err error) {
	if !m.found || m.position == 0 {
		return 0, false, m.found, nil
	}
	at, found, err = lookUp(ctx, store, m.event, settle)
	return at, found, found && at == m.position, err
}

// begin is where in the store the relay of events goes on, and in which epoch. Where the journal has nothing it is where from says. Where the store has not the event that the journal names it was
// restored from a backup, or moved elsewhere: it is right after the last event that both have.
func (j *journal) begin(ctx context.Context, store eventstore.Store, m mark, settle time.Duration, from func(context.Context) (eventstore.Position, error)) (eventstore.Position, uint64, error) {
	if m.found {
		is, found, resumed, err := m.same(ctx, store, settle)
		switch {
		case err != nil:
			return 0, 0, err
		case resumed:
			return is, m.epoch, nil
		case found:
			return is, m.seq + 1, nil
		}
		if at, found, err := j.common(ctx, store, m); err != nil || found {
			return at, m.seq + 1, err
		}
	}
	if from == nil {
		return 0, m.seq + 1, nil
	}
	at, err := from(ctx)
	return at, m.seq + 1, err
}

// common is the position of the last event of the journal's epoch that the store has. A store that was restored has the events up to some point, and none of those after.
func (j *journal) common(ctx context.Context, store eventstore.Store, m mark) (at eventstore.Position, found bool, err error) {
	var answer struct {
		State struct {
			FirstSeq uint64 `json:"first_seq"`
		} `json:"state"`
	}
	if err := j.ask(ctx, "STREAM.INFO", struct{}{}, &answer); err != nil {
		return 0, false, err
	}
	oldest := max(answer.State.FirstSeq, m.epoch)
	sort.Search(int(m.seq-oldest)+1, func(back int) bool {
		if err != nil {
			return true
		}
		one, there, failed := j.get(ctx, map[string]any{"seq": oldest + uint64(back)})
		if err = failed; err != nil || !there {
			return false
		}
		is, has, failed := lookUp(ctx, store, one.event, 0)
		if err = failed; err == nil && has && is >= at {
			at, found = is, true
		}
		return !has
	})
	return at, found, err
}

// lookUp finds where in the store an event is. One that is not there is looked for until it has settled: the server that is read from may be behind.
func lookUp(ctx context.Context, store eventstore.Store, want ref, settle time.Duration) (eventstore.Position, bool, error) {
	for until := time.Now().Add(settle); ; {
		for r, err := range store.ReadStream(ctx, want.stream, want.version-1) {
			if err != nil {
				return 0, false, err
			}
			return r.Position, refOf(&r) == want, nil
		}
		if !time.Now().Before(until) {
			return 0, false, nil
		}
		if !pause(ctx, min(settle, 200*time.Millisecond)) {
			return 0, false, ctx.Err()
		}
	}
}

// append writes messages, all or none, right after the message with a sequence, and gives that of the last. errLost: that was not the last one. An error that may pass
// leaves it unknown whether they were written: look at last.
func (j *journal) append(ctx context.Context, after uint64, messages []*nats.Msg) (uint64, error) {
	messages[0].Header.Set("Nats-Expected-Last-Sequence", strconv.FormatUint(after, 10))
	if n := len(messages); n > 1 {
		batch := nuid.Next()
		for i, m := range messages {
			m.Header.Set("Nats-Batch-Id", batch)
			m.Header.Set("Nats-Batch-Sequence", strconv.Itoa(i+1))
		}
		messages[n-1].Header.Set("Nats-Batch-Commit", "1")
		for _, m := range messages[:n-1] {
			if err := j.nc.PublishMsg(m); err != nil {
				return 0, passing(fmt.Errorf("write to the stream %s: %w", j.stream, err))
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	m, err := j.nc.RequestMsgWithContext(ctx, messages[len(messages)-1])
	if err != nil {
		return 0, passing(fmt.Errorf("write to the stream %s: %w", j.stream, err))
	}
	var ack struct {
		Seq   uint64    `json:"seq"`
		Error *apiError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &ack); err != nil {
		return 0, fmt.Errorf("write to the stream %s: %w", j.stream, err)
	}
	switch e := ack.Error; {
	case e == nil:
		return ack.Seq, nil
	case e.ErrCode == errWrongLast, e.ErrCode == errWrongLastNow:
		return 0, errLost
	default:
		// A batch may have been given up because of its age or of too many others: it can be written again.
		return 0, fmt.Errorf("write to the stream %s: %w: %w", j.stream, eventstore.ErrUnavailable, e)
	}
}

// stamp sets what every message of a journal says.
func stamp(h nats.Header, position eventstore.Position, event ref, epoch uint64) {
	h.Set(PositionHeader, strconv.FormatUint(uint64(position), 10))
	if position > 0 {
		h.Set(EventHeader, event.String())
	}
	h.Set(EpochHeader, strconv.FormatUint(epoch, 10))
}
