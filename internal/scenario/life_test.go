package scenario_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/stores"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/scenario"
	"github.com/chuishao/dispatch/internal/ticket"
	"github.com/chuishao/dispatch/internal/whistle"
)

// What must never stand in clear in anything that is recorded.
const (
	secretName  = "欧阳修远"
	secretPhone = "13912345678"
	secretText  = "东头第三家漏水"
)

// life makes up commands, by turns sensible and not.
type life struct {
	t        *rapid.T
	cast     map[string]rule.Actor
	actors   []string
	prefix   string
	n        int
	at       time.Time
	tickets  []string
	whistles []string
}

func newLife(t *rapid.T, c *scenario.Corpus, prefix string) *life {
	return &life{t: t, cast: c.Cast, actors: slices.Sorted(maps.Keys(c.Cast)), prefix: prefix, at: scenario.Start}
}

var (
	someUnits      = []string{"320205000000-CG", "320205000000-JT", "320205001000", "320205001001", "320206000000-CG", "320205000000", "no such unit", ""}
	someAreas      = []string{"320205001001", "320205001000", "320206001000", "320200000000", "", "UNLOCATED", "1"}
	someCategories = []string{"0302", "0401", "0603", "0903", "03", "", "9999"}
	commands       = commandTypes()
)

func commandTypes() []protoreflect.MessageType {
	all := []protoreflect.MessageType{(&pb.ImportRecordRequest{}).ProtoReflect().Type()}
	for _, file := range []protoreflect.FileDescriptor{pb.File_chuishao_v1_ticket_proto, pb.File_chuishao_v1_whistle_proto} {
		methods := file.Services().Get(0).Methods()
		for i := range methods.Len() {
			input := methods.Get(i).Input()
			typ, err := protoregistry.GlobalTypes.FindMessageByName(input.FullName())
			if err != nil {
				panic(err)
			}
			if input.Fields().ByName("request_id") != nil {
				all = append(all, typ)
			}
		}
	}
	return all
}

func pick[T any](l *life, label string, of []T) T { return of[l.number(label)%len(of)] }

func (l *life) chance(label string, percent int) bool { return l.number(label)%100 < percent }

// number is a number of ten tosses: each as likely as any other, unlike those that rapid prefers in a range.
func (l *life) number(label string) (n int) {
	for _, heads := range rapid.SliceOfN(rapid.Bool(), 10, 10).Draw(l.t, label) {
		if n *= 2; heads {
			n++
		}
	}
	return n
}

// next is the next command of the life. sensible is what would take a ticket or whistle on; it may be empty.
func (l *life) next(sensible []step) (rule.Actor, proto.Message) {
	l.n++
	l.at = l.at.Add(time.Duration(rapid.IntRange(0, 30*3600).Draw(l.t, "seconds")) * time.Second)
	if len(l.tickets) > 0 && l.chance("aside", 20) {
		if sensible = aside(l.tickets[0]); len(l.tickets) == 1 && l.chance("another", 25) {
			sensible = begin
		}
		for _, another := range l.tickets[1:] {
			p := particulars()
			sensible = append(sensible,
				step{"agent", &pb.AcceptTicketRequest{Name: another, Particulars: p}},
				step{"dispatcher", &pb.MergeTicketRequest{Name: l.tickets[0], Into: another, Particulars: p}},
				step{"dispatcher", &pb.MergeTicketRequest{Name: another, Into: l.tickets[0], Particulars: p}},
				step{"supervisor", &pb.UnmergeTicketRequest{Name: another, Particulars: p}})
		}
	}
	if len(sensible) > 0 && l.chance("sensible", 80) {
		s := pick(l, "step", sensible)
		by, ok := l.cast[s.by]
		if !ok {
			l.t.Fatalf("nobody is called %q", s.by)
		}
		if l.chance("somebody else", 10) {
			by = l.cast[pick(l, "actor", l.actors)]
		}
		m := proto.Clone(s.command)
		l.finish(m.ProtoReflect())
		return by, m
	}
	m := pick(l, "command", commands).New()
	l.fill(m, 0)
	l.finish(m)
	return l.cast[pick(l, "actor", l.actors)], m.Interface()
}

