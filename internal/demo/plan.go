package demo

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
)

// curve is how many matters come in each hour of a day, next to the other hours.
var curve = [24]float64{8, 5, 4, 3, 3, 6, 14, 34, 66, 96, 100, 84, 52, 50, 80, 92, 84, 68, 46, 36, 30, 24, 18, 12}

// eve is how many days before the day the first matters may have come in that the day takes over.
const eve = 21

// eldest is how many days before the day the first matter of all comes in, which is archived on one of the last: nobody may appeal any more.
const eldest = 42

// plan is the matters of a day, with some that earlier days left over. The same seed, number and day make the same plan.
func plan(c *city, day time.Time, tickets int, seed uint64) ([]*story, error) {
	working, _, err := calendar.Default().WorkingDay(day)
	if err != nil {
		return nil, fmt.Errorf("--day: %w", err)
	}
	stories := make([]*story, tickets)
	for n := range stories {
		s := &story{n: n, random: rand.New(rand.NewPCG(seed, uint64(n)))}
		s.at, s.pace = c.place(s.random), 1
		s.tells(&matters[s.random.IntN(len(matters))], c)
		s.pace = c.pace[s.at.district.Code]
		if !working {
			s.pace *= 1.4 // those on duty only
		}
		s.begin = day.Add(moment(s.random))
		switch {
		case n < len(featured):
			featured[n](s, c)
		case s.chance(0.08):
			s.leftOver()
		default:
			s.ordinary()
		}
		stories[n] = s
	}
	return stories, nil
}

// moment is a time of day, as matters come in.
func moment(r *rand.Rand) time.Duration {
	sum := 0.0
	for _, w := range curve {
		sum += w
	}
	x := r.Float64() * sum
	hour := 0
	for hour < len(curve)-1 && x >= curve[hour] {
		x -= curve[hour]
		hour++
	}
	return time.Duration((float64(hour) + x/curve[hour]) * float64(time.Hour)).Truncate(time.Microsecond)
}

// tells makes it a story about a matter, led by one of those who may.
func (s *story) tells(m *matter, c *city) {
	s.about, s.lead = m, m.leads[s.random.IntN(len(m.leads))]
	grade := c.grades[m.category]
	s.urgent = grade == pb.Grade_GRADE_G0 || grade == pb.Grade_GRADE_G1
}

// toStreet makes it a story that the street leads.
func (s *story) toStreet(category string, c *city) {
	s.tells(about(category), c)
	s.lead = "street"
}

func about(category string) *matter {
	return &matters[slices.IndexFunc(matters, func(m matter) bool { return m.category == category })]
}

// ordinary is what most days are made of.
func (s *story) ordinary() {
	switch x := s.random.Float64(); {
	case x < 0.36:
		s.asked()
	case x < 0.39:
		s.declined(s.chance(0.8))
	case x < 0.40:
		s.voided(s.chance(0.8))
	case x < 0.60:
		s.found()
		s.whole()
	case x < 0.63:
		s.online()
		s.whole()
	case x < 0.64:
		s.corrected()
	case x < 0.66:
		s.stumbled()
	case x < 0.664:
		s.lead = "street"
		s.routine()
	default:
		s.called()
		s.whole()
	}
}

// whole is the way from triage to closing.
func (s *story) whole() {
	s.triage(nil)
	s.dispatch()
	s.handled()
	s.settled()
}

// leftOver came in on an earlier day and takes long, some so long that it is overdue.
func (s *story) leftOver() {
	x := s.random.Float64()
	days := 1 + int(9*x*x)
	s.pace *= 1 + 30*s.random.Float64()*x
	if s.chance(0.15) {
		days, s.pace, s.urgent = eve-s.random.IntN(6), 60+60*s.random.Float64(), false
	}
	s.begin = s.begin.AddDate(0, 0, -days)
	s.called()
	s.whole()
}

// daily is a time of the day itself, so that a story that all depends on comes to its end.
func (s *story) daily(hour, minutes int) {
	y, m, d := s.begin.Date()
	s.begin = time.Date(y, m, d, hour, minutes, s.random.IntN(60), s.random.IntN(1e6)*1000, s.begin.Location())
	s.pace = min(s.pace, 0.8)
}

