// Package lives makes up lives of tickets: what somebody would do next to a ticket as it is, most of it right, some of it wrong. A seed
// gives the same life again. Property tests and the simulation of a year draw from it.
package lives

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/ticket"
)

// World is the city that lives are led in: what of a registry is drawn from.
type World struct {
	registry   *registry.Snapshot
	centre     string // the root of the units
	audit      string
	categories []string
	areas      []string            // where matters lie
	leads      map[string][]string // departments and utilities by the area they are anchored at
	below      map[string][]string // the territorial units of the areas right below an area
	root       string              // the code of the city's area
	at         time.Time
}

// New draws a world from a registry as it is at an instant.
func New(s *registry.Snapshot, at time.Time) (*World, error) {
	w := &World{registry: s, leads: map[string][]string{}, below: map[string][]string{}, at: at}
	parents := map[string]bool{}
	for _, c := range s.Categories() {
		parents[c.Parent] = true
	}
	for _, c := range s.Categories() {
		if _, ok := s.Category(c.Code, at); ok && !parents[c.Code] && c.Grade != pb.Grade_GRADE_UNSPECIFIED && c.Object != pb.MatterObject_MATTER_OBJECT_INCIDENT {
			w.categories = append(w.categories, c.Code)
		}
	}
	for _, a := range s.Areas() {
		if _, ok := s.Area(a.Code, at); !ok {
			continue
		}
		if a.Parent == "" {
			w.root = a.Code
		}
		if u, ok := s.Responsible(a.Code, at); ok && u.Area == a.Code {
			w.below[a.Parent] = append(w.below[a.Parent], u.Code)
		}
		if s.Rank(a.Level) >= 3 {
			w.areas = append(w.areas, a.Code)
		}
	}
	for _, u := range s.Units() {
		if _, ok := s.Unit(u.Code, at); !ok {
			continue
		}
		switch {
		case u.Parent == "":
			w.centre = u.Code
		case u.Kind == pb.UnitKind_UNIT_KIND_OFFICE:
			w.audit = u.Code
		case u.Kind == pb.UnitKind_UNIT_KIND_DEPARTMENT, u.Kind == pb.UnitKind_UNIT_KIND_UTILITY:
			w.leads[u.Area] = append(w.leads[u.Area], u.Code)
		}
	}
	if w.centre == "" || len(w.categories) == 0 || len(w.areas) == 0 {
		return nil, fmt.Errorf("the registry has no unit, category or area to draw from")
	}
	return w, nil
}

// Step is a command and who gives it.
type Step struct {
	By      rule.Actor
	Command proto.Message
	// After is how long people take before it.
	After time.Duration
}

// Life is what is drawn for one ticket.
type Life struct {
	*rand.Rand
	World *World
	Name  string // "tickets/{ticket}"; empty before the report
	// Others are tickets of the same city, to merge into.
	Others func(r *rand.Rand) string

	n  int
	id string
}

// Live begins a life. The id is the first part of its request ids.
func (w *World) Live(id string, seed uint64) *Life {
	return &Life{Rand: rand.New(rand.NewPCG(seed, 12345)), World: w, id: id, Others: func(*rand.Rand) string { return "" }}
}

func (l *Life) chance(p float64) bool { return l.Float64() < p }

func pick[T any](l *Life, of ...T) T { return of[l.IntN(len(of))] }

func (l *Life) request() string {
	l.n++
	return fmt.Sprintf("%s/%d", l.id, l.n)
}

func (l *Life) as(unit string, role pb.Role) rule.Actor {
	return rule.Actor{Person: fmt.Sprintf("%s/%s", unit, role), Roles: []pb.Role{role}, Unit: unit}
}

func (l *Life) second(unit string, role pb.Role) rule.Actor {
	a := l.as(unit, role)
	a.Person += "/2"
	return a
}

func (l *Life) centre(role pb.Role) rule.Actor { return l.as(l.World.centre, role) }

// clerk is somebody of a unit who acts for it.
func (l *Life) clerk(unit string) rule.Actor { return l.as(unit, pb.Role_ROLE_STREET_CLERK) }

func (l *Life) head(unit string) rule.Actor { return l.as(unit, pb.Role_ROLE_DEPARTMENT_HEAD) }

// hours is a time that people take, of a mean in hours.
func (l *Life) hours(mean float64) time.Duration {
	return time.Duration(min(l.ExpFloat64(), 8) * mean * float64(time.Hour)).Truncate(time.Second)
}

// Secrets are words that petitioners say in every report.
var Secrets = []string{petitioner, said}

const petitioner, said = "王小明", "路灯三天不亮"