// finish gives a command its request id, now and then one that was used, and its particulars.
func (l *life) finish(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	n := l.n
	if l.chance("old id", 4) {
		n = rapid.IntRange(1, l.n).Draw(l.t, "id")
	}
	m.Set(fields.ByName("request_id"), protoreflect.ValueOfString(fmt.Sprintf("%s/%d", l.prefix, n)))
	if f := fields.ByName("source_ref"); f != nil && m.Has(f) {
		m.Set(f, protoreflect.ValueOfString(l.prefix+m.Get(f).String()))
	}
}

func particulars() *pb.Particulars {
	return &pb.Particulars{
		Title: secretText, Text: secretText, Place: secretText, Cause: secretText, Course: secretText, Reply: secretText, Note: secretText,
		Petitioner: &pb.Petitioner{Name: secretName, Phone: secretPhone, Address: secretText, CallbackWanted: true},
	}
}

// fill sets fields at random, each to something that fits, nearly fits, or is nonsense.
func (l *life) fill(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		name := string(f.Name())
		if name == "etag" || !l.chance(name, 60) {
			if name != "name" && name != "particulars" {
				continue
			}
		}
		n := 1
		if f.IsList() {
			n = rapid.IntRange(0, 3).Draw(l.t, name+"s")
		}
		for range n {
			v, ok := l.value(m, f, depth)
			if !ok {
				continue
			}
			if f.IsList() {
				m.Mutable(f).List().Append(v)
			} else {
				m.Set(f, v)
			}
		}
	}
}

func (l *life) value(m protoreflect.Message, f protoreflect.FieldDescriptor, depth int) (protoreflect.Value, bool) {
	name := string(f.Name())
	switch f.Kind() {
	case protoreflect.StringKind:
		pool := []string{"x", "", strings.Repeat("长", 200)}
		switch name {
		case "into":
			pool = append(l.tickets, "tickets/1")
		case "name":
			if isWhistle(m.Interface()) {
				pool = append(l.whistles, "whistles/1", "")
			} else {
				pool = append(l.tickets, "tickets/1", "tickets/00000000-0000-0000-0000-000000000000")
			}
		case "tickets":
			pool = append(l.tickets, "tickets/00000000-0000-0000-0000-000000000000")
		case "lead", "co", "fallback", "complained_of", "unit", "suggested", "parties", "to":
			pool = someUnits
		case "area", "also_affects":
			pool = someAreas
		case "category":
			pool = someCategories
		case "source_ref":
			pool = []string{"1", "2"}
		}
		return protoreflect.ValueOfString(pick(l, name, slices.Clone(pool))), true
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(rapid.IntRange(0, f.Enum().Values().Len()-1).Draw(l.t, name))), true
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(rapid.Bool().Draw(l.t, name)), true
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(pick(l, name, []uint32{0, 1, 3, 5, 6, 9, 1 << 31})), true
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(rapid.Float64Range(-200, 200).Draw(l.t, name)), true
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte{1, 2, 3}), true
	case protoreflect.MessageKind:
		switch f.Message().Name() {
		case "Timestamp":
			back := pick(l, name, []time.Duration{0, time.Minute, time.Hour, 20 * time.Hour, 80 * time.Hour, -time.Minute, 9e18, -9e18})
			return protoreflect.ValueOfMessage(timestamppb.New(l.at.Add(-back)).ProtoReflect()), true
		case "Particulars":
			return protoreflect.ValueOfMessage(particulars().ProtoReflect()), !l.chance("silent", 30)
		}
		if depth > 2 {
			return protoreflect.Value{}, false
		}
		v := m.NewField(f)
		if f.IsList() {
			v = v.List().NewElement()
		}
		l.fill(v.Message(), depth+1)
		return v, true
	}
	return protoreflect.Value{}, false
}

