package demo

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// calls are matters that a whistle is blown for, in all the ways in which one can go.
var calls = []func(*story, *city){
	func(s *story, c *city) { // a community asks its street, and the units that the call-item list names come, or do not
		s.tells(about("0302"), c)
		s.lead = "community"
		s.daily(7, 35)
		s.called()
		s.triage(nil)
		s.dispatch()
		s.sign()
		s.contact(true)
		ask := func() proto.Message {
			return &pb.AskWhistleRequest{
				Kind: pb.WhistleKind_WHISTLE_KIND_ENFORCEMENT, CallItem: "0302", Particulars: &pb.Particulars{Text: "灯杆产权不清，社区无权处置"},
			}
		}
		leader, clerk := s.officer(pb.Role_ROLE_STREET_LEADER), s.officer(pb.Role_ROLE_STREET_CLERK)
		s.ask(10*minute, s.clerk(), ask())
		s.ask(15*minute, leader, &pb.DeclineWhistleAskRequest{Reason: "WITHIN_OWN_AUTHORITY", Particulars: note("请先联系物业核实产权")})
		s.ask(30*minute, s.clerk(), ask())
		s.whistleFor("", pb.WhistleKind_WHISTLE_KIND_ENFORCEMENT, "0302", leader)
		city := actor("screener-"+cityCentre, cityCentre, pb.Role_ROLE_DISPATCHER)
		s.onWhistle(10*minute, city, &pb.ScreenWhistleRequest{Issue: true, Retype: pb.WhistleKind_WHISTLE_KIND_ROUTINE})
		works, power, urban := s.at.clerk("SZ"), s.at.clerk("+GD"), s.at.clerk("CG")
		s.onWhistle(5*minute, works, &pb.SignWhistleRequest{})
		s.onWhistle(2*minute, works, &pb.ContactStreetRequest{})
		s.onWhistle(minute, power, &pb.RequestExcuseRequest{RulingRef: "RULING-2024/18"})
		s.onWhistle(2*minute, clerk, &pb.EndorseExcuseRequest{Unit: s.at.unit("+GD"), Particulars: note("该裁定不涉及本路段")})
		s.onWhistle(2*minute, power, &pb.RequestExcuseRequest{Replacement: s.at.unit("CG"), Particulars: note("灯杆非我公司资产，由城管到场")})
		s.onWhistle(4*minute, clerk, &pb.EndorseExcuseRequest{Unit: s.at.unit("+GD"), Endorse: true})
		s.onWhistle(6*minute, city, &pb.DecideExcuseRequest{Unit: s.at.unit("+GD"), Grant: true})
		s.onWhistle(2*minute, city, &pb.AddParticipantRequest{Summons: &pb.Summons{Unit: s.at.unit("GA"), Optional: true}})
		s.onWhistle(minute, actor("timers", cityCentre, pb.Role_ROLE_SYSTEM), &pb.PassWhistleTimerRequest{ // not yet: nothing comes of it
			Timer: pb.WhistleTimer_WHISTLE_TIMER_REPORT_IN, By: timestamppb.New(s.begin), Unit: s.at.unit("SZ"),
		})
		for _, who := range []string{works, urban} {
			s.onWhistle(12*minute, who, &pb.ReportInRequest{Person: "officer-1", Rank: "科长", Position: s.position()})
		}
		s.onWhistle(3*minute, s.clerk(), &pb.JoinWhistleRequest{Person: "volunteer-1", Position: s.position()})
		s.onWhistle(30*minute, urban, &pb.CompleteTaskRequest{})
		s.onWhistle(5*minute, works, &pb.LeaveWhistleRequest{Particulars: note("另有抢修任务")})
		s.onWhistle(5*minute, leader, &pb.ConfirmWhistleRequest{Resolved: true}).refused = "TASKS_OPEN"
		s.onWhistle(5*minute, leader, &pb.WaiveTaskRequest{Unit: s.at.unit("SZ"), Reason: "DONE_BY_OTHERS"})
		s.onWhistle(3*minute, clerk, &pb.ReleaseParticipantRequest{Unit: s.at.unit("CG")})
		s.onWhistle(10*minute, leader, &pb.ConfirmWhistleRequest{Resolved: true})
		s.onWhistle(5*minute, s.clerk(), &pb.RateUnitRequest{Unit: s.at.unit("CG"), Response: 5, Cooperation: 5, Result: 4})
		s.onWhistle(5*minute, actor("citizen-whistle", cityCentre, pb.Role_ROLE_CITIZEN), &pb.RateUnitRequest{Unit: s.at.unit("CG"), Response: 5, Cooperation: 4, Result: 5})
		s.onWhistle(5*minute, clerk, &pb.RateUnitRequest{Unit: s.at.unit("SZ"), Response: 4, Cooperation: 2, Result: 2})
		s.onWhistle(2*minute, clerk, &pb.RateUnitRequest{Unit: s.at.unit("CG"), Response: 5, Cooperation: 5, Result: 5})
		s.onWhistle(2*minute, clerk, &pb.CloseWhistleRequest{})
		s.result(pb.ResultCode_RESULT_CODE_RESOLVED)
		s.settled()
	},
	func(s *story, c *city) { // nobody signs in time, and it is done before anybody comes
		s.toStreet("0103", c)
		s.daily(9, 20)
		s.underway()
		leader := s.officer(pb.Role_ROLE_STREET_LEADER)
		s.whistleFor("请城管部门到场拆除", pb.WhistleKind_WHISTLE_KIND_ROUTINE, "", leader, s.at.unit("CG"))
		s.screen(true, []summoned{{lead: "CG"}})
		s.onWhistle(95*minute, leader, &pb.CancelWhistleRequest{Reason: "SOLVED_OTHERWISE", Particulars: note("商户已自行拆除")})
		s.result(pb.ResultCode_RESULT_CODE_RESOLVED)
		s.settled()
	},
	func(s *story, c *city) { // the district's departments cannot agree, and the city finds that they can
		s.toStreet("0204", c)
		s.daily(8, 25)
		s.underway()
		leader := s.officer(pb.Role_ROLE_STREET_LEADER)
		s.whistleFor("公共绿地被圈占，部门意见不一", pb.WhistleKind_WHISTLE_KIND_ROUTINE, "", leader, s.at.unit("CG"), s.at.unit("ZJ"))
		s.screen(true, []summoned{{lead: "CG"}, {lead: "ZJ"}})
		s.onWhistle(60*minute, leader, &pb.RaiseWhistleRequest{Particulars: note("区级部门意见不一，请市级协调")})
		s.onWhistle(minute, s.officer(pb.Role_ROLE_STREET_CLERK), &pb.GetWhistleRequest{})
		s.onWhistle(20*minute, actor("screener-"+cityCentre, cityCentre, pb.Role_ROLE_DISPATCHER), &pb.ScreenWhistleRequest{
			Reason: "WITHIN_DISTRICT", Particulars: note("属区级权限，请区里裁定"),
		})
		s.result(pb.ResultCode_RESULT_CODE_PARTLY)
		s.settled()
	},
}