// Report brings a matter in.
func (l *Life) Report() Step {
	w := l.World
	c := &pb.ReportTicketRequest{
		RequestId: l.request(), Area: pick(l, w.areas...), Category: pick(l, w.categories...),
		Kind:    pick(l, pb.MatterKind_MATTER_KIND_HELP, pb.MatterKind_MATTER_KIND_COMPLAINT, pb.MatterKind_MATTER_KIND_CONSULT, pb.MatterKind_MATTER_KIND_TIP_OFF, pb.MatterKind_MATTER_KIND_SUGGESTION),
		Channel: pick(l, pb.Channel_CHANNEL_HOTLINE, pb.Channel_CHANNEL_WEB, pb.Channel_CHANNEL_GRID),
		Source:  "hotline", SourceRef: l.id,
	}
	if l.chance(0.1) {
		c.Area = ""
	}
	c.Particulars = &pb.Particulars{Title: "路灯不亮", Text: said, Place: "春笋中路", Cause: "线路老化", Course: "三天前开始"}
	if l.chance(0.85) {
		c.Particulars.Petitioner = &pb.Petitioner{Name: petitioner, Phone: fmt.Sprintf("139%08d", l.IntN(50_000)), CallbackWanted: l.chance(0.9)}
	}
	if l.chance(0.03) {
		c.Confidentiality = pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL
	}
	if l.chance(0.05) { // from a problem wall, which this system reports
		c.Source, c.Channel = ticket.Wall, pb.Channel_CHANNEL_WALL
		return Step{l.centre(pb.Role_ROLE_SYSTEM), c, 0}
	}
	return Step{l.centre(pb.Role_ROLE_AGENT), c, 0}
}

// Next is what somebody does next to the ticket; ok is false where nobody does anything more.
func (l *Life) Next(s *ticket.State, now time.Time) (step Step, ok bool) {
	if !s.Exists() {
		return l.Report(), true
	}
	if s.DeclineProposal != nil || s.VoidProposal != nil || s.Correction != nil {
		return l.confirm(s), true
	}
	if s.Open() && l.chance(0.06) {
		if step, ok := l.aside(s, now); ok {
			return step, true
		}
	}
	switch s.State {
	case pb.TicketState_TICKET_STATE_REPORTED:
		return l.reported(s), true
	case pb.TicketState_TICKET_STATE_ACCEPTED:
		return l.accepted(s), true
	case pb.TicketState_TICKET_STATE_TRIAGED:
		return l.triaged(s), true
	case pb.TicketState_TICKET_STATE_DISPATCHED:
		return l.dispatched(s), true
	case pb.TicketState_TICKET_STATE_HANDLING:
		return l.handling(s, now), true
	case pb.TicketState_TICKET_STATE_RETURN_REVIEW:
		return l.review(), true
	case pb.TicketState_TICKET_STATE_ADJUDICATION:
		return l.ruling(s), true
	case pb.TicketState_TICKET_STATE_SUSPENDED:
		return l.suspended(s, now), true
	case pb.TicketState_TICKET_STATE_RESULT_SUBMITTED:
		return l.submitted(), true
	case pb.TicketState_TICKET_STATE_CALLBACK:
		return l.callback(s), true
	case pb.TicketState_TICKET_STATE_CLOSED:
		return l.closed(s)
	case pb.TicketState_TICKET_STATE_DECLINED:
		return l.declined(s)
	case pb.TicketState_TICKET_STATE_MERGED:
		return l.merged()
	case pb.TicketState_TICKET_STATE_ARCHIVED:
		return l.archived()
	}
	return Step{}, false
}

func note() *pb.Particulars { return &pb.Particulars{Note: "依据记录"} }

func text() *pb.Particulars { return &pb.Particulars{Text: "情况属实", Reply: "已告知"} }

// confirm is a second person's word.
func (l *Life) confirm(s *ticket.State) Step {
	word := pb.Confirmation_CONFIRMATION_CONFIRM
	if l.chance(0.4) {
		word = pb.Confirmation_CONFIRMATION_DROP
	}
	switch {
	case s.DeclineProposal != nil:
		return Step{l.centre(pb.Role_ROLE_DUTY_LEADER), &pb.DeclineTicketRequest{Name: l.Name, RequestId: l.request(), Confirmation: word}, l.hours(0.5)}
	case s.VoidProposal != nil:
		return Step{l.second(l.World.centre, pb.Role_ROLE_DUTY_LEADER), &pb.VoidTicketRequest{Name: l.Name, RequestId: l.request(), Confirmation: word}, l.hours(0.5)}
	}
	return Step{l.second(l.World.audit, pb.Role_ROLE_AUDITOR), &pb.CorrectArchiveRequest{Name: l.Name, RequestId: l.request(), Confirmation: word}, l.hours(20)}
}