// featured are stories that every day has, however short: together they give every command there is.
var featured = slices.Concat(handled, disputes, waits, ends, opinions, admissions, walls, neighbours, listings, calls)

// handled are matters that are handled by those they are dispatched to, with whistles or without.
var handled = []func(*story, *city){
	func(s *story, c *city) { // solved, the petitioner says, it is not
		s.tells(about("0302"), c)
		s.daily(7, 40)
		s.called()
		s.triage(nil)
		s.dispatch()
		s.handled()
		s.verify(true)
		s.answered(pb.Solved_SOLVED_NO)
		s.again()
	},
	func(s *story, c *city) {
		s.toStreet("0601", c)
		s.daily(10, 12)
		s.emergency()
	},
	func(s *story, c *city) {
		s.toStreet("0501", c)
		s.daily(8, 31)
		s.routine()
	},
	func(s *story, c *city) {
		s.toStreet("1001", c)
		s.daily(8, 5)
		s.called()
		s.triage(nil)
		s.dispatch()
		s.sign()
		s.contact(true)
		s.blown(pb.WhistleKind_WHISTLE_KIND_TOUGH, "物业撤离，涉及多个部门，街道难以独立解决",
			summoned{lead: "ZJ", takes: 40 * minute}, summoned{lead: "MZ", takes: 10 * minute}, summoned{lead: "+GS", takes: 15 * minute, optional: true})
		s.result(pb.ResultCode_RESULT_CODE_PARTLY)
		s.settled()
	},
	func(s *story, c *city) { // not a matter for a whistle
		s.toStreet("1002", c)
		s.daily(8, 50)
		s.called()
		s.triage(nil)
		s.dispatch()
		s.sign()
		s.contact(true)
		units := []summoned{{lead: "ZJ"}}
		s.blow(pb.WhistleKind_WHISTLE_KIND_ROUTINE, "请住建部门派人主持业主大会", units)
		s.screen(false, units)
		s.result(pb.ResultCode_RESULT_CODE_RESOLVED)
		s.settled()
	},
	func(s *story, c *city) { s.declined(true) },
	func(s *story, c *city) { s.declined(false) },
	func(s *story, c *city) { s.voided(true) },
	func(s *story, c *city) { s.voided(false) },
	func(s *story, c *city) { // three attempts stand for a contact
		s.daily(8, 0)
		s.called()
		s.triage(nil)
		s.dispatch()
		s.sign()
		for range 3 {
			s.contact(false)
		}
		s.result(pb.ResultCode_RESULT_CODE_RESOLVED)
		s.settled()
	},
	func(s *story, c *city) { // nobody is to be found, and a supervisor lets it go
		s.daily(8, 15)
		s.called()
		s.triage(nil)
		s.dispatch()
		s.sign()
		s.contact(false)
		s.waive(pb.Requirement_REQUIREMENT_CONTACT, "号码为空号，已在现场处置，免于联系")
		s.result(pb.ResultCode_RESULT_CODE_RESOLVED)
		s.verify(true)
		s.unanswered()
		s.waive(pb.Requirement_REQUIREMENT_CALLBACK, "号码为空号，免于回访")
		s.close()
	},
	func(s *story, c *city) {
		s.daily(9, 5)
		s.corrected()
	},
	func(s *story, c *city) {
		s.daily(8, 20)
		s.stumbled()
	},
	func(s *story, c *city) { // sent back once
		s.tells(about("0101"), c)
		s.daily(8, 40)
		s.found()
		s.triage(nil)
		s.dispatch()
		s.handled()
		s.verify(false)
		s.progress()
		s.result(pb.ResultCode_RESULT_CODE_RESOLVED)
		s.verify(true)
		s.close()
	},
	func(s *story, c *city) { s.complained(c) },
	func(s *story, c *city) { s.tippedOff(c) },
	func(s *story, c *city) { s.unreachable() },
	func(s *story, c *city) { s.asked() },
	func(s *story, c *city) { s.appealed(c) },
	func(s *story, c *city) {
		s.daily(9, 30)
		s.online()
		s.whole()
	},
	func(s *story, c *city) { // whistled for days ago, and one comes too late
		s.toStreet("0903", c)
		s.daily(9, 0)
		s.begin = s.begin.AddDate(0, 0, -9)
		s.called()
		s.triage(nil)
		s.dispatch()
		s.sign()
		s.contact(true)
		s.blown(pb.WhistleKind_WHISTLE_KIND_ROUTINE, "利用闲置地块增设车位，需规划和交通部门到场",
			summoned{lead: "ZR", takes: 20 * time.Hour}, summoned{lead: "JT", takes: 8 * 24 * time.Hour})
		s.result(pb.ResultCode_RESULT_CODE_RESOLVED)
		s.settled()
	},
}

