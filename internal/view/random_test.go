package view_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/view"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// life is a ticket as the reference sees it: the events with their instants, nothing else.
type life struct {
	stream string
	events []happened
}

// lives makes random tickets, some of them odd, and records them mixed with each other.
func lives(h *history, r *rand.Rand, tickets int) []*life {
	return livesOf(h, r, tickets, native)
}

// liver makes what happens to a ticket after its report.
type liver func(r *rand.Rand, add func(time.Time, proto.Message), next func() time.Time, later func() *timestamppb.Timestamp, place []string, places [][]string)

func livesOf(h *history, r *rand.Rand, tickets int, live liver) []*life {
	places := [][]string{
		{"c", "d1", "s1", "m1"}, {"c", "d1", "s1", "m2"}, {"c", "d1", "s1"}, {"c", "d1", "s2", "m3", "g1"}, {"c", "d2"}, {"c"}, {"c", "d2", "s3", "m4"},
	}
	var all []*life
	queue := map[*life][]happened{}
	for i := range tickets {
		l := &life{stream: fmt.Sprintf("ticket-%03d", i)}
		t := day0.Add(time.Duration(r.IntN(6*24*60)) * time.Minute)
		next := func() time.Time {
			t = t.Add(time.Duration(r.IntN(24*60)) * time.Minute)
			if r.IntN(6) == 0 { // a fact that was learnt late
				return t.Add(-time.Duration(r.IntN(48*60)) * time.Minute)
			}
			return t
		}
		later := func() *timestamppb.Timestamp { return at(t.Add(time.Duration(r.IntN(5*24*60)-600) * time.Minute)) }
		place := places[r.IntN(len(places))]
		var list []happened
		add := func(at time.Time, msg proto.Message) { list = append(list, happened{at, msg}) }
		if r.IntN(4) == 0 {
			rec := &pb.RecordImported{No: l.stream, Source: "s", SourceRef: l.stream, Channel: pb.Channel_CHANNEL_IMPORT, Category: "Noise",
				Agency: []string{"", "HPD", "DOT"}[r.IntN(3)], Dimensions: []*pb.Dimension{{Level: "precinct", Value: []string{"", "1", "07"}[r.IntN(3)]}}}
			if r.IntN(3) > 0 {
				rec.Path = path(place...)
			}
			if r.IntN(3) > 0 {
				rec.DueAt = later()
			}
			add(t, rec)
			if r.IntN(4) > 0 {
				add(next(), &pb.ImportedRecordClosed{})
			}
		} else {
			add(t, &pb.TicketReported{No: l.stream, Source: "12345", SourceRef: l.stream, Channel: pb.Channel(1 + r.IntN(3)), Path: path(place...), Category: "0801", AcceptBy: later(), Sealed: &pb.Sealed{Subject: []string{"", "p1", "p2", "p3"}[i%4]}, CallbackWanted: i%5 > 0,
				Holder: place[len(place)-1], HolderPath: place})
			live(r, add, next, later, place, places)
		}
		queue[l] = list
		all = append(all, l)
	}
	whistles(h, r, 12)
	admitted(h, rand.New(rand.NewPCG(44, 44)))
	h.record("registry-main",
		happened{day0, &pb.RegistryStaged{Version: "v1", Content: &pb.RegistryPiece{
			Areas: []*pb.Area{{Code: "s1", Level: "street"}, {Code: "m1", Level: "community"}},
			Units: []*pb.Unit{{Code: "u1", Area: "m1"}, {Code: "u2", Area: "s1"}},
		}}},
		happened{day0, &pb.RegistryVersionPublished{Version: "v1", Pieces: 1}})
	open := slices.Clone(all)
	for len(open) > 0 {
		i := r.IntN(len(open))
		l := open[i]
		n := min(1+r.IntN(3), len(queue[l]))
		h.record(l.stream, queue[l][:n]...)
		l.events = append(l.events, queue[l][:n]...)
		if queue[l] = queue[l][n:]; len(queue[l]) == 0 {
			open = slices.Delete(open, i, i+1)
		}
	}
	return all
}