// aside is what happens beside the way: urging, supervision, withdrawing, what nobody should have tried.
func (l *Life) aside(s *ticket.State, now time.Time) (Step, bool) {
	after := l.hours(3)
	switch l.IntN(14) {
	case 0, 1, 2, 3:
		return Step{l.centre(pb.Role_ROLE_AGENT), &pb.UrgeTicketRequest{Name: l.Name, RequestId: l.request()}, after}, true
	case 4, 5:
		c := &pb.RaiseSupervisionRequest{Name: l.Name, RequestId: l.request(), Level: min(s.Supervision+1, 4), Particulars: note()}
		if c.Level == 3 && l.chance(0.5) {
			c.ClearBy = timestamppb.New(now.AddDate(0, 0, 10))
		}
		return Step{l.centre(pb.Role_ROLE_SUPERVISOR), c, after}, true
	case 6:
		return Step{l.centre(pb.Role_ROLE_SUPERVISOR), &pb.LiftSupervisionRequest{Name: l.Name, RequestId: l.request(), Particulars: note()}, after}, true
	case 7:
		return Step{l.centre(pb.Role_ROLE_AGENT), &pb.WithdrawTicketRequest{Name: l.Name, RequestId: l.request(), PrivateBenefit: true, Hazard: l.chance(0.3), Particulars: text()}, after}, true
	case 8:
		return Step{l.centre(pb.Role_ROLE_SUPERVISOR), &pb.WaiveRequirementRequest{
			Name: l.Name, RequestId: l.request(), Particulars: note(),
			What: pick(l, pb.Requirement_REQUIREMENT_CONTACT, pb.Requirement_REQUIREMENT_CALLBACK, pb.Requirement_REQUIREMENT_CO_TASKS),
		}, after}, true
	case 9, 10:
		return Step{l.centre(pb.Role_ROLE_DISPATCHER), &pb.CorrectTriageRequest{
			Name: l.Name, RequestId: l.request(), Particulars: note(), Category: pick(l, l.World.categories...), Area: pick(l, l.World.areas...),
		}, after}, true
	case 11:
		return Step{l.centre(pb.Role_ROLE_SUPERVISOR), &pb.RevealIdentityRequest{Name: l.Name, RequestId: l.request(), Purpose: pb.RevealPurpose_REVEAL_PURPOSE_CALLBACK}, after}, true
	case 12:
		return Step{l.centre(pb.Role_ROLE_DUTY_LEADER), &pb.AdmitLateFactsRequest{
			Name: l.Name, RequestId: l.request(), Unit: s.Lead, NotBefore: timestamppb.New(s.DispatchedAt.Add(time.Hour)), Particulars: note(),
		}, after}, s.Lead != ""
	}
	return l.wrong(), true
}

// wrong is what somebody tries who should not.
func (l *Life) wrong() Step {
	by := pick(l, l.centre(pb.Role_ROLE_CITIZEN), l.centre(pb.Role_ROLE_AUDITOR), l.clerk(pick(l, l.World.areas...)), l.centre(pb.Role_ROLE_CALLER))
	name, id := l.Name, l.request()
	return Step{by, pick[proto.Message](l,
		&pb.DispatchTicketRequest{Name: name, RequestId: id, Lead: l.World.centre},
		&pb.CloseTicketRequest{Name: name, RequestId: id},
		&pb.DecideSuspensionRequest{Name: name, RequestId: id, Granted: true},
		&pb.RuleAdjudicationRequest{Name: name, RequestId: id},
		&pb.ArchiveTicketRequest{Name: name, RequestId: id},
		&pb.SubmitResultRequest{Name: name, RequestId: id, Result: pb.ResultCode_RESULT_CODE_RESOLVED},
		&pb.VerifyResultRequest{Name: name, RequestId: id, Passed: true},
		&pb.DecideExclusionRequest{Name: name, RequestId: id, Granted: true},
		&pb.PassTimerRequest{Name: name, RequestId: id, Timer: pb.TicketTimer_TICKET_TIMER_HANDLE},
		&pb.MoveHolderRequest{Name: name, RequestId: id},
	), l.hours(1)}
}