func (l *life) know(name string) {
	list := &l.tickets
	if strings.HasPrefix(name, "whistles/") {
		list = &l.whistles
	}
	if name != "" && !slices.Contains(*list, name) {
		*list = append(*list, name)
	}
}

// step is a command that fits.
type step struct {
	by      string
	command proto.Message
}

// clerkOf are who acts for units in the cast.
var clerkOf = map[string]string{
	"320205000000-CG": "urban clerk", "320205000000-JT": "traffic clerk", "320205001000": "street clerk", "320205001001": "community clerk",
	"320206000000-CG": "far urban clerk",
}

// onward are steps that would take a ticket on.
func onward(name string, s ticket.State) []step {
	p := particulars()
	clerk, ok := clerkOf[s.Lead]
	if !ok {
		clerk = "urban clerk"
	}
	if s.VoidProposal != nil {
		return []step{{"other duty", &pb.VoidTicketRequest{Name: name, Confirmation: pb.Confirmation_CONFIRMATION_DROP}}}
	}
	if s.DeclineProposal != nil {
		return []step{{"duty", &pb.DeclineTicketRequest{Name: name, Confirmation: pb.Confirmation_CONFIRMATION_DROP}}}
	}
	switch s.State {
	case pb.TicketState_TICKET_STATE_REPORTED:
		return []step{{"agent", &pb.AcceptTicketRequest{Name: name, Particulars: p}}}
	case pb.TicketState_TICKET_STATE_ACCEPTED:
		return []step{{"dispatcher", &pb.TriageTicketRequest{Name: name, Category: "0302"}}}
	case pb.TicketState_TICKET_STATE_TRIAGED:
		return []step{
			{"dispatcher", &pb.DispatchTicketRequest{Name: name, Lead: "320205001000", Co: []string{"320205000000-JT"}}},
			{"dispatcher", &pb.DispatchTicketRequest{Name: name, Lead: "320205000000-CG"}},
		}
	case pb.TicketState_TICKET_STATE_RETURN_REVIEW:
		return []step{
			{"district dispatcher", &pb.DecideReturnRequest{Name: name, Approved: true, Fault: pb.ReturnFault_RETURN_FAULT_DISPATCH_ERROR}},
			{"duty", &pb.DecideReturnRequest{Name: name, Particulars: p}},
		}
	case pb.TicketState_TICKET_STATE_ADJUDICATION:
		return []step{
			{"duty", &pb.RuleAdjudicationRequest{Name: name, Lead: "320205001000", BasisRef: "M-1", Fault: pb.ReturnFault_RETURN_FAULT_FACTS_CHANGED, Particulars: p}},
			{"duty", &pb.RuleAdjudicationRequest{Name: name, Lead: "320205000000-CG", BasisRef: "M-1", Particulars: p}},
		}
	case pb.TicketState_TICKET_STATE_DISPATCHED:
		return []step{{clerk, &pb.SignTicketRequest{Name: name}}}
	case pb.TicketState_TICKET_STATE_HANDLING:
		steps := []step{
			{clerk, &pb.RecordContactRequest{Name: name, Channel: "phone", Reached: true, Particulars: p}},
			{clerk, &pb.SubmitResultRequest{Name: name, Result: pb.ResultCode_RESULT_CODE_RESOLVED, Particulars: p}},
		}
		steps = append(steps, more(name, clerk, s)...)
		if s.Lead == "320205001000" {
			steps = append(steps, step{"street leader", &pb.BlowWhistleRequest{
				Kind: pb.WhistleKind_WHISTLE_KIND_ROUTINE, Tickets: []string{name}, Particulars: p,
				Summons: []*pb.Summons{{Unit: "320205000000-CG"}, {Unit: "320205000000-JT", Optional: true}},
			}})
		}
		return steps
	case pb.TicketState_TICKET_STATE_SUSPENDED:
		return append(more(name, clerk, s), step{clerk, &pb.ResumeTicketRequest{Name: name}}, step{"timer", &pb.RecomputeLimitsRequest{Name: name}})
	case pb.TicketState_TICKET_STATE_RESULT_SUBMITTED:
		return []step{{"supervisor", &pb.VerifyResultRequest{Name: name, Passed: true}}, {"supervisor", &pb.VerifyResultRequest{Name: name}}}
	case pb.TicketState_TICKET_STATE_CALLBACK:
		return []step{
			{"caller", &pb.RecordCallbackRequest{Name: name, Answered: true, Solved: pb.Solved_SOLVED_YES, Particulars: p}},
			{"caller", &pb.RecordCallbackRequest{Name: name}},
			{"dispatcher", &pb.CloseTicketRequest{Name: name}},
		}
	case pb.TicketState_TICKET_STATE_CLOSED:
		return []step{{"supervisor", &pb.ReopenTicketRequest{Name: name, Reason: pb.ReopenReason_REOPEN_REASON_UNSOLVED, Particulars: p}}}
	}
	return nil
}