// onWhistle adds a call about the story's whistle: the latest that it blew, or the one that was raised to.
func (s *story) onWhistle(after time.Duration, by string, r proto.Message) *step {
	m := r.ProtoReflect()
	return s.then(after, by, methodOf(m.Descriptor()), func(c call) proto.Message {
		for field, value := range map[protoreflect.Name]string{"name": c.whistle, "request_id": c.id} {
			if d := m.Descriptor().Fields().ByName(field); d != nil {
				m.Set(d, protoreflect.ValueOfString(value))
			}
		}
		return r
	})
}

// whistleFor: somebody blows for the story's ticket, to units or to those that the call item names.
func (s *story) whistleFor(reason string, kind pb.WhistleKind, item, by string, units ...string) {
	r := &pb.BlowWhistleRequest{Kind: kind, CallItem: item, Position: s.position()}
	if reason != "" {
		r.Particulars = &pb.Particulars{Text: reason}
	}
	for _, u := range units {
		r.Summons = append(r.Summons, &pb.Summons{Unit: u})
	}
	s.then(s.quickly(5*minute, 20*minute), by, pb.WhistleService_BlowWhistle_FullMethodName, func(c call) proto.Message {
		r.RequestId, r.Tickets = c.id, []string{c.ticket}
		return r
	})
}