func (l *Life) reported(s *ticket.State) Step {
	agent := l.centre(pb.Role_ROLE_AGENT)
	switch x := l.Float64(); {
	case x < 0.03:
		return Step{agent, &pb.DeclineTicketRequest{Name: l.Name, RequestId: l.request(), Reason: pb.DeclineReason_DECLINE_REASON_PRIVATE_MATTER, Particulars: text()}, l.hours(0.3)}
	case x < 0.04:
		return Step{l.centre(pb.Role_ROLE_DUTY_LEADER), &pb.VoidTicketRequest{Name: l.Name, RequestId: l.request(), Particulars: note()}, l.hours(0.3)}
	case x < 0.05 && len(s.HandedOver) == 0:
		return Step{agent, &pb.HandOverEmergencyRequest{Name: l.Name, RequestId: l.request(), Line: pb.EmergencyLine_EMERGENCY_LINE_FIRE, Ref: "119-7"}, l.hours(0.1)}
	}
	c := &pb.AcceptTicketRequest{Name: l.Name, RequestId: l.request()}
	return Step{agent, c, l.hours(0.5)}
}

func (l *Life) accepted(s *ticket.State) Step {
	switch x := l.Float64(); {
	case x < 0.10 && (s.Kind == pb.MatterKind_MATTER_KIND_CONSULT || s.Kind == pb.MatterKind_MATTER_KIND_SUGGESTION):
		return Step{l.centre(pb.Role_ROLE_AGENT), &pb.AnswerTicketDirectlyRequest{Name: l.Name, RequestId: l.request(), KnowledgeRef: "KB-1", Particulars: text()}, l.hours(0.2)}
	case x < 0.14:
		if step, ok := l.merge(); ok {
			return step
		}
	}
	c := &pb.TriageTicketRequest{Name: l.Name, RequestId: l.request(), Category: pick(l, l.World.categories...)}
	if x := l.Float64(); x < 0.12 {
		c.Grade = pick(l, pb.Grade_GRADE_G1, pb.Grade_GRADE_G2, pb.Grade_GRADE_G3, pb.Grade_GRADE_CONSULT)
	}
	if l.chance(0.5) {
		c.Fallback = l.lead(s)
	}
	return Step{l.centre(pb.Role_ROLE_DISPATCHER), c, l.hours(1)}
}

func (l *Life) merge() (Step, bool) {
	into := l.Others(l.Rand)
	if into == "" || into == l.Name {
		return Step{}, false
	}
	return Step{l.centre(pb.Role_ROLE_DISPATCHER), &pb.MergeTicketRequest{Name: l.Name, RequestId: l.request(), Into: into}, l.hours(1)}, true
}

// lead is a unit that could lead: a department of the ticket's district or city, or its street or community.
func (l *Life) lead(s *ticket.State) string {
	w := l.World
	if len(s.Path) > 1 && l.chance(0.8) {
		if of := w.leads[s.Path[1].Code]; len(of) > 0 && l.chance(0.6) {
			return pick(l, of...)
		}
		if u, ok := w.registry.Responsible(s.Path[min(2+l.IntN(2), len(s.Path)-1)].Code, w.at); ok {
			return u.Code
		}
	}
	return pick(l, w.leads[w.root]...)
}

func (l *Life) triaged(s *ticket.State) Step {
	dispatcher := l.centre(pb.Role_ROLE_DISPATCHER)
	switch x := l.Float64(); {
	case x < 0.04 || s.Returns >= 2:
		return Step{dispatcher, &pb.OpenAdjudicationRequest{Name: l.Name, RequestId: l.request(), Parties: l.parties(s), Particulars: note()}, l.hours(1)}
	case x < 0.07:
		if step, ok := l.merge(); ok {
			return step
		}
	case x < 0.12:
		if to := l.below(s.Holder); to != "" {
			return Step{dispatcher, &pb.DelegateTicketRequest{Name: l.Name, RequestId: l.request(), To: to}, l.hours(1)}
		}
	case x < 0.13:
		return Step{l.centre(pb.Role_ROLE_DUTY_LEADER), &pb.VoidTicketRequest{Name: l.Name, RequestId: l.request(), Particulars: note()}, l.hours(1)}
	case x < 0.6 && s.OnWall():
		if u, ok := l.World.registry.Responsible(s.Path[len(s.Path)-1].Code, l.World.at); ok {
			return Step{l.as(u.Code, pb.Role_ROLE_COMMUNITY_SECRETARY), &pb.ClaimTicketRequest{Name: l.Name, RequestId: l.request(), SecretaryOwned: true, AsCo: l.chance(0.2)}, l.hours(1)}
		}
	}
	c := &pb.DispatchTicketRequest{Name: l.Name, RequestId: l.request(), Lead: l.lead(s), BasisRule: uint32(l.IntN(9))}
	if l.chance(0.15) {
		if co := l.lead(s); co != c.Lead {
			c.Co = []string{co}
		}
	}
	return Step{dispatcher, c, l.hours(1.5)}
}

func (l *Life) parties(s *ticket.State) []string {
	parties := slices.Clone(s.Led)
	for len(parties) < 2 {
		if u := l.lead(s); !slices.Contains(parties, u) {
			parties = append(parties, u)
		}
	}
	return parties
}

