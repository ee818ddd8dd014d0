package demo

import (
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// disputes are matters of which it is not clear whose they are, or that need more than one unit.
var disputes = []func(*story, *city){
	func(s *story, c *city) { // the rain gully is the water authority's, so that it is dispatched anew
		s.tells(about("0304"), c)
		s.daily(8, 35)
		s.dispatchedTo("SZ")
		s.giveBack("SL", "该泵站由水利部门管养")
		s.ask(20*minute, s.dispatcher(), &pb.DecideReturnRequest{Approved: true, Fault: pb.ReturnFault_RETURN_FAULT_DISPATCH_ERROR})
		s.lead = "SL"
		s.dispatch()
		s.handled()
		s.settled()
	},
	func(s *story, c *city) { // it is theirs after all
		s.tells(about("0104"), c)
		s.daily(8, 40)
		s.dispatchedTo("CG")
		s.giveBack("HJ", "油烟监测不属本单位职责")
		s.ask(20*minute, s.dispatcher(), &pb.DecideReturnRequest{Particulars: note("露天烧烤属城管执法事项，不予退单")})
		s.sign()
		s.steps[len(s.steps)-1].when = func(time.Time) bool { return s.limits.GetSignBy() != nil }
		s.contact(true)
		s.done()
	},
	func(s *story, c *city) { // neither wants it: it is ruled on, and the ruling holds for the next one
		s.tells(about("1101"), c)
		s.daily(8, 30)
		s.dispatchedTo("GA")
		s.giveBack("ZJ", "出租房屋结构改动属住建职责")
		s.ask(15*minute, s.dispatcher(), &pb.DecideReturnRequest{Approved: true, Fault: pb.ReturnFault_RETURN_FAULT_FACTS_CHANGED})
		s.lead = "ZJ"
		s.dispatch()
		s.giveBack("GA", "人员管理属公安职责")
		s.lead = "GA"
		s.ask(60*minute, s.leader(1), &pb.RuleAdjudicationRequest{
			Lead: s.at.unit("GA"), Co: []string{s.at.unit("ZJ")}, BasisRef: "minutes-17", Fault: pb.ReturnFault_RETURN_FAULT_DISPATCH_ERROR, Precedent: true,
			Particulars: note("群租整治由公安牵头，住建配合"),
		})
		s.handled()
		s.settled()
	},
	func(s *story, c *city) { // nobody rules in time, so the street takes it
		s.tells(about("0204"), c)
		s.lead = "street"
		s.ago(12, 9, 15)
		s.called()
		s.triage(nil)
		s.ask(10*minute, s.dispatcher(), &pb.OpenAdjudicationRequest{
			Parties: []string{s.at.unit("CG"), s.at.unit("SZ")}, Particulars: note("绿地权属不清，提请会商"),
		})
		s.look(s.supervisorOfCity()).after = days(11)
		s.sign()
		s.contact(true)
		s.done()
	},
	func(s *story, c *city) { // one helps, one must, one need not
		s.tells(about("0501"), c)
		s.lead = "XF"
		s.daily(8, 22)
		s.underway()
		for _, unit := range []string{"GA", "CG", "street"} {
			s.ask(6*minute, s.clerk(), &pb.RequestCoHandlerRequest{
				Unit: s.at.unit(unit), Mandatory: unit != "street", Particulars: &pb.Particulars{Text: "请协助清理占道车辆"},
			})
		}
		s.ask(8*minute, s.at.clerk("GA"), &pb.AnswerCoHandlingRequest{Accepted: true})
		s.ask(4*minute, s.at.clerk("CG"), &pb.AnswerCoHandlingRequest{Particulars: note("通道内停车不属城管职责")})
		s.ask(8*minute, s.dispatcher(), &pb.DecideCoDeclineRequest{Unit: s.at.unit("CG"), Particulars: note("地锁和杂物由城管清理")})
		s.ask(4*minute, s.at.clerk("street"), &pb.AnswerCoHandlingRequest{Particulars: note("社区已在现场，无需重复派员")})
		s.ask(8*minute, s.dispatcher(), &pb.DecideCoDeclineRequest{Unit: s.at.unit("street"), Consented: true})
		for _, unit := range []string{"GA", "CG"} {
			s.ask(30*minute, s.at.clerk(unit), &pb.SubmitCoTaskRequest{
				Particulars: &pb.Particulars{Text: "已到场处置完毕"}, Attachments: s.photo(pb.AttachmentKind_ATTACHMENT_KIND_AFTER),
			})
		}
		s.done()
	},
	func(s *story, c *city) { // the community cannot do it, is sent back once, and the second time the street takes it
		s.tells(about("0101"), c)
		s.lead = "community"
		s.daily(8, 28)
		s.underway()
		escalate := func() {
			s.ask(20*minute, s.clerk(), &pb.EscalateTicketRequest{
				Reason: pb.EscalationReason_ESCALATION_REASON_RESOURCES, Particulars: note("垃圾量大，社区无清运车辆"),
			})
		}
		escalate()
		s.ask(15*minute, s.dispatcher(), &pb.RefuseEscalationRequest{Particulars: note("请先联系物业清运")})
		s.progress()
		escalate()
		s.lead = "street"
		s.sign()
		s.done()
	},
	func(s *story, c *city) { // the street has the community do it
		s.tells(about("1004"), c)
		s.lead = "street"
		s.daily(8, 33)
		s.called()
		s.triage(nil)
		s.dispatch()
		s.sign()
		s.ask(10*minute, s.clerk(), &pb.DelegateTicketRequest{To: s.at.unit("community"), BasisRule: 2})
		s.lead = "community"
		s.sign()
		s.contact(true)
		s.done()
	},
}

// dispatchedTo: somebody calls, and one of the district's departments gets it.
func (s *story) dispatchedTo(lead string) {
	s.lead = lead
	s.called()
	s.triage(nil)
	s.dispatch()
}

// giveBack: the lead says that it is another's.
func (s *story) giveBack(suggested, text string) {
	s.ask(15*minute, s.clerk(), &pb.RequestReturnRequest{
		Reason: pb.ReturnReason_RETURN_REASON_NOT_OUR_DUTY, BasisRef: "duties-2024/12", Suggested: s.at.unit(suggested), Particulars: &pb.Particulars{Text: text},
	})
}
