package view

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// Desk follows what goes on in a unit and below it. It belongs to one caller; what it has read of whistles it reads again only when they change.
type Desk struct {
	reader *Reader
	within func(unit string) bool
	area   string
	path   []string

	begun  bool
	seen   int64                    // the position of the last change that was read
	rows   map[int64]*whistleRow    // whistles in progress, by their numbers
	sent   map[int64]*pb.WhistleRow // as they were told last; none that is hidden from who looks
	counts *pb.DeskCounts           // as they were told last
	second int64                    // as of which lateness was told
}

// Desk begins to follow a unit: within says whether a unit is that or lies below it, area is the area it governs, if it does. path is that of the
// unit of who looks, root first, as in Scope, who is told of no whistle for a confidential ticket that complains of it; empty for an auditor.
func (r *Reader) Desk(within func(unit string) bool, area string, path []string) *Desk {
	return &Desk{reader: r, within: within, area: area, path: path, rows: map[int64]*whistleRow{}, sent: map[int64]*pb.WhistleRow{}}
}

// concerns says whether a whistle is the desk's: blown, screened or attended by the unit or one below it, or about the area that it governs.
func (d *Desk) concerns(w *whistleRow) bool {
	if d.area != "" && (slices.Contains(w.affects, d.area) || slices.ContainsFunc(w.path, func(n *pb.AreaNode) bool { return n.Code == d.area })) {
		return true
	}
	return d.within(w.street) || d.within(w.screener) || slices.ContainsFunc(w.parties, func(p party) bool { return d.within(p.unit) })
}