func native(r *rand.Rand, add func(time.Time, proto.Message), next func() time.Time, later func() *timestamppb.Timestamp, place []string, places [][]string) {
	switch r.IntN(12) {
	case 0:
		return
	case 1:
		add(next(), &pb.DeclineProposed{})
		add(next(), &pb.TicketDeclined{})
		return
	case 2:
		add(next(), &pb.TicketVoided{})
		return
	}
	add(next(), &pb.TicketAccepted{Path: path(place...), DispatchBy: later(), Holder: place[len(place)-1], HolderPath: place})
	switch r.IntN(10) {
	case 0:
		add(next(), &pb.TicketAnsweredDirectly{})
		return
	case 1:
		add(next(), &pb.TicketVoided{})
		return
	}
	triaged := &pb.TicketTriaged{Category: []string{"0801", "0101"}[r.IntN(2)], Grade: pb.Grade_GRADE_G2}
	if r.IntN(3) == 0 {
		place = places[r.IntN(len(places))]
		triaged.Path = path(place...)
	}
	triaged.Holder, triaged.HolderPath = place[0], place[:1]
	add(next(), triaged)
	close := later()
	for hop := range 1 + r.IntN(2) {
		lead := []string{"u1", "u2"}[r.IntN(2)]
		add(next(), &pb.TicketDispatched{Lead: lead, LeadPath: []string{"root", lead}, Co: []string{"u3", "u4"}[:hop], Round: 1, Hop: uint32(hop + 1), SignBy: later(), HandleBy: later(), CloseBy: close})
	}
	for range r.IntN(4) {
		if r.IntN(5) == 0 {
			return
		}
		add(next(), &pb.TicketSigned{})
		if r.IntN(3) == 0 {
			add(next(), &pb.TriageCorrected{CloseBy: later(), HandleBy: later(), Category: "0202", Path: path(places[r.IntN(len(places))]...)})
		}
		add(next(), &pb.ResultSubmitted{Result: pb.ResultCode_RESULT_CODE_RESOLVED})
		add(next(), &pb.VerificationPassed{CallbackBy: later()})
		add(next(), &pb.TicketClosed{Kind: pb.CloseKind_CLOSE_KIND_SOLVED})
		if r.IntN(2) == 0 {
			return
		}
		add(next(), &pb.TicketReopened{Round: 2, Lead: "u1", SignBy: later(), RedoBy: later(), CloseBy: later()})
	}
}

// wholeLife makes all that can happen to a ticket happen to some.
func wholeLife(r *rand.Rand, add func(time.Time, proto.Message), next func() time.Time, later func() *timestamppb.Timestamp, place []string, places [][]string) {
	accepted := false
	switch r.IntN(12) {
	case 0:
		return
	case 1:
		add(next(), &pb.DeclineProposed{})
		add(next(), &pb.TicketDeclined{})
		if r.IntN(2) == 0 {
			return
		}
		add(next(), &pb.DeclineAppealed{})
		add(next(), &pb.DeclineOverturned{Path: path(place...), DispatchBy: later(), Holder: place[len(place)-1], HolderPath: place})
		accepted = true
	case 2:
		add(next(), &pb.TicketVoided{})
		return
	}
	if !accepted {
		add(next(), &pb.TicketAccepted{Path: path(place...), DispatchBy: later(), Holder: place[len(place)-1], HolderPath: place})
	}
	switch r.IntN(10) {
	case 0:
		add(next(), &pb.TicketAnsweredDirectly{})
		return
	case 1:
		add(next(), &pb.TicketVoided{})
		return
	}
	triaged := &pb.TicketTriaged{Category: []string{"0801", "0101"}[r.IntN(2)], Grade: pb.Grade_GRADE_G2}
	if r.IntN(3) == 0 {
		place = places[r.IntN(len(places))]
		triaged.Path = path(place...)
	}
	triaged.Holder, triaged.HolderPath = place[0], place[:1]
	add(next(), triaged)
	if r.IntN(5) == 0 {
		add(next(), &pb.TicketMerged{Into: "other"})
		if r.IntN(3) == 0 {
			add(next(), &pb.CallbackRecorded{Contacted: true, Solved: pb.Solved_SOLVED_YES, Satisfaction: 4})
		}
		if r.IntN(2) == 0 {
			return
		}
		add(next(), &pb.TicketUnmerged{From: "other", State: pb.TicketState_TICKET_STATE_TRIAGED})
	}
	close := later()
	for hop := range 1 + r.IntN(2) {
		lead := []string{"u1", "u2"}[r.IntN(2)]
		if hop > 0 {
			returned(r, add, next, later, lead)
		}
		add(next(), &pb.TicketDispatched{Lead: lead, LeadPath: []string{"root", lead}, Co: []string{"u3", "u4"}[:hop], Round: 1, Hop: uint32(hop + 1), SignBy: later(), HandleBy: later(), CloseBy: close})
	}
	for range r.IntN(4) {
		if r.IntN(5) == 0 {
			return
		}
		add(next(), &pb.TicketSigned{})
		if r.IntN(3) == 0 {
			add(next(), &pb.TriageCorrected{CloseBy: later(), HandleBy: later(), Category: "0202", Path: path(places[r.IntN(len(places))]...)})
		}
		handling(r, add, next, later)
		if r.IntN(8) == 0 {
			add(next(), &pb.TicketWithdrawn{})
			return
		}
		for range r.IntN(3) {
			add(next(), &pb.ResultSubmitted{Result: pb.ResultCode_RESULT_CODE_RESOLVED, VerifyBy: later()})
			if r.IntN(2) == 0 {
				add(next(), &pb.VerificationFailed{Rework: 1})
			} else {
				add(next(), &pb.ResultRejected{Reason: pb.ResultRejection_RESULT_REJECTION_STALE_PHOTO})
			}
		}
		add(next(), &pb.ResultSubmitted{Result: pb.ResultCode_RESULT_CODE_RESOLVED, VerifyBy: later()})
		add(next(), &pb.VerificationPassed{CallbackBy: later()})
		switch r.IntN(3) {
		case 0:
			add(next(), &pb.CallbackRecorded{Contacted: r.IntN(2) == 0, Solved: pb.Solved(1 + r.IntN(3)), Satisfaction: uint32(r.IntN(6))})
		case 1:
			add(next(), &pb.CallbackUnreachable{Attempts: 3})
		}
		add(next(), &pb.TicketClosed{Kind: pb.CloseKind_CLOSE_KIND_SOLVED})
		if r.IntN(4) == 0 {
			code := pb.ExclusionCode(6 + r.IntN(7))
			add(next(), &pb.ExclusionGranted{Code: code, Metrics: []string{"M08", "M11", "M13", "M22", "M23", "M24"}[r.IntN(4):]})
		}
		if r.IntN(2) == 0 {
			return
		}
		add(next(), &pb.TicketReopened{Round: 2, Lead: "u1", SignBy: later(), RedoBy: later(), CloseBy: later()})
	}
}

