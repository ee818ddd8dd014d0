package demo

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// story is one matter from its report to wherever the day leaves it. What happens in it is settled before it begins.
type story struct {
	n      int
	random *rand.Rand
	at     place
	about  *matter
	lead   string // a word of about's leads
	urgent bool   // it does not wait for office hours
	secret bool   // nobody who just patrols there may know
	pace   float64
	begin  time.Time
	steps  []step

	which string // which of its tickets the steps are about that are added now, where it has several

	// What the node answered.
	ticket, whistle string
	tickets         map[string]string // by which
	names           map[string]string // of other resources, the latest of each collection, such as "posts"
	limits          *pb.Limits        // of the ticket as it was answered last
	listed          bool              // as somebody saw who looked
	problem         *pb.Listing       // likewise
	next            int
	over            bool // what happened meanwhile leaves nothing of it to do
}

// step is one call.
type step struct {
	after   time.Duration // since the step before
	office  bool          // only when offices are open
	by      string
	method  string
	command func(call) proto.Message
	refused string // the reason it is refused for, on purpose
	which   string // which of the story's tickets it is about, where it has several
	// notBefore is an instant ahead of which it is not taken; zero for none.
	notBefore time.Time
	// when says whether there is anything to do at the instant; nil for always.
	when func(at time.Time) bool
}

// call is what a command needs to know when it is given.
type call struct {
	id              string // a request id
	ticket, whistle string
	names           map[string]string
	// late is an instant after the step before and ahead of this one: when it happened, if nobody could be told at once.
	late *timestamppb.Timestamp
}

const minute = time.Minute

// then adds a step.
func (s *story) then(after time.Duration, by, method string, command func(call) proto.Message) *step {
	s.steps = append(s.steps, step{after: after, by: by, method: method, command: command, which: s.which})
	return &s.steps[len(s.steps)-1]
}

// ask adds a call of the ticket service. The request is sent as it is, with the ticket's name and an id.
func (s *story) ask(after time.Duration, by string, r proto.Message) *step {
	m := r.ProtoReflect()
	method := "/chuishao.v1.TicketService/" + strings.TrimSuffix(string(m.Descriptor().Name()), "Request")
	return s.then(after, by, method, func(c call) proto.Message {
		for field, value := range map[protoreflect.Name]string{"name": c.ticket, "request_id": c.id} {
			if d := m.Descriptor().Fields().ByName(field); d != nil {
				m.Set(d, protoreflect.ValueOfString(value))
			}
		}
		return r
	})
}

// askOf adds a call about the story's latest resource of a collection, such as "posts". The request is sent as it is, with that name, unless it
// brings one or has none, and an id.
func (s *story) askOf(collection string, after time.Duration, by string, r proto.Message) *step {
	m := r.ProtoReflect()
	fields := m.Descriptor().Fields()
	return s.then(after, by, methodOf(m.Descriptor()), func(c call) proto.Message {
		if d := fields.ByName("name"); d != nil && m.Get(d).String() == "" {
			m.Set(d, protoreflect.ValueOfString(c.names[collection]))
		}
		if d := fields.ByName("request_id"); d != nil {
			m.Set(d, protoreflect.ValueOfString(c.id))
		}
		return r
	})
}

// methodOf is the full name of the method that takes a request.
func methodOf(request protoreflect.MessageDescriptor) string {
	services := request.ParentFile().Services()
	for i := range services.Len() {
		for j := range services.Get(i).Methods().Len() {
			if m := services.Get(i).Methods().Get(j); m.Input() == request {
				return fmt.Sprintf("/%s/%s", services.Get(i).FullName(), m.Name())
			}
		}
	}
	panic("no method takes " + string(request.FullName()))
}

// work adds a step of a unit that handles matters. It takes as long as the place is known for, and waits for office hours unless it is urgent.
func (s *story) work(from, to time.Duration, by, method string, command func(call) proto.Message) *step {
	after := s.between(from, to)
	if s.urgent {
		return s.then(after/4, by, method, command)
	}
	added := s.then(time.Duration(float64(after)*s.pace), by, method, command)
	added.office = true
	return added
}

// between is a time that is more often short than long.
func (s *story) between(from, to time.Duration) time.Duration {
	x := s.random.Float64()
	return from + time.Duration(float64(to-from)*x*x)
}

func (s *story) chance(p float64) bool { return s.random.Float64() < p }