// below is a territorial unit one level below another; empty if there is none.
func (l *Life) below(unit string) string {
	u, ok := l.World.registry.Unit(unit, l.World.at)
	if !ok || len(l.World.below[u.Area]) == 0 {
		return ""
	}
	return pick(l, l.World.below[u.Area]...)
}

func (l *Life) returns(s *ticket.State) *pb.RequestReturnRequest {
	return &pb.RequestReturnRequest{
		Name: l.Name, RequestId: l.request(), BasisRef: "list-12", Particulars: text(), Suggested: l.lead(s),
		Reason: pick(l, pb.ReturnReason_RETURN_REASON_NOT_OUR_DUTY, pb.ReturnReason_RETURN_REASON_NOT_OUR_AREA, pb.ReturnReason_RETURN_REASON_NO_POWER),
	}
}

func (l *Life) dispatched(s *ticket.State) Step {
	clerk := l.clerk(s.Lead)
	switch x := l.Float64(); {
	case len(s.Moves) > 0 && s.Moves[len(s.Moves)-1].To == s.Lead && x < 0.3:
		return Step{l.centre(pb.Role_ROLE_DISPATCHER), &pb.RefuseEscalationRequest{Name: l.Name, RequestId: l.request(), Particulars: note()}, l.hours(1)}
	case x < 0.10 && !s.NonReturnable:
		return Step{clerk, l.returns(s), l.hours(2)}
	case x < 0.15:
		return Step{clerk, &pb.RecordContactRequest{Name: l.Name, RequestId: l.request(), Channel: "phone", Reached: true}, l.hours(1)}
	}
	return Step{clerk, &pb.SignTicketRequest{Name: l.Name, RequestId: l.request()}, l.hours(2)}
}