// asked: somebody asks, thanks or suggests, and has an answer at once.
func (s *story) asked() {
	q := questions[s.random.IntN(len(questions))]
	s.report(s.agent(), &pb.ReportTicketRequest{
		Channel: pb.Channel_CHANNEL_HOTLINE, Kind: q.kind, Area: s.at.street.Code,
		Particulars: &pb.Particulars{Petitioner: s.petitioner(), Title: q.title, Text: q.text, Place: s.at.street.Name, Cause: "咨询", Course: "来电咨询"},
	})
	s.accept(s.agent())
	s.then(s.between(minute, 8*minute), s.agent(), pb.TicketService_AnswerTicketDirectly_FullMethodName, func(c call) proto.Message {
		return &pb.AnswerTicketDirectlyRequest{Name: c.ticket, RequestId: c.id, Particulars: &pb.Particulars{Reply: q.reply}}
	})
}

// declined: the agent proposes not to admit it, and the shift leader confirms, or drops that and it goes its way.
func (s *story) declined(confirm bool) {
	r := refusals[s.random.IntN(len(refusals))]
	said := &pb.Particulars{Petitioner: s.petitioner(), Title: r.title, Text: r.text, Place: s.at.street.Name, Cause: "不详", Course: "来电反映"}
	if !confirm {
		said = s.particulars(said.Petitioner)
	}
	s.report(s.agent(), &pb.ReportTicketRequest{
		Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_COMPLAINT, Area: s.at.street.Code, Particulars: said,
	})
	s.then(s.between(minute, 4*minute), s.agent(), pb.TicketService_DeclineTicket_FullMethodName, func(c call) proto.Message {
		return &pb.DeclineTicketRequest{Name: c.ticket, RequestId: c.id, Reason: r.reason, Particulars: &pb.Particulars{Reply: r.reply}}
	})
	word := pb.Confirmation_CONFIRMATION_CONFIRM
	if !confirm {
		word = pb.Confirmation_CONFIRMATION_DROP
	}
	s.then(s.between(3*minute, 15*minute), s.leader(1), pb.TicketService_DeclineTicket_FullMethodName, func(c call) proto.Message {
		return &pb.DeclineTicketRequest{Name: c.ticket, RequestId: c.id, Confirmation: word}
	})
	if !confirm {
		s.accept(s.agent())
		s.whole()
	}
}

func (s *story) leader(n int) string {
	return actor(fmt.Sprintf("duty-leader-%d", n), cityCentre, pb.Role_ROLE_DUTY_LEADER)
}

// voided: it should not be there, two shift leaders say; or the second does not.
func (s *story) voided(confirm bool) {
	s.report(s.agent(), s.byPhone())
	s.then(s.between(2*minute, 10*minute), s.leader(1), pb.TicketService_VoidTicket_FullMethodName, func(c call) proto.Message {
		return &pb.VoidTicketRequest{Name: c.ticket, RequestId: c.id, Particulars: &pb.Particulars{Note: "通话中断重拨，重复建单"}}
	})
	word := pb.Confirmation_CONFIRMATION_CONFIRM
	if !confirm {
		word = pb.Confirmation_CONFIRMATION_DROP
	}
	s.then(s.between(2*minute, 10*minute), s.leader(2), pb.TicketService_VoidTicket_FullMethodName, func(c call) proto.Message {
		return &pb.VoidTicketRequest{Name: c.ticket, RequestId: c.id, Confirmation: word}
	})
	if !confirm {
		s.accept(s.agent())
		s.whole()
	}
}