func (s *story) some(from int) int { return 1 + s.random.IntN(from) }

func (s *story) agent() string {
	return actor(fmt.Sprintf("agent-%02d", s.some(40)), cityCentre, pb.Role_ROLE_AGENT)
}

func (s *story) dispatcher() string {
	centre := s.at.centre(s.lead)
	return actor(fmt.Sprintf("dispatcher-%s-%d", centre, s.some(3)), centre, pb.Role_ROLE_DISPATCHER)
}

func (s *story) supervisor() string {
	centre := s.at.centre(s.lead)
	return actor("supervisor-"+centre, centre, pb.Role_ROLE_SUPERVISOR)
}

func (s *story) caller() string {
	return actor(fmt.Sprintf("caller-%02d", s.some(12)), cityCentre, pb.Role_ROLE_CALLER)
}

func (s *story) clerk() string { return s.at.clerk(s.lead) }

func (s *story) gridWorker() string {
	return actor("grid-"+s.at.grid.Code, s.at.grid.Code, pb.Role_ROLE_GRID_WORKER)
}

// petitioner is an invented person. Who calls twice has the same name both times.
func (s *story) petitioner() *pb.Petitioner {
	n := s.random.IntN(10_000)
	return &pb.Petitioner{
		Name:    surnames[n%len(surnames)] + givenNames[n/len(surnames)%len(givenNames)],
		Phone:   fmt.Sprintf("1380000%04d", n),
		Address: fmt.Sprintf("%s%s%d栋%d室", s.at.street.Name, compounds[n%len(compounds)], 1+n%20, 101+n%4+100*(n%6)),
		// Some have said all they have to say.
		CallbackWanted: !s.chance(0.12),
	}
}

// particulars are what the petitioner says about the matter.
func (s *story) particulars(p *pb.Petitioner) *pb.Particulars {
	m := s.about
	said := &pb.Particulars{
		Petitioner: p, Title: m.title, Text: m.text, Cause: m.cause, Course: m.course,
		Place: fmt.Sprintf("%s%s%s%d号", s.at.street.Name, s.at.community.Name, roads[s.random.IntN(len(roads))], s.some(300)),
	}
	if p != nil && !p.Anonymous && s.chance(0.2) {
		said.Text += "，联系电话" + p.Phone
	}
	return said
}

func (s *story) position() *pb.LonLat {
	return &pb.LonLat{Lon: 120.1 + s.random.Float64()*0.5, Lat: 31.4 + s.random.Float64()*0.4, Datum: pb.Datum_DATUM_CGCS2000}
}

func (s *story) photo(kind pb.AttachmentKind) []*pb.Attachment {
	uri := fmt.Sprintf("demo://photos/%d/%s.jpg", s.n, kind)
	sum := sha256.Sum256([]byte(uri))
	return []*pb.Attachment{{Uri: uri, Sha256: sum[:], Kind: kind, Position: s.position()}}
}

// report is the hotline's, the web's or another channel's.
func (s *story) report(by string, r *pb.ReportTicketRequest) {
	s.then(0, by, pb.TicketService_ReportTicket_FullMethodName, func(c call) proto.Message {
		r.RequestId = c.id
		return r
	})
}

func (s *story) accept(by string) {
	s.then(s.between(minute, 5*minute), by, pb.TicketService_AcceptTicket_FullMethodName, func(c call) proto.Message {
		return &pb.AcceptTicketRequest{Name: c.ticket, RequestId: c.id}
	})
}

// called: somebody calls the hotline, which takes the matter on.
func (s *story) called() {
	s.report(s.agent(), s.byPhone())
	s.accept(s.agent())
}

func (s *story) byPhone() *pb.ReportTicketRequest {
	kind := pb.MatterKind_MATTER_KIND_HELP
	if s.chance(0.4) {
		kind = pb.MatterKind_MATTER_KIND_COMPLAINT
	}
	return &pb.ReportTicketRequest{
		Channel: pb.Channel_CHANNEL_HOTLINE, Kind: kind, Area: s.at.community.Code, Category: s.about.category,
		Particulars: s.particulars(s.petitioner()),
	}
}