// returned is what may lie between two hops.
func returned(r *rand.Rand, add func(time.Time, proto.Message), next func() time.Time, later func() *timestamppb.Timestamp, unit string) {
	if r.IntN(2) == 0 {
		return
	}
	add(next(), &pb.ReturnRequested{Unit: unit, DecideBy: later(), Number: 1})
	switch r.IntN(3) {
	case 0:
		add(next(), &pb.ReturnApproved{Fault: pb.ReturnFault(1 + r.IntN(2)), Unit: unit, Holder: "c", HolderPath: []string{"c"}, DispatchBy: later()})
	case 1:
		add(next(), &pb.ReturnRejected{Unit: unit})
		add(next(), &pb.AdjudicationOpened{Parties: []string{"u1", "u2"}, RulingBy: later(), Holder: "c", HolderPath: []string{"c"}})
		add(next(), &pb.AdjudicationRuled{Lead: unit, Fault: pb.ReturnFault(r.IntN(3)), RuledOut: []string{"u1", "u2"}[:r.IntN(3)]})
	case 2:
		add(next(), &pb.AdjudicationOpened{Parties: []string{"u1", "u2"}, RulingBy: later(), Automatic: true})
		add(next(), &pb.FallbackAssigned{Unit: unit})
	}
}

// handling is what may happen between signing and a result.
func handling(r *rand.Rand, add func(time.Time, proto.Message), next func() time.Time, later func() *timestamppb.Timestamp) {
	for range r.IntN(4) {
		switch r.IntN(9) {
		case 0:
			add(next(), &pb.TicketEscalated{From: "u1", To: "root", LeadPath: []string{"root"}, SignBy: later(), SegmentBy: later()})
			if r.IntN(2) == 0 {
				add(next(), &pb.EscalationRefused{From: "root", To: "u1", LeadPath: []string{"root", "u1"}, SegmentBy: later()})
			}
		case 1:
			add(next(), &pb.TicketDelegated{From: "u1", To: "u2", LeadPath: []string{"root", "u2"}, SignBy: later(), SegmentBy: later(), Hop: 3, Round: 1})
		case 2:
			add(next(), &pb.ExtensionGranted{HandleBy: later(), CloseBy: later(), SegmentBy: later(), Number: 1})
		case 3:
			add(next(), &pb.SuspensionGranted{Reason: pb.SuspensionReason(1 + r.IntN(6)), ReviewAt: later()})
			if r.IntN(3) == 0 {
				add(next(), &pb.SuspensionGranted{Reason: pb.SuspensionReason_SUSPENSION_REASON_FUNDS, ReviewAt: later(), Renewed: true})
			}
			if r.IntN(4) > 0 {
				add(next(), &pb.TicketResumed{HandleBy: later(), CloseBy: later(), SegmentBy: later()})
			}
		case 4:
			add(next(), &pb.CoHandlerRequested{Unit: "u3", UnitPath: []string{"root", "u3"}, SubmitBy: later()})
			if r.IntN(2) == 0 {
				add(next(), &pb.CoHandlerSubmitted{Unit: "u3"})
			} else if r.IntN(2) == 0 {
				add(next(), &pb.CoHandlerDeclined{Unit: "u3"})
			}
		case 5:
			add(next(), &pb.SupervisionRaised{Level: 2, ReplyBy: later()})
			add(next(), &pb.SupervisionRaised{Level: 3, ReplyBy: later(), ClearBy: later(), IssuerLevel: []string{"", "city", "district"}[r.IntN(3)]})
			if r.IntN(2) == 0 {
				add(next(), &pb.SupervisionRaised{Level: 4})
			}
			if r.IntN(3) > 0 {
				add(next(), &pb.ListingCleared{})
			}
			if r.IntN(2) == 0 {
				add(next(), &pb.SupervisionLifted{Level: 4})
			}
		case 6:
			add(next(), &pb.PetitionerContacted{Channel: "phone"})
		case 7:
			add(next(), &pb.LimitsRecomputed{HandleBy: later(), CloseBy: later(), SegmentBy: later()})
		case 8:
			add(next(), &pb.HolderMoved{From: "u1", To: "u2", HolderPath: []string{"root", "u2"}})
		}
	}
}