// online: another system brings it, over a stream.
func (s *story) online() {
	by := actor("web", cityCentre, pb.Role_ROLE_CONNECTED_SYSTEM)
	r := s.byPhone()
	r.Channel, r.Source, r.SourceRef = pb.Channel_CHANNEL_WEB, "web", fmt.Sprintf("W%06d", s.n)
	s.then(0, by, pb.TicketService_IntakeTickets_FullMethodName, func(c call) proto.Message {
		r.RequestId = c.id
		return &pb.IntakeTicketsRequest{Sequence: uint64(s.n), Report: r}
	})
	s.accept(s.dispatcherOfCity())
}

func (s *story) dispatcherOfCity() string {
	return actor("dispatcher-"+cityCentre, cityCentre, pb.Role_ROLE_DISPATCHER)
}

// corrected: the hotline did not know where it is, and triage was wrong in how urgent it is.
func (s *story) corrected() {
	r := s.byPhone()
	r.Area, r.Category = "", ""
	s.report(s.agent(), r)
	s.accept(s.agent())
	triage := &pb.TriageTicketRequest{Category: s.about.category, Grade: pb.Grade_GRADE_G3, Area: s.at.community.Code, Lead: s.at.unit(s.lead)}
	s.then(s.between(5*minute, 20*minute), s.dispatcherOfCity(), pb.TicketService_TriageTicket_FullMethodName, func(c call) proto.Message {
		triage.Name, triage.RequestId = c.ticket, c.id
		return triage
	})
	s.dispatch()
	s.then(s.between(5*minute, 30*minute), s.supervisor(), pb.TicketService_CorrectTriage_FullMethodName, func(c call) proto.Message {
		return &pb.CorrectTriageRequest{
			Name: c.ticket, RequestId: c.id, Grade: pb.Grade_GRADE_G2, Particulars: &pb.Particulars{Note: "现场反馈情况简单，按一般件办理"},
		}
	})
	s.handled()
	s.settled()
}

// stumbled: people try what the rules do not let them, and are told.
func (s *story) stumbled() {
	other := cityArea[:4] + "05000000-ZH"
	if s.at.district.Code+"-ZH" == other {
		other = cityArea[:4] + "06000000-ZH"
	}
	s.called()
	s.triage(nil)
	s.then(minute, actor("dispatcher-"+other, other, pb.Role_ROLE_DISPATCHER), pb.TicketService_DispatchTicket_FullMethodName, func(c call) proto.Message {
		return &pb.DispatchTicketRequest{Name: c.ticket, RequestId: c.id, Lead: s.at.unit(s.lead)}
	}).refused = "OUT_OF_SCOPE"
	s.dispatch()
	s.sign()
	s.result(pb.ResultCode_RESULT_CODE_RESOLVED).refused = "CONTACT_NEEDED"
	s.contact(true)
	s.result(pb.ResultCode_RESULT_CODE_RESOLVED)
	s.then(minute, actor("supervisor-"+s.at.unit(s.lead), s.at.unit(s.lead), pb.Role_ROLE_SUPERVISOR), pb.TicketService_VerifyResult_FullMethodName, func(c call) proto.Message {
		return &pb.VerifyResultRequest{Name: c.ticket, RequestId: c.id, Passed: true}
	}).refused = "SEPARATION_OF_DUTIES"
	s.settled()
}

// complained: the matter is the community itself, which must not lead then.
func (s *story) complained(c *city) {
	s.toStreet("1002", c)
	s.daily(9, 10)
	s.called()
	s.lead = "community"
	s.triage(func(r *pb.TriageTicketRequest) { r.ComplainedOf = s.at.community.Code })
	s.steps[len(s.steps)-1].refused = "LEAD_COMPLAINED_OF"
	s.lead = "street"
	s.triage(func(r *pb.TriageTicketRequest) { r.ComplainedOf = s.at.community.Code })
	s.dispatch()
	s.handled()
	s.settled()
}