// more are steps that give a ticket more time.
func more(name, clerk string, s ticket.State) []step {
	p := particulars()
	return []step{
		{clerk, &pb.RequestExtensionRequest{Name: name, Kind: pb.ExtensionKind_EXTENSION_KIND_STANDARD, WorkingDays: 1, Particulars: p}},
		{"duty", &pb.DecideExtensionRequest{Name: name, Granted: true}},
		{clerk, &pb.RequestSuspensionRequest{
			Name: name, Reason: pb.SuspensionReason_SUSPENSION_REASON_FUNDS, ReviewAt: timestamppb.New(s.LastAt.AddDate(0, 0, 30)), Particulars: p,
		}},
		{"supervisor", &pb.DecideSuspensionRequest{Name: name, Granted: true}},
		{"timer", &pb.RecomputeLimitsRequest{Name: name}},
	}
}

// aside are steps that may be taken on the way.
func aside(name string) []step {
	p := particulars()
	return []step{
		{"supervisor", &pb.CorrectTriageRequest{Name: name, Grade: pb.Grade_GRADE_G1, Particulars: p}},
		{"dispatcher", &pb.CorrectTriageRequest{Name: name, Grade: pb.Grade_GRADE_G3, ComplainedOf: "320205001001", Particulars: p}},
		{"dispatcher", &pb.CorrectTriageRequest{Name: name, Area: "320205001002", Confidentiality: pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL, Particulars: p}},
		{"supervisor", &pb.WaiveRequirementRequest{Name: name, What: pb.Requirement_REQUIREMENT_CALLBACK, Particulars: p}},
		{"supervisor", &pb.WaiveRequirementRequest{Name: name, What: pb.Requirement_REQUIREMENT_WHISTLES_CLOSED, Particulars: p}},
		{"supervisor", &pb.WaiveRequirementRequest{Name: name, What: pb.Requirement_REQUIREMENT_CONTACT, Particulars: p}},
		{"urban clerk", &pb.RecordProgressRequest{Name: name, Particulars: p}},
		{"duty", &pb.AdmitLateFactsRequest{Name: name, Unit: "320205000000-CG", NotBefore: timestamppb.New(scenario.Start.Add(60 * time.Hour)), Particulars: p}},
		{"street clerk", &pb.RecordContactRequest{Name: name, Channel: "visit"}},
		{"urban clerk", &pb.RequestReturnRequest{Name: name, Reason: 1, BasisRef: "L-1", Suggested: "320205001000", Particulars: p}},
		{"street clerk", &pb.RequestReturnRequest{Name: name, Reason: 2, BasisRef: "L-2", Suggested: "320205000000-CG", Particulars: p}},
		{"district dispatcher", &pb.OpenAdjudicationRequest{Name: name, Parties: []string{"320205001000", "320205000000-CG"}, Particulars: p}},
		{"urban clerk", &pb.RequestCoHandlerRequest{Name: name, Unit: "320205000000-JT", Mandatory: true, Particulars: p}},
		{"traffic clerk", &pb.AnswerCoHandlingRequest{Name: name, Particulars: p}},
		{"traffic clerk", &pb.SubmitCoTaskRequest{Name: name, Particulars: p}},
		{"district dispatcher", &pb.DecideCoDeclineRequest{Name: name, Unit: "320205000000-JT", Consented: true, Particulars: p}},
		{"street clerk", &pb.DelegateTicketRequest{Name: name, To: "320205001001", Particulars: p}},
		{"community clerk", &pb.EscalateTicketRequest{Name: name, Reason: 1, Particulars: p}},
		{"street dispatcher", &pb.RefuseEscalationRequest{Name: name, Particulars: p}},
		{"agent", &pb.AnswerTicketDirectlyRequest{Name: name, KnowledgeRef: "KB-1", Particulars: p}},
		{"agent", &pb.DeclineTicketRequest{Name: name, Reason: pb.DeclineReason_DECLINE_REASON_UNLAWFUL, Particulars: p}},
		{"duty", &pb.DeclineTicketRequest{Name: name, Confirmation: pb.Confirmation_CONFIRMATION_CONFIRM}},
		{"duty", &pb.VoidTicketRequest{Name: name, Particulars: p}},
		{"other duty", &pb.VoidTicketRequest{Name: name, Confirmation: pb.Confirmation_CONFIRMATION_CONFIRM}},
		{"citizen", &pb.ReopenTicketRequest{Name: name, Reason: pb.ReopenReason_REOPEN_REASON_APPEAL, Particulars: p}},
		{"auditor", &pb.RevealIdentityRequest{Name: name, Purpose: pb.RevealPurpose_REVEAL_PURPOSE_SAFETY}},
		{"citizen", &pb.AppealDeclineRequest{Name: name, Particulars: p}},
		{"supervisor", &pb.OverturnDeclineRequest{Name: name, Particulars: p}},
		{"agent", &pb.HandOverEmergencyRequest{Name: name, Line: pb.EmergencyLine_EMERGENCY_LINE_FIRE, Particulars: p}},
		{"supervisor", &pb.UnmergeTicketRequest{Name: name, Particulars: p}},
		{"agent", &pb.WithdrawTicketRequest{Name: name, Hazard: true, Particulars: p}},
		{"timer", &pb.ArchiveTicketRequest{Name: name}},
		{"auditor", &pb.CorrectArchiveRequest{Name: name, Category: "0401", Particulars: p}},
		{"other auditor", &pb.CorrectArchiveRequest{Name: name, Confirmation: pb.Confirmation_CONFIRMATION_CONFIRM}},
	}
}