func (l *Life) handling(s *ticket.State, now time.Time) Step {
	clerk, id := l.clerk(s.Lead), l.request()
	if s.Extension != nil && l.chance(0.7) {
		by := l.centre(pb.Role_ROLE_DUTY_LEADER)
		if s.Extension.Kind == pb.ExtensionKind_EXTENSION_KIND_ENGINEERING || s.Extension.Number > 1 {
			by = l.centre(pb.Role_ROLE_SUPERVISOR)
		}
		return Step{by, &pb.DecideExtensionRequest{Name: l.Name, RequestId: id, Granted: l.chance(0.8), Particulars: note()}, l.hours(2)}
	}
	if s.Suspension != nil && l.chance(0.8) {
		return Step{l.centre(pb.Role_ROLE_SUPERVISOR), &pb.DecideSuspensionRequest{Name: l.Name, RequestId: id, Granted: l.chance(0.8), Particulars: note()}, l.hours(3)}
	}
	for _, t := range s.CoTasks {
		switch {
		case t.State == pb.CoTaskState_CO_TASK_STATE_REQUESTED && l.chance(0.7):
			if l.chance(0.7) {
				return Step{l.clerk(t.Unit), &pb.AnswerCoHandlingRequest{Name: l.Name, RequestId: id, Accepted: true}, l.hours(2)}
			}
			return Step{l.clerk(t.Unit), &pb.AnswerCoHandlingRequest{Name: l.Name, RequestId: id, Particulars: note()}, l.hours(2)}
		case t.State == pb.CoTaskState_CO_TASK_STATE_DECLINE_PROPOSED && l.chance(0.8):
			return Step{l.centre(pb.Role_ROLE_DISPATCHER), &pb.DecideCoDeclineRequest{Name: l.Name, RequestId: id, Unit: t.Unit, Consented: l.chance(0.5), Particulars: note()}, l.hours(2)}
		case t.State == pb.CoTaskState_CO_TASK_STATE_ACCEPTED && l.chance(0.7):
			return Step{l.clerk(t.Unit), &pb.SubmitCoTaskRequest{Name: l.Name, RequestId: id, Particulars: text()}, l.hours(8)}
		}
	}
	if s.Listed && l.chance(0.8) {
		return l.listed(s, now)
	}
	if s.Supervision >= 2 && l.chance(0.2) {
		return Step{clerk, &pb.ReplySupervisionRequest{Name: l.Name, RequestId: id, Kind: pb.SupervisionReplyKind_SUPERVISION_REPLY_KIND_REPLY, Particulars: text()}, l.hours(4)}
	}
	if !s.Contacted && !s.Anonymous && s.FailedContacts < 3 && l.chance(0.95) {
		return Step{clerk, &pb.RecordContactRequest{Name: l.Name, RequestId: id, Channel: "phone", Reached: l.chance(0.8)}, l.hours(3)}
	}
	if street := l.streetAbove(s.Lead); street != "" {
		community := l.as(s.Lead, pb.Role_ROLE_COMMUNITY_SECRETARY)
		switch {
		case s.WhistleAsked != nil && l.chance(0.6):
			return Step{l.as(street, pb.Role_ROLE_STREET_LEADER), &pb.DeclineWhistleAskRequest{Name: l.Name, RequestId: id, Reason: "WITHIN_OWN_AUTHORITY"}, l.hours(3)}
		case l.chance(0.05): // also where it was asked already, which is refused
			return Step{community, &pb.AskWhistleRequest{Name: l.Name, RequestId: id, Kind: pb.WhistleKind_WHISTLE_KIND_ROUTINE, Particulars: text()}, l.hours(4)}
		}
	}
	switch x := l.Float64(); {
	case x < 0.12:
		c := &pb.RecordProgressRequest{Name: l.Name, RequestId: id, Particulars: text()}
		if n := len(s.Late); n > 0 {
			c.OccurredAt = timestamppb.New(s.Late[n-1].NotBefore)
		}
		return Step{clerk, c, l.hours(10)}
	case x < 0.16:
		return Step{clerk, &pb.RequestCoHandlerRequest{Name: l.Name, RequestId: id, Unit: l.lead(s), Mandatory: l.chance(0.5), Particulars: text()}, l.hours(4)}
	case x < 0.20:
		return Step{l.head(s.Lead), &pb.RequestExtensionRequest{
			Name: l.Name, RequestId: id, WorkingDays: uint32(1 + l.IntN(4)), Particulars: text(),
			Kind: pick(l, pb.ExtensionKind_EXTENSION_KIND_STANDARD, pb.ExtensionKind_EXTENSION_KIND_STANDARD, pb.ExtensionKind_EXTENSION_KIND_ENGINEERING),
		}, l.hours(6)}
	case x < 0.23:
		return l.suspension(clerk, id, now)
	case x < 0.26:
		return Step{clerk, &pb.EscalateTicketRequest{Name: l.Name, RequestId: id, Reason: pb.EscalationReason_ESCALATION_REASON_RESOURCES, Particulars: note()}, l.hours(6)}
	case x < 0.28:
		if to := l.below(s.Lead); to != "" {
			return Step{clerk, &pb.DelegateTicketRequest{Name: l.Name, RequestId: id, To: to}, l.hours(3)}
		}
	case x < 0.30 && !s.NonReturnable:
		return Step{clerk, l.returns(s), l.hours(1)}
	case x < 0.31:
		return Step{l.centre(pb.Role_ROLE_DISPATCHER), &pb.OpenAdjudicationRequest{Name: l.Name, RequestId: id, Parties: l.parties(s), Particulars: note()}, l.hours(3)}
	}
	c := &pb.SubmitResultRequest{
		Name: l.Name, RequestId: id, Particulars: &pb.Particulars{Reply: "已处理"},
		Result: pick(l, pb.ResultCode_RESULT_CODE_RESOLVED, pb.ResultCode_RESULT_CODE_RESOLVED, pb.ResultCode_RESULT_CODE_PARTLY, pb.ResultCode_RESULT_CODE_UNRESOLVED),
	}
	return Step{clerk, c, l.hours(25)}
}

func (l *Life) suspension(clerk rule.Actor, id string, now time.Time) Step {
	return Step{clerk, &pb.RequestSuspensionRequest{
		Name: l.Name, RequestId: id, Particulars: text(), ReviewAt: timestamppb.New(now.AddDate(0, 0, 5+l.IntN(60))),
		Reason: pick(l, pb.SuspensionReason_SUSPENSION_REASON_SEASON, pb.SuspensionReason_SUSPENSION_REASON_ENGINEERING, pb.SuspensionReason_SUSPENSION_REASON_HISTORIC),
	}, l.hours(5)}
}

// listed is what is done about a listed problem.
func (l *Life) listed(s *ticket.State, now time.Time) Step {
	clerk, id := l.clerk(s.Lead), l.request()
	switch {
	case !s.PlanGiven:
		by := now.AddDate(0, 0, 6)
		if limit := s.Limits.ClearBy; !limit.IsZero() && limit.Before(by) {
			by = limit
		}
		return Step{clerk, &pb.ReplySupervisionRequest{
			Name: l.Name, RequestId: id, Kind: pb.SupervisionReplyKind_SUPERVISION_REPLY_KIND_PLAN, Owner: "owner-1", Particulars: text(),
			ClearBy: timestamppb.New(by),
		}, l.hours(10)}
	case !s.ListingDone:
		return Step{clerk, &pb.ReplySupervisionRequest{Name: l.Name, RequestId: id, Kind: pb.SupervisionReplyKind_SUPERVISION_REPLY_KIND_DONE, Particulars: text()}, l.hours(40)}
	}
	return Step{l.centre(pb.Role_ROLE_SUPERVISOR), &pb.ClearListingRequest{
		Name: l.Name, RequestId: id, Particulars: note(),
		Attachments: []*pb.Attachment{{Uri: "s3://evidence/1", Sha256: make([]byte, 32), Kind: pb.AttachmentKind_ATTACHMENT_KIND_AFTER}},
	}, l.hours(10)}
}