// Look gives what is new since the look before, as of now; at first everything in progress. Nil if nothing is.
func (d *Desk) Look(ctx context.Context, now time.Time) (message *pb.WatchDeskResponse, at eventstore.Position, err error) {
	var list []*whistleRow
	hidden := map[int64]bool{}
	err = d.reader.db.Read(ctx, func(tx *viewdb.Tx) error {
		of, err := projector.Position(tx, TicketsView)
		if err != nil {
			return err
		}
		if at, err = projector.Position(tx, WhistlesView); err != nil {
			return err
		}
		upTo := int64(at)
		at = min(at, of)
		if !d.begun {
			d.seen = upTo // what ended before is not read at the next look
			list, err = queryWhistles(tx, "WHERE closed_at IS NULL")
		} else {
			list, err = queryWhistles(tx, "WHERE changed > $1", d.seen)
		}
		if err != nil {
			return err
		}
		// A ticket may become confidential, or be opened, while nothing happens to its whistle.
		for _, w := range slices.AppendSeq(list, maps.Values(d.rows)) {
			if w.closed != never || !d.concerns(w) {
				continue
			}
			if hidden[w.whistle], err = w.hides(tx, d.path); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("look at whistles in progress: %w", err)
	}
	message = new(pb.WatchDeskResponse)
	changed := map[int64]bool{}
	for _, w := range list {
		d.seen = max(d.seen, w.changed)
		switch {
		case w.closed == never && d.concerns(w):
			d.rows[w.whistle], changed[w.whistle] = w, true
		case d.rows[w.whistle] != nil:
			delete(d.rows, w.whistle)
			d.end(w, message)
		}
	}
	micros := now.UnixMicro()
	for _, number := range slices.Sorted(maps.Keys(d.rows)) {
		if hidden[number] {
			d.end(d.rows[number], message)
			continue
		}
		if !changed[number] && d.second == now.Unix() && d.sent[number] != nil {
			continue // limits pass by the second
		}
		if row := d.rows[number].message(micros); !proto.Equal(row, d.sent[number]) {
			d.sent[number] = row
			message.Whistles = append(message.Whistles, row)
		}
	}
	d.second = now.Unix()
	counts, err := d.count(ctx, now)
	if err != nil {
		return nil, 0, err
	}
	if d.begun && len(message.Whistles) == 0 && len(message.Ended) == 0 && proto.Equal(counts, d.counts) {
		return nil, at, nil
	}
	d.begun, d.counts = true, counts
	message.Counts = counts
	return message, at, nil
}

// end takes back a whistle of which was told.
func (d *Desk) end(w *whistleRow, message *pb.WatchDeskResponse) {
	if d.sent[w.whistle] != nil {
		delete(d.sent, w.whistle)
		message.Ended = append(message.Ended, "whistles/"+w.id)
	}
}

// mostHolders is how many units the counts of a desk name.
const mostHolders = 50

// count is what the unit and those below it have in hand.
func (d *Desk) count(ctx context.Context, now time.Time) (*pb.DeskCounts, error) {
	c := &pb.DeskCounts{Whistles: int64(len(d.sent)), Tickets: new(pb.InboxCounts)}
	for number := range d.sent {
		w := d.rows[number]
		for i := range w.parties {
			w.parties[i].count(c, w, now.UnixMicro())
		}
	}
	held, err := d.reader.held.read(ctx, d.reader.db, now)
	if err != nil {
		return nil, fmt.Errorf("count tickets by holder: %w", err)
	}
	for unit, n := range held {
		if !d.within(unit) {
			continue
		}
		c.Tickets.Red, c.Tickets.Yellow, c.Tickets.Green, c.Tickets.Grey = c.Tickets.Red+n.Red, c.Tickets.Yellow+n.Yellow, c.Tickets.Green+n.Green, c.Tickets.Grey+n.Grey
		c.Holders = append(c.Holders, &pb.DeskHolder{Unit: unit, Tickets: n})
	}
	slices.SortFunc(c.Holders, func(a, b *pb.DeskHolder) int {
		return cmp.Or(cmp.Compare(b.Tickets.Red, a.Tickets.Red), cmp.Compare(b.Tickets.Yellow, a.Tickets.Yellow), cmp.Compare(a.Unit, b.Unit))
	})
	if len(c.Holders) > mostHolders {
		c.Holders = c.Holders[:mostHolders]
	}
	return c, nil
}

// count adds a participant to a desk's counts: who came is there, whenever that was; who has to come is awaited, and late once its limit has passed; who
// did not show, or left early, is absent.
func (p *party) count(c *pb.DeskCounts, w *whistleRow, now int64) {
	switch state := p.state(); {
	case state == pb.ParticipantState_PARTICIPANT_STATE_EXCUSED:
	case state == pb.ParticipantState_PARTICIPANT_STATE_NO_SHOW, state == pb.ParticipantState_PARTICIPANT_STATE_LEFT_EARLY:
		c.Absent++
	case p.at != never:
		c.Arrived++
		if p.by != never && !p.inTime {
			c.Late++
		}
	case p.awaited() && w.issued != never:
		c.Awaited++
		if isPast(p.by, now) {
			c.Late++
		}
	}
}

// holders counts what each unit holds, for all desks at once.
type holders struct {
	mu     sync.Mutex
	counts map[string]*pb.InboxCounts // never changed once it is here
	second int64                      // as of which lights were counted
	at     eventstore.Position
	began  time.Time
	took   time.Duration
}

// countedApart is the least time between two counts of what units hold; a count that takes long is made less often: a tenth of the time at most.
const countedApart = 500 * time.Millisecond

// read counts, or gives what was counted a short while ago, or what another desk is just about to replace. The counts must not be changed.
func (h *holders) read(ctx context.Context, db *viewdb.DB, now time.Time) (map[string]*pb.InboxCounts, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.counts != nil && time.Since(h.began) < max(countedApart, 10*h.took) {
		return h.counts, nil
	}
	began := time.Now()
	counts, at := map[string]*pb.InboxCounts{}, h.at
	err := db.Read(ctx, func(tx *viewdb.Tx) error {
		var err error
		if at, err = projector.Position(tx, TicketsView); err != nil {
			return err
		}
		if h.counts != nil && at == h.at && now.Unix() == h.second {
			counts = h.counts
			return nil
		}
		// As ticketRow.light tells it. The || '' keeps the engine from going through all tickets by holder.
		const query = `SELECT holder, CASE WHEN state = $1 THEN 4 WHEN next_by = $2 THEN 0 WHEN next_by < $3 THEN 1
			WHEN next_from <> $4 AND next_from < next_by AND next_by - (next_by - next_from) / 4 <= $3 THEN 2 ELSE 3 END AS light, COUNT(*)
			FROM ` + TicketsView + ` WHERE closed = 0 AND holder || '' <> '' GROUP BY holder, light`
		for row, err := range tx.Query(query, int64(pb.TicketState_TICKET_STATE_SUSPENDED), ever, now.UnixMicro(), never) {
			if err != nil {
				return err
			}
			n := counts[row.Text(0)]
			if n == nil {
				n = new(pb.InboxCounts)
				counts[row.Text(0)] = n
			}
			switch row.Int64(1) {
			case 1:
				n.Red = row.Int64(2)
			case 2:
				n.Yellow = row.Int64(2)
			case 3:
				n.Green = row.Int64(2)
			case 4:
				n.Grey = row.Int64(2)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	h.counts, h.second, h.at, h.began, h.took = counts, now.Unix(), at, began, time.Since(began)
	return counts, nil
}