// onwardWhistle are steps that would take a whistle on.
func onwardWhistle(name string, s whistle.State) []step {
	here := &pb.LonLat{Lon: 120.3, Lat: 31.6}
	switch s.State {
	case pb.WhistleState_WHISTLE_STATE_DRAFT:
		return []step{{"street director", &pb.BlowWhistleRequest{Name: name}}, {"street secretary", &pb.BlowWhistleRequest{Name: name}}}
	case pb.WhistleState_WHISTLE_STATE_BLOWN:
		return []step{{"dispatcher", &pb.ScreenWhistleRequest{Name: name, Issue: true}}}
	case pb.WhistleState_WHISTLE_STATE_ISSUED, pb.WhistleState_WHISTLE_STATE_WORKING, pb.WhistleState_WHISTLE_STATE_CONVENED:
		var steps []step
		for _, p := range s.Participants {
			clerk, ok := clerkOf[p.Unit]
			switch {
			case !ok:
			case p.ReportedInAt.IsZero():
				steps = append(steps, step{clerk, &pb.ReportInRequest{Name: name, Person: "P", Rank: "R", Position: here}},
					step{clerk, &pb.RequestExcuseRequest{Name: name, Replacement: "320205000000-SC"}}, step{clerk, &pb.RequestExcuseRequest{Name: name, RulingRef: "R"}},
					step{"street clerk", &pb.EndorseExcuseRequest{Name: name, Unit: p.Unit, Endorse: true}},
					step{"dispatcher", &pb.DecideExcuseRequest{Name: name, Unit: p.Unit, Grant: true}})
			case p.TaskDoneAt.IsZero():
				steps = append(steps, step{clerk, &pb.CompleteTaskRequest{Name: name}}, step{clerk, &pb.LeaveWhistleRequest{Name: name}},
					step{"street leader", &pb.WaiveTaskRequest{Name: name, Unit: p.Unit, Reason: "R"}})
			}
		}
		return append(steps, step{"street leader", &pb.ConfirmWhistleRequest{Name: name, Resolved: true}},
			step{"dispatcher", &pb.AddParticipantRequest{Name: name, Summons: &pb.Summons{Unit: "320206000000-CG"}}},
			step{"grid worker", &pb.JoinWhistleRequest{Name: name, Person: "P"}},
			step{"street leader", &pb.RaiseWhistleRequest{Name: name}}, step{"street leader", &pb.CancelWhistleRequest{Name: name, Reason: "R"}})
	case pb.WhistleState_WHISTLE_STATE_CONFIRMED, pb.WhistleState_WHISTLE_STATE_RATED:
		steps := []step{{"street clerk", &pb.CloseWhistleRequest{Name: name}}}
		for _, p := range s.Participants {
			steps = append(steps,
				step{"street clerk", &pb.RateUnitRequest{Name: name, Unit: p.Unit, Response: 3, Cooperation: 3, Result: 3}},
				step{"community clerk", &pb.RateUnitRequest{Name: name, Unit: p.Unit, Response: 3, Cooperation: 3, Result: 3}},
				step{"street clerk", &pb.ReleaseParticipantRequest{Name: name, Unit: p.Unit}})
		}
		return steps
	}
	return nil
}