func (l *Life) review() Step {
	c := &pb.DecideReturnRequest{Name: l.Name, RequestId: l.request(), Approved: l.chance(0.6), Particulars: note()}
	if c.Approved {
		c.Fault = pick(l, pb.ReturnFault_RETURN_FAULT_DISPATCH_ERROR, pb.ReturnFault_RETURN_FAULT_FACTS_CHANGED)
	}
	return Step{l.centre(pb.Role_ROLE_DISPATCHER), c, l.hours(2)}
}

func (l *Life) ruling(s *ticket.State) Step {
	c := &pb.RuleAdjudicationRequest{
		Name: l.Name, RequestId: l.request(), Lead: l.lead(s), BasisRef: "minutes-3", Particulars: note(), Precedent: l.chance(0.3),
	}
	if s.ReturnAsked && c.Lead != s.Lead {
		c.Fault = pick(l, pb.ReturnFault_RETURN_FAULT_DISPATCH_ERROR, pb.ReturnFault_RETURN_FAULT_FACTS_CHANGED)
	}
	return Step{l.centre(pb.Role_ROLE_DUTY_LEADER), c, l.hours(12)}
}

func (l *Life) suspended(s *ticket.State, now time.Time) Step {
	clerk := l.clerk(s.Lead)
	switch {
	case s.Suspension != nil && l.chance(0.7):
		return Step{l.centre(pb.Role_ROLE_SUPERVISOR), &pb.DecideSuspensionRequest{Name: l.Name, RequestId: l.request(), Granted: l.chance(0.7), Particulars: note()}, l.hours(30)}
	case l.chance(0.1):
		return l.suspension(clerk, l.request(), now)
	}
	return Step{clerk, &pb.ResumeTicketRequest{Name: l.Name, RequestId: l.request()}, l.hours(24 * 25)}
}

func (l *Life) submitted() Step {
	supervisor := l.centre(pb.Role_ROLE_SUPERVISOR)
	if l.chance(0.04) {
		return Step{supervisor, &pb.RejectResultRequest{
			Name: l.Name, RequestId: l.request(), Particulars: note(), Reason: pick(l, pb.ResultRejection_RESULT_REJECTION_IRREGULAR_REPLY, pb.ResultRejection_RESULT_REJECTION_STALE_PHOTO),
		}, l.hours(2)}
	}
	return Step{supervisor, &pb.VerifyResultRequest{Name: l.Name, RequestId: l.request(), Passed: l.chance(0.9), OnSite: true, Particulars: note()}, l.hours(5)}
}

func (l *Life) callback(s *ticket.State) Step {
	settled := s.CallbackSettled || s.Anonymous || !s.CallbackWanted
	switch {
	case settled && l.chance(0.05) && s.Round < 3:
		return Step{l.centre(pb.Role_ROLE_SUPERVISOR), &pb.ReopenTicketRequest{Name: l.Name, RequestId: l.request(), Reason: pb.ReopenReason_REOPEN_REASON_UNSOLVED, Particulars: note()}, l.hours(3)}
	case settled || l.chance(0.02):
		if s.Listed {
			return l.listed(s, s.LastAt)
		}
		if s.EchoDue() && l.chance(0.9) {
			return Step{l.centre(pb.Role_ROLE_STREET_CLERK), &pb.PublishEchoRequest{
				Name: l.Name, RequestId: l.request(), Kind: pb.EchoKind_ECHO_KIND_RESULT, Particulars: &pb.Particulars{Reply: "已处理完毕"},
			}, l.hours(2)}
		}
		return Step{l.centre(pb.Role_ROLE_DISPATCHER), &pb.CloseTicketRequest{Name: l.Name, RequestId: l.request()}, l.hours(2)}
	}
	c := &pb.RecordCallbackRequest{Name: l.Name, RequestId: l.request(), Answered: l.chance(0.8)}
	if c.Answered {
		c.Contacted, c.Satisfaction = l.chance(0.9), uint32(l.IntN(6))
		c.Solved = pick(l, pb.Solved_SOLVED_YES, pb.Solved_SOLVED_YES, pb.Solved_SOLVED_PARTLY, pb.Solved_SOLVED_NO)
	}
	return Step{l.centre(pb.Role_ROLE_CALLER), c, l.hours(12)}
}