// node says whether a ticket counts at a node, judging by the last that was said of it.
func (l *life) counts(level, code string) bool {
	category, area, unit := "", []*pb.AreaNode(nil), []string(nil)
	precinct, channel := "none", ""
	for _, e := range l.events {
		switch m := e.msg.(type) {
		case *pb.TicketReported:
			category, area, channel = m.Category, m.Path, m.Channel.String()
		case *pb.RecordImported:
			category, area, unit, precinct, channel = m.Category, m.Path, []string{m.Agency}, m.Dimensions[0].Value, m.Channel.String()
		case *pb.TicketAccepted:
			area = m.Path
		case *pb.TicketTriaged:
			category = m.Category
			if len(m.Path) > 0 {
				area = m.Path
			}
		case *pb.TriageCorrected:
			category, area = m.Category, m.Path
		case *pb.DeclineOverturned:
			area = m.Path
		case *pb.TicketDispatched:
			unit = m.LeadPath
		case *pb.TicketEscalated:
			unit = m.LeadPath
		case *pb.EscalationRefused:
			unit = m.LeadPath
		case *pb.TicketDelegated:
			unit = m.LeadPath
		case *pb.HolderMoved: // only of the lead: others held it without leading
			if n := len(unit); n > 0 && unit[n-1] == m.From {
				unit = m.HolderPath
			}
		}
	}
	switch level {
	case "all":
		return true
	case "channel":
		return channel == code
	case "category":
		return category == code
	case "unit":
		return slices.Contains(unit, code)
	case "precinct":
		return precinct == code
	case "direct":
		return len(area) > 0 && area[len(area)-1].Level != "grid" && area[len(area)-1].Code == code
	}
	return slices.ContainsFunc(area, func(n *pb.AreaNode) bool { return n.Level == level && n.Code == code })
}

// naive is a ticket at T, found by walking its events: of those that had happened, the last recorded counts.
type naive struct {
	reported, accepted, closed, due, handle time.Time
	imported, gone, ended, direct, inTime   bool
	stood                                   time.Time // close_by before the clock was stopped
	out                                     pb.ExclusionCode
}