// found: a grid worker comes upon something, and may be without a net until later.
func (s *story) found() {
	r := &pb.ReportTicketRequest{
		Channel: pb.Channel_CHANNEL_GRID, Kind: pb.MatterKind_MATTER_KIND_OTHER, Area: s.at.grid.Code, Category: s.about.category,
		Position: s.position(), Attachments: s.photo(pb.AttachmentKind_ATTACHMENT_KIND_BEFORE), Particulars: s.particulars(nil),
	}
	offline := s.chance(0.25)
	s.then(0, s.gridWorker(), pb.TicketService_ReportTicket_FullMethodName, func(c call) proto.Message {
		r.RequestId = c.id
		if offline {
			r.OccurredAt = c.late
		}
		return r
	})
	s.accept(s.dispatcher())
}

// triage: the matter is classified, and goes to the lead.
func (s *story) triage(more func(*pb.TriageTicketRequest)) {
	r := &pb.TriageTicketRequest{Category: s.about.category, Lead: s.at.unit(s.lead), Fallback: s.at.street.Code}
	if more != nil {
		more(r)
	}
	s.then(s.quickly(4*minute, 25*minute), s.dispatcher(), pb.TicketService_TriageTicket_FullMethodName, func(c call) proto.Message {
		r.Name, r.RequestId = c.ticket, c.id
		return r
	})
}

func (s *story) dispatch() {
	lead := s.at.unit(s.lead)
	s.then(s.quickly(2*minute, 15*minute), s.dispatcher(), pb.TicketService_DispatchTicket_FullMethodName, func(c call) proto.Message {
		return &pb.DispatchTicketRequest{Name: c.ticket, RequestId: c.id, Lead: lead, BasisRule: 1}
	})
}

// quickly is between two times, and less if it is urgent.
func (s *story) quickly(from, to time.Duration) time.Duration {
	after := s.between(from, to)
	if s.urgent {
		return after / 3
	}
	return after
}

// sign: the lead signs, unless it took so long that it is deemed to have signed.
func (s *story) sign() {
	s.work(5*minute, 60*minute, s.clerk(), pb.TicketService_SignTicket_FullMethodName, func(c call) proto.Message {
		return &pb.SignTicketRequest{Name: c.ticket, RequestId: c.id}
	}).when = func(at time.Time) bool {
		by := s.limits.GetSignBy()
		return by != nil && !at.After(by.AsTime())
	}
}

// contact: the lead gets in touch, or tries. Who is out may have no net.
func (s *story) contact(reached bool) {
	offline := s.chance(0.15)
	s.work(10*minute, 75*minute, s.clerk(), pb.TicketService_RecordContact_FullMethodName, func(c call) proto.Message {
		r := &pb.RecordContactRequest{Name: c.ticket, RequestId: c.id, Channel: "phone", Reached: reached}
		if offline {
			r.Channel, r.OccurredAt = "visit", c.late
		}
		return r
	})
}

func (s *story) progress() {
	text := s.about.progress
	s.work(15*minute, 80*minute, s.clerk(), pb.TicketService_RecordProgress_FullMethodName, func(c call) proto.Message {
		return &pb.RecordProgressRequest{Name: c.ticket, RequestId: c.id, Particulars: &pb.Particulars{Text: text}}
	})
}

func (s *story) result(code pb.ResultCode) *step {
	reply := s.about.reply
	photos := append(s.photo(pb.AttachmentKind_ATTACHMENT_KIND_BEFORE), s.photo(pb.AttachmentKind_ATTACHMENT_KIND_AFTER)...)
	return s.work(20*minute, 300*minute, s.clerk(), pb.TicketService_SubmitResult_FullMethodName, func(c call) proto.Message {
		for _, p := range photos {
			p.ShotAt = c.late
		}
		return &pb.SubmitResultRequest{Name: c.ticket, RequestId: c.id, Result: code, Attachments: photos, Particulars: &pb.Particulars{Reply: reply}}
	})
}

// handled: the lead signs, gets in touch, works on it and says what came of it.
func (s *story) handled() {
	s.sign()
	if s.chance(0.08) {
		s.contact(false)
	}
	s.contact(true)
	if s.chance(0.35) {
		s.progress()
	}
	code := pb.ResultCode_RESULT_CODE_RESOLVED
	if s.chance(0.06) {
		code = pb.ResultCode_RESULT_CODE_PARTLY
	}
	s.result(code)
}

