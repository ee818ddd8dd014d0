package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/rpc"
)

// check holds what there is now against what was answered and read.
func (r *run) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checks)
	defer cancel()
	r.say("do all dispatchers say the same?")
	if err := r.compareDispatchers(ctx); err != nil {
		return err
	}
	for _, m := range append(r.dispatchers, r.projectors...) {
		if err := m.stop(); err != nil {
			r.findings.add("%v", err)
		}
	}
	node, err := app.OpenForVerify(ctx, "", app.Options{Where: r.where, Log: r.quiet()})
	if err != nil {
		return err
	}
	defer func() { _ = node.Close() }() // it only reads
	r.say("is every answered command in the history once?")
	if err := r.checkHistory(ctx, node.Store); err != nil {
		return err
	}
	r.say("does the chain of hashes verify, and are the views what a rebuild gives?")
	return r.verify(ctx, node)
}

// compareDispatchers asks each dispatcher for tickets, and whether its views have come as far as the last answer.
func (r *run) compareDispatchers(ctx context.Context) error {
	auditor := as(centre, "AUDITOR")
	token := rpc.Token(r.books.last())
	for _, m := range r.dispatchers {
		err := r.ask(ctx, m, auditor, "/chuishao.v1.ViewService/ListClosure", &pb.ListClosureRequest{Level: "all", MinConsistencyToken: token}, new(pb.ListClosureResponse))
		if err != nil {
			r.findings.add("%s does not tell figures as of the last answer: %v", m.name, err)
		}
	}
	var names []string
	for _, a := range r.books.answers {
		if strings.HasPrefix(a.GetName(), "tickets/") {
			names = append(names, a.GetName())
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	const sample = 300
	draw := r.draw(3)
	draw.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	names = names[:min(sample, len(names))]
	for _, name := range names {
		var first *pb.Ticket
		for _, m := range r.dispatchers {
			t := new(pb.Ticket)
			if err := r.ask(ctx, m, auditor, "/chuishao.v1.TicketService/GetTicket", &pb.GetTicketRequest{Name: name, MinConsistencyToken: token}, t); err != nil {
				r.findings.add("%s does not tell %s: %v", m.name, name, err)
				continue
			}
			if first == nil {
				first = t
			} else if !proto.Equal(first, t) {
				r.findings.add("%s tells %s otherwise than %s", m.name, name, r.dispatchers[0].name)
			}
		}
	}
	r.compared = len(names)
	return ctx.Err()
}

// ask makes a call that only reads, again while nobody is there.
func (r *run) ask(ctx context.Context, m *member, by metadata.MD, method string, request, answer proto.Message) error {
	ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(ctx, by), patience)
	defer cancel()
	for {
		call, done := context.WithTimeout(ctx, answersWithin)
		err := m.now().Invoke(call, method, request, answer, grpc.WaitForReady(true))
		done()
		if err == nil || !unknown(err) || ctx.Err() != nil {
			return err
		}
		if pause(ctx, betweenTries) != nil {
			return err
		}
	}
}

// led is what a request led to.
type led struct {
	stream   string
	count    uint32 // of its events, as they say
	events   uint32
	version  eventstore.Version // of the last
	position eventstore.Position
	apart    bool // not one after the other in one stream
}

// checkHistory reads the history and looks for every answer.
func (r *run) checkHistory(ctx context.Context, store eventstore.Store) error {
	found := map[string]*led{}
	ids := map[[16]byte]struct{}{}
	reported := map[string]string{} // a ticket's stream to the request that reported it
	linked := map[[2]string]int{}   // a whistle and a ticket that must be told of it, or was: how often, less the once that it must be
	var at eventstore.Position
	var sum uint64
	for again := false; ; again = true {
		var broke error
		for e, err := range store.ReadAll(ctx, at) {
			if err != nil {
				broke = err
				break
			}
			d, err := event.Decode(e)
			if err != nil {
				return err
			}
			at, sum, r.events = e.Position, add(sum, &e), r.events+1
			if _, twice := ids[e.ID]; twice {
				r.findings.add("the event of %s@%d is in the history twice", e.Stream, e.Version)
			}
			ids[e.ID] = struct{}{}
			switch body := d.Event.(type) {
			case *pb.WhistleBlown:
				for _, t := range body.Tickets {
					linked[[2]string{e.Stream, "ticket-" + t}]--
				}
			case *pb.WhistleLinked:
				linked[[2]string{"whistle-" + body.Whistle, e.Stream}]++
			}
			id := d.Meta.RequestId
			if d.Meta.GetActor().GetPerson() != person || strings.HasPrefix(e.Stream, "audit-") {
				continue
			}
			if _, ok := d.Event.(*pb.TicketReported); ok {
				if was, twice := reported[e.Stream]; twice {
					r.findings.add("%s was reported by %s and by %s", e.Stream, was, id)
				}
				reported[e.Stream] = id
			}
			l := found[id]
			if l == nil {
				l = &led{stream: e.Stream, count: d.Meta.Count, version: e.Version - 1}
				found[id] = l
			}
			l.apart = l.apart || e.Stream != l.stream || e.Version != l.version+1
			l.events, l.version, l.position = l.events+1, e.Version, e.Position
		}
		if broke == nil {
			break
		}
		if again || !errors.Is(broke, eventstore.ErrUnavailable) {
			return fmt.Errorf("read the history: %w", broke)
		}
	}
	for id, a := range r.books.answers {
		l := found[id]
		switch {
		case l == nil:
			r.findings.add("%s was answered and is not in the history", id)
		case l.events != l.count || l.apart:
			r.findings.add("%s led to %d events, of %d, in %s to @%d: they are doubled or torn apart", id, l.events, l.count, l.stream, l.version)
		case streamOf(a.GetName()) != l.stream || a.GetEtag() != strconv.Quote(fmt.Sprint(uint64(l.version))) || a.GetConsistencyToken() != rpc.Token(l.position):
			r.findings.add("%s was answered with %s %s at %s; it is %s@%d at %s", id, a.GetName(), a.GetEtag(), a.GetConsistencyToken(), l.stream, l.version, rpc.Token(l.position))
		}
	}
	for of, n := range linked {
		if n != 0 {
			r.findings.add("%s was told %d times of %s; want once", of[1], n+1, of[0])
		}
		r.whistles++
	}
	for id := range found {
		if r.books.answers[id] == nil {
			r.findings.add("%s is in the history and was never answered", id)
		}
	}
	r.checkReader(sum, at)
	return nil
}

// streamOf is the stream of a resource's name.
func streamOf(name string) string {
	if id, ok := strings.CutPrefix(name, "whistles/"); ok {
		return "whistle-" + id
	}
	return "ticket-" + strings.TrimPrefix(name, "tickets/")
}

// checkReader wants the reader to have seen what there is, in its order.
func (r *run) checkReader(sum uint64, at eventstore.Position) {
	r.reader.mu.Lock()
	defer r.reader.mu.Unlock()
	for _, f := range r.reader.faults {
		r.findings.add("%s", f)
	}
	// Timers may have fired after the reader was told to stop.
	if r.reader.position == at && r.reader.sum != sum || r.reader.position > at {
		r.findings.add("the reader has seen %d events to position %d; a second reading gives others: %d to %d", r.reader.events, r.reader.position, r.events, at)
	}
}

// verify is what projector verify does.
func (r *run) verify(ctx context.Context, node *app.Node) error {
	if err := node.CatchUp(ctx); err != nil {
		return fmt.Errorf("bring the views up to date: %w", err)
	}
	return node.Verify(ctx, false, func(m *pb.VerifyHistoryResponse) error {
		for _, f := range m.Findings {
			r.findings.add("verify: %s %s@%d %s: %s", f.Kind, f.Stream, f.Version, f.View, f.Message)
		}
		if m.Done {
			r.views = m.Views
			r.verified = m.Events
		}
		return nil
	})
}

// report prints the figures.
func (r *run) report() {
	b, w := r.books, r.Out
	line := func(what string, format string, args ...any) {
		fmt.Fprintf(w, "%-34s %s\n", what, fmt.Sprintf(format, args...))
	}
	line("seed", "%d", r.Seed)
	line("took", "%.1f s, %.1f s of it with faults", time.Since(r.began).Seconds(), r.faulty.Seconds())
	line("processes", "3 NATS nodes, PostgreSQL, %d dispatchers, %d projectors; %d callers", r.Dispatchers, r.Projectors, r.Callers)
	line("a node is cut off by", "%s", r.cutBy)
	for _, k := range kinds {
		line(k, "%d", r.tally.count[k])
	}
	line("killed in all", "%d", r.tally.kills)
	line("commands answered", "%d (%.0f a second)", len(b.answers), float64(len(b.answers))/max(r.faulty.Seconds(), 1))
	line("of them sent again", "%d", b.retried)
	line("of them carried out before", "%d: their outcome had been unknown", b.resolved)
	line("longest pause of answers", "%.1f s, from %.1f s on", b.longest.Seconds(), b.since.Sub(r.began).Seconds())
	line("events", "%d", r.events)
	line("the reader", "%d events, resumed %d times", r.reader.events, r.reader.resumed)
	line("whistles their tickets know of", "%d", r.whistles)
	line("tickets compared", "%d, at every dispatcher", r.compared)
	line("verified", "%d events; equal to a rebuild: %s", r.verified, strings.Join(r.views, ", "))
	found := r.findings.all()
	for n, f := range found {
		if n == 20 {
			fmt.Fprintf(w, "FAIL  and %d more\n", len(found)-n)
			break
		}
		fmt.Fprintf(w, "FAIL  %s\n", f)
	}
	if len(found) == 0 {
		io.WriteString(w, "PASS\n")
	}
}