func (l *life) at(t time.Time) naive {
	var n naive
	n.inTime = true
	var limit, redo, result time.Time // of the round
	var dueKnown time.Time            // close_by as recorded, whether in force or not
	judge := func() {
		if n.closed.IsZero() {
			return
		}
		if !redo.IsZero() {
			n.inTime = n.inTime && !result.IsZero() && !result.After(redo)
		} else if !limit.IsZero() {
			n.inTime = n.inTime && !n.closed.After(limit)
		}
	}
	set := func(to *time.Time, from time.Time, by *timestamppb.Timestamp) {
		if by != nil && !from.After(t) {
			*to = by.AsTime()
			if to == &n.due {
				n.stood = time.Time{}
			}
		}
	}
	leave := func(at time.Time, left, gone bool) {
		if !at.After(t) {
			n.ended, n.gone = left, gone
		}
	}
	closeAt := func(at time.Time) {
		limit = dueKnown
		n.closed = at
	}
	type past struct{ closed, limit, redo, result time.Time }
	var rounds []past
	for _, e := range l.events {
		switch m := e.msg.(type) {
		case *pb.TicketReported:
			n.reported = e.at
		case *pb.RecordImported:
			n.reported, n.imported = e.at, true
			if m.DueAt != nil {
				dueKnown = m.DueAt.AsTime()
				set(&n.due, e.at, m.DueAt)
			}
		case *pb.TicketAccepted:
			if !e.at.After(t) {
				n.accepted = e.at
			}
		case *pb.TicketDispatched:
			if m.CloseBy.AsTime() != dueKnown {
				dueKnown = m.CloseBy.AsTime()
				set(&n.due, e.at, m.CloseBy)
			}
			set(&n.handle, e.at, m.HandleBy)
		case *pb.TriageCorrected:
			dueKnown = m.CloseBy.AsTime()
			set(&n.due, e.at, m.CloseBy)
			set(&n.handle, e.at, m.HandleBy)
		case *pb.ResultSubmitted:
			result = e.at
		case *pb.TicketAnsweredDirectly:
			n.direct = true
			closeAt(e.at)
		case *pb.TicketClosed, *pb.ImportedRecordClosed:
			closeAt(e.at)
		case *pb.TicketReopened:
			dueKnown = m.CloseBy.AsTime()
			set(&n.due, e.at, m.CloseBy)
			set(&n.handle, e.at, m.RedoBy)
			if !e.at.After(t) {
				rounds = append(rounds, past{n.closed, limit, redo, result})
				n.closed, limit, redo, result = time.Time{}, time.Time{}, m.RedoBy.AsTime(), time.Time{}
				n.out = 0
			} else {
				// Later rounds have not begun at T, unless they began before it.
				return l.withoutRound(e, t)
			}
		case *pb.SuspensionGranted:
			dueKnown = time.Time{}
			if !e.at.After(t) {
				if !n.due.IsZero() {
					n.stood = n.due
				}
				n.due, n.handle = time.Time{}, time.Time{}
			}
		case *pb.TicketResumed:
			dueKnown = m.CloseBy.AsTime()
			set(&n.due, e.at, m.CloseBy)
			set(&n.handle, e.at, m.HandleBy)
		case *pb.ExtensionGranted:
			dueKnown = m.CloseBy.AsTime()
			set(&n.due, e.at, m.CloseBy)
			set(&n.handle, e.at, m.HandleBy)
		case *pb.LimitsRecomputed:
			dueKnown = m.CloseBy.AsTime()
			set(&n.due, e.at, m.CloseBy)
			set(&n.handle, e.at, m.HandleBy)
		case *pb.ExclusionGranted:
			if slices.Contains(m.Metrics, "M13") && !e.at.After(t) {
				n.out = m.Code
			}
		case *pb.TicketDeclined:
			leave(e.at, true, false)
		case *pb.TicketVoided:
			leave(e.at, true, true)
		case *pb.TicketMerged:
			leave(e.at, true, true)
		case *pb.TicketWithdrawn:
			leave(e.at, true, false)
		case *pb.TicketUnmerged:
			leave(e.at, false, false)
		case *pb.DeclineOverturned:
			leave(e.at, false, false)
			if !e.at.After(t) {
				n.accepted = e.at
			}
		}
	}
	if n.closed.After(t) {
		n.closed = time.Time{}
	}
	if !n.closed.IsZero() {
		now := past{n.closed, limit, redo, result}
		for _, p := range append(rounds, now) {
			n.closed, limit, redo, result = p.closed, p.limit, p.redo, p.result
			judge()
		}
		n.closed = now.closed
	}
	return n
}

// withoutRound is the ticket at T as if what one round brought, up to the next reopening, had not been recorded; limits stay.
func (l *life) withoutRound(reopened happened, t time.Time) naive {
	rest := &life{}
	skipping := false
	for _, e := range l.events {
		_, again := e.msg.(*pb.TicketReopened)
		if again {
			skipping = e.at.Equal(reopened.at) && e.msg == reopened.msg
		}
		switch m := e.msg.(type) {
		case *pb.TicketReopened:
			if skipping {
				rest.events = append(rest.events, happened{e.at, &pb.TriageCorrected{CloseBy: m.CloseBy, HandleBy: m.RedoBy}})
				continue
			}
		case *pb.ResultSubmitted, *pb.TicketClosed:
			if skipping {
				continue
			}
		}
		rest.events = append(rest.events, e)
	}
	return rest.at(t)
}