func (l *Life) closed(s *ticket.State) (Step, bool) {
	if s.Exclusion != nil {
		return Step{l.centre(pb.Role_ROLE_ASSESSMENT), &pb.DecideExclusionRequest{Name: l.Name, RequestId: l.request(), Granted: l.chance(0.5), Particulars: note()}, l.hours(30)}, true
	}
	switch x := l.Float64(); {
	case s.Lead != "" && l.chance(0.1):
		return l.opinion(s), true
	case x < 0.04 && s.Round < 3 && s.Lead != "":
		return Step{l.centre(pb.Role_ROLE_CITIZEN), &pb.ReopenTicketRequest{Name: l.Name, RequestId: l.request(), Reason: pb.ReopenReason_REOPEN_REASON_APPEAL, Particulars: note()}, l.hours(100)}, true
	case x < 0.08 && s.Lead != "" && s.Excluded == 0:
		return Step{l.clerk(s.Lead), &pb.RequestExclusionRequest{Name: l.Name, RequestId: l.request(), Particulars: text(), Code: pb.ExclusionCode(6 + l.IntN(7))}, l.hours(20)}, true
	case x < 0.4:
		return Step{l.centre(pb.Role_ROLE_SYSTEM), &pb.ArchiveTicketRequest{Name: l.Name, RequestId: l.request()}, 31*24*time.Hour + l.hours(24*4)}, true
	}
	return Step{}, false
}

// opinion is what the place, or the petitioner, thinks of how it was done. Not everybody who says so may.
func (l *Life) opinion(s *ticket.State) Step {
	place := l.World.root
	if n := len(s.Path); n > 0 {
		place = s.Path[min(n-1, 2+l.IntN(2))].Code
	}
	if l.chance(0.3) {
		return Step{l.as(place, pb.Role_ROLE_COMMUNITY_SECRETARY), &pb.RecordJointReviewRequest{
			Name: l.Name, RequestId: l.request(), Residents: uint32(1 + l.IntN(20)), ResidentsScore: uint32(l.IntN(10_001)),
		}, l.hours(48)}
	}
	by := l.as(place, pick(l, pb.Role_ROLE_STREET_LEADER, pb.Role_ROLE_COMMUNITY_SECRETARY))
	if l.chance(0.3) {
		by = l.centre(pb.Role_ROLE_CITIZEN)
	}
	mark := func() uint32 { return uint32(1 + l.IntN(5)) }
	return Step{by, &pb.RateLeadRequest{Name: l.Name, RequestId: l.request(), Response: mark(), Cooperation: mark(), Result: mark()}, l.hours(48)}
}

func (l *Life) declined(s *ticket.State) (Step, bool) {
	if s.DeclineAppealed {
		return Step{l.centre(pb.Role_ROLE_SUPERVISOR), &pb.OverturnDeclineRequest{Name: l.Name, RequestId: l.request(), Particulars: note()}, l.hours(10)}, l.chance(0.6)
	}
	return Step{l.centre(pb.Role_ROLE_AGENT), &pb.AppealDeclineRequest{Name: l.Name, RequestId: l.request(), Particulars: text()}, l.hours(30)}, l.chance(0.5)
}

func (l *Life) merged() (Step, bool) {
	if l.chance(0.15) {
		return Step{l.centre(pb.Role_ROLE_CALLER), &pb.RecordCallbackRequest{Name: l.Name, RequestId: l.request(), Answered: true, Contacted: true, Solved: pb.Solved_SOLVED_YES, Satisfaction: 4}, l.hours(200)}, true
	}
	return Step{l.centre(pb.Role_ROLE_SUPERVISOR), &pb.UnmergeTicketRequest{Name: l.Name, RequestId: l.request(), Particulars: note()}, l.hours(20)}, l.chance(0.25)
}

func (l *Life) archived() (Step, bool) {
	return Step{l.as(l.World.audit, pb.Role_ROLE_AUDITOR), &pb.CorrectArchiveRequest{
		Name: l.Name, RequestId: l.request(), Particulars: note(), Category: pick(l, l.World.categories...),
	}, l.hours(200)}, l.chance(0.05)
}

// streetAbove is the street that a unit of a community or grid lies below; empty for any other.
func (l *Life) streetAbove(unit string) string {
	r := l.World.registry
	if !rule.BelowStreet(r, unit) {
		return ""
	}
	for _, above := range slices.Backward(r.UnitPath(unit)) {
		if level, _ := r.Level(above); level == "street" {
			return above
		}
	}
	return ""
}