// begin is what a life begins with.
var begin = []step{{"agent", &pb.ReportTicketRequest{
	Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_HELP, Area: "320205001001", Particulars: particulars(),
}}}

func TestWhateverIsCommandedTheRulesOnlyRefuseAndKeepTheirInvariants(t *testing.T) {
	t.Parallel()
	c := load(t)
	rapid.Check(t, func(t *rapid.T) {
		l, p := newLife(t, c, "life"), newRules()
		for range rapid.IntRange(20, 60).Draw(t, "steps") {
			sensible := begin
			if len(l.tickets) > 0 {
				sensible = onward(l.tickets[0], p.tickets[l.tickets[0]])
			}
			if len(l.whistles) > 0 {
				last := l.whistles[len(l.whistles)-1]
				sensible = append(slices.Clone(sensible), onwardWhistle(last, p.whistles[last])...)
			}
			by, command := l.next(sensible)
			out, err := p.Do(t.Context(), l.at, by, command)
			if refused := new(rule.Refusal); err != nil && !errors.As(err, &refused) {
				t.Fatalf("%T %v: %v", command, command, err)
			}
			l.know(out.Name)
		}
	})
}

func TestWhateverIsCommandedTheHistoryIsWhatWasDecided(t *testing.T) {
	t.Parallel()
	c := load(t)
	var cities []*dispatchtest.City
	for _, kind := range stores.Each(t) {
		cities = append(cities, dispatchtest.OpenOn(t, kind.Open(t)))
	}
	lives := make([]int, len(cities))
	rapid.Check(t, func(t *rapid.T) {
		l := newLife(t, c, "")
		// A few on each store, most on the embedded one.
		where := max(l.number("store")%(3+len(cities))-3, 0)
		lives[where]++
		city := cities[where]
		l.prefix = fmt.Sprint("life ", lives[where])
		p := &written{city}
		for range rapid.IntRange(10, 25).Draw(t, "steps") {
			sensible := begin
			if len(l.tickets) > 0 {
				s, _, err := city.LoadTicket(t.Context(), l.tickets[0])
				if err != nil {
					t.Fatal(err)
				}
				sensible = onward(l.tickets[0], s)
			}
			if len(l.whistles) > 0 {
				last := l.whistles[len(l.whistles)-1]
				s, _, err := city.LoadWhistle(t.Context(), last)
				if err != nil {
					t.Fatal(err)
				}
				sensible = append(slices.Clone(sensible), onwardWhistle(last, s)...)
			}
			by, command := l.next(sensible)
			before, notes := streamOf(command, city), 0
			if before != "" {
				notes = length(t, city, "audit-"+dispatch.ID(before))
			}
			events := length(t, city, before)
			out, err := p.Do(t.Context(), l.at, by, command)
			refused, conflict := new(rule.Refusal), new(eventstore.ConflictError)
			switch {
			case errors.As(err, &refused):
				if now := length(t, city, before); now != events {
					t.Fatalf("%T was refused and recorded %d events", command, now-events)
				}
				if events > 0 && noted(refused) && length(t, city, "audit-"+dispatch.ID(before)) == notes && !again(t, city, before, command) {
					t.Fatalf("%T was refused with %v, which was not noted", command, refused)
				}
				continue
			case errors.As(err, &conflict):
				continue
			case err != nil:
				t.Fatalf("%T %v: %v", command, command, err)
			}
			l.know(out.Name)
			after := length(t, city, streamOf(&pb.SignTicketRequest{Name: out.Name}, city))
			if _, reveal := command.(*pb.RevealIdentityRequest); reveal {
				continue
			}
			repeated, err := p.Do(t.Context(), l.at.Add(time.Second), by, command)
			if err != nil || !repeated.Repeated || repeated.Name != out.Name {
				t.Fatalf("%T again: got %+v, %v", command, repeated, err)
			}
			if now := length(t, city, streamOf(&pb.SignTicketRequest{Name: out.Name}, city)); now != after {
				t.Fatalf("%T again recorded %d events more", command, now-after)
			}
		}
		for _, name := range l.tickets {
			s, r, err := city.LoadTicket(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			read := refold(t, city, r.Stream, ticket.State{}, ticket.Evolve, ticket.CheckInvariants)
			if got, want := fmt.Sprintf("%+v", s), fmt.Sprintf("%+v", read); got != want {
				t.Fatalf("decided %s\nread %s", got, want)
			}
		}
		for _, name := range l.whistles {
			s, r, err := city.LoadWhistle(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			read := refold(t, city, r.Stream, whistle.State{}, whistle.Evolve, whistle.CheckInvariants)
			if got, want := s.Message(""), read.Message(""); !proto.Equal(got, want) {
				t.Fatalf("decided %v\nread %v", got, want)
			}
		}
	})
	lived := map[string]int{}
	for where, city := range cities {
		if lives[where] == 0 {
			t.Errorf("no life was lived on one of the stores: %v", lives)
		}
		for r, err := range city.Store.ReadAll(t.Context(), 0) {
			if err != nil {
				t.Fatal(err)
			}
			lived[r.Type]++
			for _, secret := range []string{secretName, secretPhone, secretText} {
				if bytes.Contains(r.Data, []byte(secret)) || bytes.Contains(r.Meta, []byte(secret)) {
					t.Fatalf("%s@%d holds %q in clear", r.Stream, r.Version, secret)
				}
			}
		}
	}
	for _, typ := range []string{"TicketSigned", "WhistleIssued", "CommandRefused"} {
		if lived[typ] == 0 {
			t.Errorf("no life came as far as %s: %v", typ, lived)
		}
	}
}

// noted says whether a refusal is one of a rule, which is noted; what is wrong with a request as such is not.
func noted(r *rule.Refusal) bool {
	switch r.Reason {
	case rule.NotFound, rule.RequestIDReused, rule.InvalidName, rule.InvalidRequestID, rule.MalformedMessage:
		return false
	}
	return r.Field != "particulars" && !strings.HasPrefix(r.Field, "tickets[")
}

// again says whether a command's refusal was noted before.
func again(t *rapid.T, city *dispatchtest.City, stream string, command proto.Message) bool {
	id := command.(interface{ GetRequestId() string }).GetRequestId()
	for r, err := range city.Store.ReadStream(t.Context(), "audit-"+dispatch.ID(stream), 0) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := event.Decode(r)
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := e.Event.(*pb.CommandRefused); ok && c.RequestId == id {
			return true
		}
	}
	return false
}

// streamOf is the stream of a command that names one; empty if it names none that is there.
func streamOf(command proto.Message, _ *dispatchtest.City) string {
	c, ok := command.(interface{ GetName() string })
	if !ok {
		return ""
	}
	for _, collection := range []string{"tickets", "whistles"} {
		if s, err := dispatch.Stream(c.GetName(), collection); err == nil {
			if isWhistle(command) == (collection == "whistles") || command.ProtoReflect().Descriptor().Name() == "SignTicketRequest" {
				return s
			}
		}
	}
	return ""
}

func length(t *rapid.T, city *dispatchtest.City, stream string) int {
	n := 0
	if stream == "" {
		return 0
	}
	for _, err := range city.Store.ReadStream(t.Context(), stream, 0) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// refold reads a stream from its beginning, proves its chain and checks what must hold of each event.
func refold[S any](t *rapid.T, city *dispatchtest.City, stream string, s S, evolve func(S, *pb.EventMeta, proto.Message) (S, error),
	check func(before, after S, meta *pb.EventMeta, event proto.Message) error) S {
	var prev event.Hash
	for r, err := range city.Store.ReadStream(t.Context(), stream, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if prev, err = event.Verify(prev, &r); err != nil {
			t.Fatal(err)
		}
		e, err := event.Decode(r)
		if err != nil {
			t.Fatal(err)
		}
		before := s
		if s, err = evolve(s, e.Meta, e.Event); err != nil {
			t.Fatal(err)
		}
		if err := check(before, s, e.Meta, e.Event); err != nil {
			t.Fatalf("%s@%d: %v", r.Stream, r.Version, err)
		}
	}
	return s
}

// FuzzDecide: whatever bytes come as a command, in whatever state, the rules refuse it or decide what keeps the invariants.
func FuzzDecide(f *testing.F) {
	c, err := scenario.Load()
	if err != nil {
		f.Fatal(err)
	}
	casts := slices.Sorted(maps.Keys(c.Cast))
	for i, typ := range commands {
		m := typ.New()
		if p := m.Descriptor().Fields().ByName("particulars"); p != nil {
			m.Set(p, protoreflect.ValueOfMessage(particulars().ProtoReflect()))
		}
		body, err := proto.Marshal(m.Interface())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), uint8(i), uint8(i), body)
	}
	f.Fuzz(func(t *testing.T, which, who, state uint8, body []byte) {
		command := commands[int(which)%len(commands)].New().Interface()
		if proto.Unmarshal(body, command) != nil {
			return
		}
		p := newRules()
		n := pb.TicketState(int(state) % len(pb.TicketState_name))
		name := ""
		if c, ok := command.(interface{ GetName() string }); ok {
			name = c.GetName()
		}
		// A state that could not be reached keeps no invariants: only those of a ticket that lived.
		at := scenario.Start
		for range 20 {
			s := p.tickets[name]
			if s.State == n || name == "" || isWhistle(command) {
				break
			}
			next := onward(name, s)
			if !s.Exists() {
				a := &rule.Asked{Actor: c.Cast["agent"], At: at, OccurredAt: at, Registry: snapshot(), Sealed: &pb.Sealed{Subject: "s"}}
				a.Calendar, a.Profile = calendarAndProfile()
				if _, err := p.decideTicket(a, name, begin[0].command); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if len(next) == 0 {
				break
			}
			stuck := true
			for _, step := range next {
				at = at.Add(time.Minute)
				if _, err := p.Do(t.Context(), at, c.Cast[step.by], step.command); err == nil && p.tickets[name].State != s.State {
					stuck = false
					break
				}
			}
			if stuck {
				break
			}
		}
		_, err := p.Do(t.Context(), at.Add(time.Minute), c.Cast[casts[int(who)%len(casts)]], command)
		if refused := new(rule.Refusal); err != nil && !errors.As(err, &refused) {
			t.Fatalf("%T %v: %v", command, command, err)
		}
	})
}