// tippedOff: the petitioner must not be known to the unit, and who is shown the identity is noted.
func (s *story) tippedOff(c *city) {
	s.tells(about("0701"), c)
	s.secret = true
	s.daily(9, 20)
	r := s.byPhone()
	r.Kind, r.Confidentiality, r.Particulars.Petitioner.Confidential = pb.MatterKind_MATTER_KIND_TIP_OFF, pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL, true
	s.report(s.agent(), r)
	s.accept(s.agent())
	s.triage(nil)
	s.dispatch()
	s.sign()
	s.reveal(s.clerk(), pb.RevealPurpose_REVEAL_PURPOSE_CONTACT)
	s.steps[len(s.steps)-1].refused = "ROLE_NOT_ALLOWED"
	s.look(s.clerk())
	s.waive(pb.Requirement_REQUIREMENT_CONTACT, "举报人信息保密，由督办员代为联系")
	s.result(pb.ResultCode_RESULT_CODE_RESOLVED)
	s.verify(true)
	s.reveal(s.caller(), pb.RevealPurpose_REVEAL_PURPOSE_CALLBACK)
	s.answered(pb.Solved_SOLVED_YES)
	s.close()
}

// unreachable: three callbacks on two days found nobody.
func (s *story) unreachable() {
	s.daily(8, 10)
	s.begin = s.begin.AddDate(0, 0, -1)
	s.urgent = true // done by the afternoon
	r := s.byPhone()
	r.Particulars.Petitioner.CallbackWanted = true
	s.report(s.agent(), r)
	s.accept(s.agent())
	s.triage(nil)
	s.dispatch()
	s.sign()
	s.contact(true)
	s.result(pb.ResultCode_RESULT_CODE_RESOLVED)
	s.verify(true)
	s.unanswered()
	s.unanswered()
	s.close().refused = "CALLBACK_NEEDED"
	s.unanswered().after = 16 * time.Hour
	s.close()
}

// appealed: closed, and the petitioner does not leave it at that.
func (s *story) appealed(c *city) {
	s.tells(about("1102"), c)
	s.daily(7, 50)
	s.called()
	s.triage(nil)
	s.dispatch()
	s.handled()
	s.verify(true)
	s.answered(pb.Solved_SOLVED_PARTLY)
	s.close()
	s.reopen(actor(fmt.Sprintf("citizen-%d", s.n), cityCentre, pb.Role_ROLE_CITIZEN), pb.ReopenReason_REOPEN_REASON_APPEAL, "摄像头又转回来了，请再处理")
	s.handled()
	s.settled()
}

// routine: the street cannot do it alone.
func (s *story) routine() {
	s.called()
	s.triage(nil)
	s.dispatch()
	s.sign()
	s.contact(true)
	s.progress()
	s.blown(pb.WhistleKind_WHISTLE_KIND_ROUTINE, "需多部门联合到场处置，街道无执法权",
		summoned{lead: "XF", takes: 25 * minute}, summoned{lead: "GA", takes: 35 * minute}, summoned{lead: "CG", takes: 20 * minute, optional: true})
	s.result(pb.ResultCode_RESULT_CODE_RESOLVED)
	s.settled()
}

// emergency: all are to be there within half an hour, and one is not.
func (s *story) emergency() {
	s.called()
	s.triage(nil)
	s.dispatch()
	s.sign()
	s.blown(pb.WhistleKind_WHISTLE_KIND_EMERGENCY, "险墙随时可能倒塌，需立即封控、转移人员",
		summoned{lead: "XF", takes: 4 * minute}, summoned{lead: "GA", takes: 2 * minute}, summoned{lead: "YJ", takes: 65 * minute})
	s.contact(true)
	s.result(pb.ResultCode_RESULT_CODE_RESOLVED)
	s.settled()
}