var levels = map[string][]string{
	"all": {""}, "city": {"c"}, "district": {"d1", "d2"}, "street": {"s1", "s2", "s3"}, "community": {"m1", "m2", "m3", "m4"}, "grid": {"g1"},
	"direct": {"c", "d2", "s1", "m1", "m3"}, "unit": {"root", "u1", "u2", "", "HPD"}, "category": {"0801", "0101", "0202", "Noise"}, "precinct": {"", "1", "07"},
	"channel": {"CHANNEL_HOTLINE", "CHANNEL_GRID", "CHANNEL_IMPORT"},
}

func reference(all []*life, level, code string, t time.Time) *pb.ClosureFigures {
	f := &pb.ClosureFigures{}
	var hours []float64
	for _, l := range all {
		n := l.at(t)
		if !l.counts(level, code) || n.reported.After(t) || n.gone {
			continue
		}
		f.Total++
		hasDue, closed := !n.due.IsZero(), !n.closed.IsZero()
		if hasDue {
			f.DueTotal++
		}
		switch {
		case closed && hasDue && !n.closed.After(n.due):
			f.ClosedWithinDue++
		case closed && hasDue:
			f.ClosedLate++
		case !closed && hasDue && n.due.Before(t):
			f.OpenOverdue++
		}
		if closed {
			f.Closed++
			if !n.closed.Before(n.reported) {
				hours = append(hours, n.closed.Sub(n.reported).Hours())
			}
		}
	}
	if f.Total > 0 {
		f.ClosureRate = proto.Float64(float64(f.Closed) / float64(f.Total))
	}
	if d := f.ClosedWithinDue + f.ClosedLate + f.OpenOverdue; d > 0 {
		f.WithinDueRate = proto.Float64(float64(f.ClosedWithinDue) / float64(d))
	}
	if n := len(hours); n > 0 {
		slices.Sort(hours)
		f.MedianHoursToClose = proto.Float64((hours[(n-1)/2] + hours[n/2]) / 2)
	}
	return f
}

var excludedM13 = []pb.ExclusionCode{pb.ExclusionCode_EXCLUSION_CODE_X9, pb.ExclusionCode_EXCLUSION_CODE_X11, pb.ExclusionCode_EXCLUSION_CODE_X12}

// suspended is how many M12 leaves out because their clock stands.
func suspended(all []*life, level, code string, from, to, t time.Time) (x4 int64) {
	for _, l := range all {
		n := l.at(t)
		if !n.ended && (n.closed.IsZero() || !n.direct) && !n.stood.IsZero() && !n.stood.Before(from) && n.stood.Before(to) && l.counts(level, code) {
			x4++
		}
	}
	return x4
}

// metric is a figure's numerator and denominator, by the definition.
func metric(all []*life, name, level, code string, from, to, t time.Time) (num, den int64) {
	in := func(x time.Time) bool { return !x.IsZero() && !x.Before(from) && x.Before(to) }
	for _, l := range all {
		n := l.at(t)
		if !l.counts(level, code) || n.reported.After(t) {
			continue
		}
		closed := !n.closed.IsZero()
		switch name {
		case "M02":
			if !n.imported && in(n.reported) {
				den++
				if !n.accepted.IsZero() {
					num++
				}
			}
		case "M12", "M13":
			if in(n.due) && !n.ended && !(closed && n.direct) && !(name == "M13" && slices.Contains(excludedM13, n.out)) {
				den++
				if closed && (name == "M12" || n.inTime) {
					num++
				}
			}
		case "M14":
			if !n.imported && in(n.accepted) && !n.ended {
				den++
				if closed {
					num++
				}
			}
		case "M15":
			limit, open := n.handle, !n.accepted.IsZero()
			if n.imported {
				limit, open = n.due, true
			}
			if open && !closed && !n.ended && !limit.IsZero() && limit.Before(t) {
				num++
			}
		}
	}
	return num, den
}

func TestFiguresOfAnyInstantEqualThoseCountedOneByOne(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4 / slow) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 1))
			h := newHistory(t)
			all := livesOf(h, r, 40, wholeLife)
			reader := h.reader()
			for range 8 {
				when := day0.Add(time.Duration(r.Int64N(int64(15 * 24 * time.Hour)))).Truncate(time.Minute)
				if r.IntN(3) == 0 { // the very instant of something
					l := all[r.IntN(len(all))]
					when = l.events[r.IntN(len(l.events))].at.Add(time.Duration(r.IntN(3)-1) * time.Microsecond)
				}
				from := day0.Add(time.Duration(r.IntN(9*24)) * time.Hour)
				to := from.Add(time.Duration(r.IntN(9*24)) * time.Hour)
				for level, codes := range levels {
					for _, code := range codes {
						compare(t, reader, all, level, code, from, to, when)
					}
				}
			}
		})
	}
}