// verify: somebody outside the lead looks. Within a street all grid workers belong to it, so that a supervisor looks there.
func (s *story) verify(passed bool) {
	by, note := s.gridWorker(), ""
	if s.lead == "street" || s.lead == "community" || s.secret {
		by = s.supervisor()
	}
	if !passed {
		note = "现场查看，问题仍在，请返工"
	}
	s.work(10*minute, 100*minute, by, pb.TicketService_VerifyResult_FullMethodName, func(c call) proto.Message {
		r := &pb.VerifyResultRequest{Name: c.ticket, RequestId: c.id, Passed: passed, OnSite: true}
		if note != "" {
			r.Particulars = &pb.Particulars{Note: note}
		}
		return r
	})
}

// unanswered: the callback finds nobody.
func (s *story) unanswered() *step {
	added := s.then(s.between(30*minute, 120*minute), s.caller(), pb.TicketService_RecordCallback_FullMethodName, func(c call) proto.Message {
		return &pb.RecordCallbackRequest{Name: c.ticket, RequestId: c.id}
	})
	added.office = true
	return added
}

func (s *story) answered(solved pb.Solved) {
	satisfaction := map[pb.Solved]uint32{
		pb.Solved_SOLVED_YES: uint32(3 + s.some(2)), pb.Solved_SOLVED_PARTLY: uint32(1 + s.some(2)), pb.Solved_SOLVED_NO: uint32(s.some(2)),
	}[solved]
	s.then(s.between(20*minute, 120*minute), s.caller(), pb.TicketService_RecordCallback_FullMethodName, func(c call) proto.Message {
		return &pb.RecordCallbackRequest{Name: c.ticket, RequestId: c.id, Answered: true, Contacted: true, Solved: solved, Satisfaction: satisfaction}
	}).office = true
}

// close: what was listed meanwhile is cleared first.
func (s *story) close() *step {
	s.cleared()
	return s.then(s.between(3*minute, 20*minute), s.dispatcher(), pb.TicketService_CloseTicket_FullMethodName, func(c call) proto.Message {
		return &pb.CloseTicketRequest{Name: c.ticket, RequestId: c.id}
	})
}

func (s *story) reopen(by string, reason pb.ReopenReason, note string) {
	s.then(s.between(10*minute, 40*minute), by, pb.TicketService_ReopenTicket_FullMethodName, func(c call) proto.Message {
		return &pb.ReopenTicketRequest{Name: c.ticket, RequestId: c.id, Reason: reason, Particulars: &pb.Particulars{Note: note}}
	})
}

func (s *story) waive(what pb.Requirement, note string) {
	s.work(10*minute, 30*minute, s.supervisor(), pb.TicketService_WaiveRequirement_FullMethodName, func(c call) proto.Message {
		return &pb.WaiveRequirementRequest{Name: c.ticket, RequestId: c.id, What: what, Particulars: &pb.Particulars{Note: note}}
	})
}

func (s *story) reveal(by string, purpose pb.RevealPurpose) {
	s.then(s.between(minute, 5*minute), by, pb.TicketService_RevealIdentity_FullMethodName, func(c call) proto.Message {
		return &pb.RevealIdentityRequest{Name: c.ticket, RequestId: c.id, Purpose: purpose}
	})
}

func (s *story) look(by string) *step {
	return s.then(minute, by, pb.TicketService_GetTicket_FullMethodName, func(c call) proto.Message { return &pb.GetTicketRequest{Name: c.ticket} })
}

// settled: verified, called back and closed, most often without a hitch.
func (s *story) settled() {
	if s.chance(0.06) {
		s.verify(false)
		s.result(pb.ResultCode_RESULT_CODE_RESOLVED)
	}
	s.verify(true)
	if s.chance(0.15) {
		s.unanswered()
	}
	switch x := s.random.Float64(); {
	case x < 0.04:
		s.answered(pb.Solved_SOLVED_NO)
		s.again()
		return
	case x < 0.08:
		s.answered(pb.Solved_SOLVED_NO)
	case x < 0.16:
		s.answered(pb.Solved_SOLVED_PARTLY)
	default:
		s.answered(pb.Solved_SOLVED_YES)
	}
	s.close()
}

// again: the petitioner is right, so that the lead does it again.
func (s *story) again() {
	s.reopen(s.supervisor(), pb.ReopenReason_REOPEN_REASON_UNSOLVED, "回访反映未解决，经核实情况属实，重新交办")
	s.handled()
	s.verify(true)
	s.answered(pb.Solved_SOLVED_YES)
	s.close()
}
