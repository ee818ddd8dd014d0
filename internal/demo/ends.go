package demo

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// ends are matters that begin or end otherwise than most.
var ends = []func(*story, *city){
	func(s *story, c *city) { // declined, and the petitioner is right that it should not have been
		s.tells(about("0703"), c)
		s.daily(8, 12)
		s.report(s.agent(), s.byPhone())
		s.ask(3*minute, s.agent(), &pb.DeclineTicketRequest{
			Reason: pb.DeclineReason_DECLINE_REASON_PRIVATE_MATTER, Particulars: &pb.Particulars{Reply: "属于民事合同纠纷，可申请仲裁"},
		})
		s.ask(5*minute, s.leader(1), &pb.DeclineTicketRequest{Confirmation: pb.Confirmation_CONFIRMATION_CONFIRM})
		s.ask(20*minute, actor("citizen-decline", cityCentre, pb.Role_ROLE_CITIZEN), &pb.AppealDeclineRequest{
			Particulars: &pb.Particulars{Text: "多名会员被拒退费，涉嫌侵害消费者权益"},
		})
		s.ask(30*minute, s.supervisorOfCity(), &pb.OverturnDeclineRequest{Particulars: note("属市场监管职责，应予受理")})
		s.whole()
	},
	func(s *story, c *city) { // the caller is put through at once, and the matter is followed up
		s.tells(about("0603"), c)
		s.daily(9, 40)
		s.report(s.agent(), s.byPhone())
		s.ask(minute, s.agent(), &pb.HandOverEmergencyRequest{Line: pb.EmergencyLine_EMERGENCY_LINE_FIRE, Ref: "119-0042"})
		s.accept(s.agent())
		s.whole()
	},
	func(s *story, c *city) { // four call about one thing, and one of them meant another
		s.tells(about("0303"), c)
		s.daily(8, 18)
		others := []string{"", "second", "third", "fourth"}
		for _, s.which = range others {
			s.called()
		}
		for _, s.which = range others[1:] {
			s.then(4*minute, s.dispatcherOfCity(), pb.TicketService_MergeTicket_FullMethodName, func(c call) proto.Message {
				return &pb.MergeTicketRequest{Name: c.ticket, RequestId: c.id, Into: s.tickets[""]}
			})
		}
		s.ask(15*minute, s.supervisorOfCity(), &pb.UnmergeTicketRequest{Particulars: note("核实为另一路口的井盖，撤销并件")})
		s.whole()
		s.which = ""
		s.whole()
	},
	func(s *story, c *city) { // the petitioner takes it back
		s.tells(about("1102"), c)
		s.daily(9, 25)
		s.underway()
		s.ask(20*minute, s.agent(), &pb.WithdrawTicketRequest{PrivateBenefit: true, Particulars: &pb.Particulars{Text: "双方已和解，申请撤诉"}})
	},
	func(s *story, c *city) { // the petitioner takes it back, but what is dangerous stays to be dealt with
		s.tells(about("0503"), c)
		s.ago(2, 9, 35)
		s.underway()
		s.ask(20*minute, s.agent(), &pb.WithdrawTicketRequest{Hazard: true, Particulars: &pb.Particulars{Text: "诉求人撤诉，楼道充电隐患仍在"}})
	},
	func(s *story, c *city) { // the lead asks to leave it out of its rates, twice
		s.tells(about("0902"), c)
		s.daily(7, 55)
		s.lead, s.urgent = "GA", true
		s.underway()
		s.result(pb.ResultCode_RESULT_CODE_RESOLVED)
		s.verify(true)
		s.answered(pb.Solved_SOLVED_NO)
		s.close()
		exclusion := func(code pb.ExclusionCode, text string, granted bool, because string) {
			s.ask(15*minute, s.clerk(), &pb.RequestExclusionRequest{Code: code, Particulars: &pb.Particulars{Text: text}})
			assessor := actor("assessor", cityArea+"-KH", pb.Role_ROLE_ASSESSMENT)
			s.ask(30*minute, assessor, &pb.DecideExclusionRequest{Granted: granted, Particulars: note(because)})
		}
		exclusion(pb.ExclusionCode_EXCLUSION_CODE_X6, "诉求人诉求超出政策", false, "未见政策依据，不予剔除")
		exclusion(pb.ExclusionCode_EXCLUSION_CODE_X8, "信号灯已恢复，诉求人另提新要求", true, "核实属实，同意剔除")
	},
	func(s *story, c *city) { // laid down, and put right by two auditors
		s.tells(about("0402"), c)
		s.ago(eldest, 9, 45)
		s.underway()
		s.result(pb.ResultCode_RESULT_CODE_RESOLVED)
		s.verify(true)
		s.answered(pb.Solved_SOLVED_YES)
		s.close()
		s.ask(days(32), actor("assessor", cityCentre, pb.Role_ROLE_ASSESSMENT), &pb.ArchiveTicketRequest{})
		auditor := func(n int) string {
			return actor([]string{"auditor-one", "auditor-two"}[n], cityArea+"-SJ", pb.Role_ROLE_AUDITOR)
		}
		s.ask(time.Hour, auditor(0), &pb.CorrectArchiveRequest{Category: "0404", Particulars: note("应归通信杆线")})
		s.ask(time.Hour, auditor(1), &pb.CorrectArchiveRequest{Confirmation: pb.Confirmation_CONFIRMATION_DROP, Particulars: note("垂落的是电线，类别无误")})
		s.ask(time.Hour, auditor(0), &pb.CorrectArchiveRequest{Result: pb.ResultCode_RESULT_CODE_PARTLY, Particulars: note("二次检查仍有一处未绝缘")})
		s.ask(time.Hour, auditor(1), &pb.CorrectArchiveRequest{Confirmation: pb.Confirmation_CONFIRMATION_CONFIRM})
	},
	func(s *story, c *city) { // what the system asks of every ticket after a change; of this one nothing comes of it
		s.tells(about("0102"), c)
		s.daily(9, 50)
		s.called()
		s.ask(2*minute, s.dispatcherOfCity(), &pb.SuggestTriageRequest{})
		s.triage(nil)
		s.dispatch()
		s.sign()
		s.ask(minute, systemActor, &pb.PassTimerRequest{Timer: pb.TicketTimer_TICKET_TIMER_SIGN, By: timestamppb.New(s.begin.Add(8 * time.Hour))})
		s.ask(minute, systemActor, &pb.RecomputeLimitsRequest{})
		s.ask(minute, systemActor, &pb.MoveHolderRequest{})
		s.contact(true)
		s.done()
	},
}