func compare(t *testing.T, reader *view.Reader, all []*life, level, code string, from, to, when time.Time) {
	want := reference(all, level, code, when)
	row, _, err := reader.ClosureAt(t.Context(), view.ClosureQuery{Level: level, Code: code, At: when, WithMedian: true})
	if refusal, ok := errors.AsType[*rule.Refusal](err); ok && refusal.Reason == rule.NotFound {
		row, err = &pb.ClosureRow{Figures: &pb.ClosureFigures{}}, nil
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := row.Figures; !sameFigures(got, want) {
		t.Fatalf("%s %q at %v: got %v, want %v", level, code, when, got, want)
	}
	for _, name := range []string{"M02", "M12", "M13", "M14", "M15"} {
		num, den := metric(all, name, level, code, from, to, when)
		got, _, err := reader.MetricOf(t.Context(), view.MetricQuery{Metric: name, Level: level, Code: code, From: from, To: to, At: when})
		if refusal, ok := errors.AsType[*rule.Refusal](err); ok && refusal.Reason == rule.NotFound {
			got, err = &pb.MetricFigure{}, nil
		}
		if err != nil {
			t.Fatal(err)
		}
		if got.Numerator != num || got.GetDenominator() != den {
			t.Fatalf("%s of %s %q in [%v, %v) at %v: got %v, want %d/%d", name, level, code, from, to, when, got, num, den)
		}
	}
	q := view.MetricQuery{Metric: "M12", Level: level, Code: code, From: from, To: to, At: when}
	if got, _, err := reader.MetricOf(t.Context(), q); err == nil && got.Excluded["X4"] != suspended(all, level, code, from, to, when) {
		t.Fatalf("M12 of %s %q in [%v, %v) at %v: got %v, want %d suspended", level, code, from, to, when, got, suspended(all, level, code, from, to, when))
	}
	q.Metric = "M16"
	if got, _, err := reader.MetricOf(t.Context(), q); err == nil {
		p := got.Parts
		if p["opening"]+p["accepted"]-p["closed"]-p["x1"]-p["merged"]+p["reopened"] != p["closing"] || p["opening"] < 0 {
			t.Fatalf("M16 of %s %q: %v does not balance", level, code, p)
		}
	}
}

func sameFigures(a, b *pb.ClosureFigures) bool {
	if (a.MedianHoursToClose == nil) != (b.MedianHoursToClose == nil) || max(a.GetMedianHoursToClose()-b.GetMedianHoursToClose(), b.GetMedianHoursToClose()-a.GetMedianHoursToClose()) > 1e-6 {
		return false
	}
	x, y := proto.CloneOf(a), proto.CloneOf(b)
	x.MedianHoursToClose, y.MedianHoursToClose = nil, nil
	return proto.Equal(x, y)
}

func TestListsEqualSingleFiguresAndWhatWasKnownIsTheSlowWay(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 7))
	h := newHistory(t)
	livesOf(h, r, 60, wholeLife)
	reader := h.readerOf(h.remembered())
	end := h.last
	for range 4 / slow {
		when := day0.Add(time.Duration(r.Int64N(int64(15 * 24 * time.Hour))))
		from := day0.Add(time.Duration(r.Int64N(int64(9 * 24 * time.Hour))))
		for level := range levels {
			q := view.ClosureQuery{Level: level, At: when, WithMedian: true}
			fast, _, _, err := reader.ListClosure(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			q.KnownAt = &end
			slow, _, _, err := reader.ListClosure(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(fast) != fmt.Sprint(slow) {
				t.Fatalf("%s at %v: got %v, the slow way gives %v", level, when, fast, slow)
			}
			for _, m := range view.MetricNames {
				q := view.MetricQuery{Metric: m, Level: level, From: from, To: from.AddDate(0, 0, 4), At: when}
				fast, _, _, err := reader.ListMetrics(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				q.KnownAt = &end
				slow, _, _, err := reader.ListMetrics(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				if fmt.Sprint(fast) != fmt.Sprint(slow) {
					t.Fatalf("%s of %s at %v: got %v, the slow way gives %v", m, level, when, fast, slow)
				}
				for _, f := range fast {
					q := view.BehindQuery{Metric: m, Level: level, Code: f.Code, Set: pb.FigureSet_FIGURE_SET_NUMERATOR, From: from, To: from.AddDate(0, 0, 4), At: when, PageSize: 1000}
					page, _, total, _, err := reader.ListBehind(t.Context(), q)
					if err != nil {
						t.Fatal(err)
					}
					// Of some metrics a ticket counts more than once, and stands once; some are no counts of tickets.
					many := slices.Contains([]string{"M06", "M08", "M09", "M17", "M18", "M21", "M26", "M27", "M33", "M34", "M37", "M40", "M44"}, m)
					if n := int64(len(page)); m != "M33" && m != "M34" && m != "M37" && m != "M40" && m != "M44" && total != f.Numerator || n > total || (n == 0) != (total == 0) || !many && n != total {
						t.Fatalf("%s: %d tickets behind a numerator of %d (total %d)", m, len(page), f.Numerator, total)
					}
				}
			}
		}
	}
}

func TestRowsAreTheSameWhereverBatchesAreCut(t *testing.T) {
	onEach(t, func(t *testing.T, newHistory func(testing.TB) *history) {
		h := newHistory(t)
		r := rand.New(rand.NewPCG(1, 2))
		livesOf(h, r, 60, wholeLife)
		listed(h, r, 20)

		whole := h.views("whole.db")
		h.catchUp(whole, 100_000)
		want := dump(t, whole)

		for _, batch := range []int{1, 7, 64} {
			db := h.views(fmt.Sprintf("cut%d.db", batch))
			h.catchUp(db, batch)
			if got := dump(t, db); got != want {
				t.Errorf("in batches of %d: got other rows than in one", batch)
			}
		}
		// However little is kept in memory on the way.
		for _, o := range []projector.Options{{}, {Batch: 50}, {Batch: 3, Keep: 1}, {Batch: 20, Keep: 9}, {Batch: 1, Keep: 30}} {
			if err := projector.Rebuild(t.Context(), h.store, whole, o, view.All(shanghai)...); err != nil {
				t.Fatal(err)
			}
			if got := dump(t, whole); got != want {
				t.Errorf("rebuilt with %+v: got other rows", o)
			}
		}

		// Rivals on one database, each with batches of its own, beginning anew now and then.
		db := h.views("rivals.db")
		var rivals sync.WaitGroup
		for i := range 3 {
			rivals.Go(func() {
				other, err := viewdb.Open(h.place("rivals.db"), viewdb.Options{})
				if err != nil {
					t.Error(err)
					return
				}
				defer other.Close()
				p, err := projector.Open(t.Context(), h.store, other, projector.Options{Batch: 3 + 4*i}, view.All(shanghai)...)
				if err != nil {
					t.Error(err)
					return
				}
				if err := p.CatchUp(t.Context()); err != nil {
					t.Error(err)
				}
				if err := p.WaitFor(t.Context(), eventstore.Position(h.last)); err != nil {
					t.Error(err)
				}
			})
		}
		rivals.Wait()
		if got := dump(t, db); got != want {
			t.Error("rivals: got other rows")
		}
	})
}

// TestNoFigureIsOfAnAreaAboveTheOneAskedAbout: what lies in a community is part of its street's figure, which is not that.
func TestNoFigureIsOfAnAreaAboveTheOneAskedAbout(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(8, 8))
	h := newHistory(t)
	livesOf(h, r, 60, wholeLife)
	admitted(h, r)
	reader := h.reader()
	told := 0
	for _, metric := range view.MetricNames {
		list := func(level, area string) []*pb.MetricFigure {
			all, _, _, err := reader.ListMetrics(t.Context(), view.MetricQuery{Metric: metric, Level: level, Area: area, From: day0, At: day0.AddDate(1, 0, 0)})
			if err != nil {
				t.Fatal(err)
			}
			return all
		}
		for _, f := range list("community", "") {
			if f.Code == "" {
				continue
			}
			if own := list("community", f.Code); len(own) != 1 || fmt.Sprint(own[0]) != fmt.Sprint(f) {
				t.Errorf("%s of %s: got %v, want %v", metric, f.Code, own, f)
			}
			for _, level := range []string{"city", "district", "street"} {
				if above := list(level, f.Code); len(above) > 0 {
					t.Errorf("%s at or below %s: got %v", metric, f.Code, above)
				}
			}
			told++
		}
	}
	if told == 0 {
		t.Error("no figure is of a community")
	}
}
