package demo

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// listings are problems that are listed and are no tickets, and samples of closed tickets.
var listings = []func(*story, *city){
	func(s *story, _ *city) { // planned, not done at first, done then, and cleared
		s.ago(4, 9, 0)
		s.listProblem(pb.ListingOrigin_LISTING_ORIGIN_APPRAISAL, "述职评议反映：背街小巷保洁不到位")
		s.planned("增加早晚保洁班次，明确责任人")
		s.rectifiedProblem()
		s.inspected(false)
		s.planned("更换保洁公司，每日巡查")
		s.rectifiedProblem()
		s.inspected(true)
		s.askOf("listings", minute, s.supervisor(), &pb.GetListingRequest{})
		s.askOf("listings", 30*minute, s.supervisor(), &pb.ClearListedProblemRequest{}).refused = "SECOND_PERSON_NEEDED"
		s.askOf("listings", 10*minute, s.supervisorOfCity(), &pb.ClearListedProblemRequest{Particulars: note("现场核实已整改，同意销号")})
		s.askOf("listings", minute, s.supervisorOfCity(), &pb.ListListingsRequest{Filter: "origin = APPRAISAL"})
	},
	func(s *story, _ *city) { // nobody plans in time; the owner is called to account
		s.ago(9, 10, 0)
		s.listProblem(pb.ListingOrigin_LISTING_ORIGIN_INSPECTION, "督查发现：在建工地扬尘管控不力")
		s.askOf("listings", minute, s.supervisor(), &pb.GetListingRequest{})
		missed := s.then(minute, systemActor, pb.ListingService_PassListingTimer_FullMethodName, func(c call) proto.Message {
			return &pb.PassListingTimerRequest{Name: c.names["listings"], RequestId: c.id, Timer: pb.ListingTimer_LISTING_TIMER_PLAN, By: s.problem.PlanBy}
		})
		missed.notBefore = s.today(9, 9, 0)
		call := s.askOf("listings", minute, s.supervisor(), &pb.HoldToAccountRequest{
			Kind: pb.AccountKind_ACCOUNT_KIND_INTERVIEW, Particulars: &pb.Particulars{Text: "约谈主要负责人，限期提交整改方案"},
		})
		call.notBefore = s.today(9, 9, 10)
		s.planned("加装喷淋，裸土覆盖")
		s.rectifiedProblem()
	},
	func(s *story, c *city) { // closed, drawn, and found to be false
		s.tells(about("0302"), c)
		s.lead = "CG"
		s.daily(8, 10)
		s.begin = s.begin.AddDate(0, 0, -2)
		s.underway()
		s.result(pb.ResultCode_RESULT_CODE_RESOLVED)
		s.verify(true)
		s.answered(pb.Solved_SOLVED_YES)
		s.close()
		s.drawn(pb.CheckKind_CHECK_KIND_SPOT_CHECK, "")
		s.askOf("checks", minute, s.supervisorOfCity(), &pb.GetSpotCheckRequest{})
		s.looked(s.clerk(), false).refused = "OUT_OF_SCOPE" // a clerk sees no samples
		s.looked(s.supervisor(), true)
		s.askOf("checks", minute, s.supervisorOfCity(), &pb.ListSpotChecksRequest{Filter: "kind = SPOT_CHECK"})
		s.look(s.supervisor())
	},
	func(s *story, c *city) { // a category is inspected, and its results are as told
		s.tells(about("0303"), c)
		s.lead = "CG"
		s.daily(8, 20)
		s.begin = s.begin.AddDate(0, 0, -2)
		s.underway()
		s.result(pb.ResultCode_RESULT_CODE_RESOLVED)
		s.verify(true)
		s.answered(pb.Solved_SOLVED_YES)
		s.close()
		s.drawn(pb.CheckKind_CHECK_KIND_FOCUSED_INSPECTION, "03")
		s.looked(s.supervisor(), false)
	},
}

// listProblem: the district's centre lists something that a department has to put right.
func (s *story) listProblem(origin pb.ListingOrigin, text string) {
	s.lead = "CG"
	s.then(0, s.supervisor(), pb.ListingService_ListProblem_FullMethodName, func(c call) proto.Message {
		return &pb.ListProblemRequest{RequestId: c.id, Origin: origin, Area: s.at.street.Code, Owner: s.at.unit(s.lead), Particulars: &pb.Particulars{Text: text}}
	})
}

// planned: its head says how it will be put right, within two days.
func (s *story) planned(text string) {
	unit := s.at.unit(s.lead)
	s.then(s.between(30*minute, 200*minute), actor("head-"+unit, unit, pb.Role_ROLE_DEPARTMENT_HEAD), pb.ListingService_PlanRectification_FullMethodName, func(c call) proto.Message {
		return &pb.PlanRectificationRequest{
			Name: c.names["listings"], RequestId: c.id, Person: "head-" + unit, ClearBy: timestamppb.New(c.late.AsTime().Add(2 * 24 * time.Hour)), Particulars: &pb.Particulars{Text: text},
		}
	})
}

func (s *story) rectifiedProblem() {
	s.askOf("listings", s.between(2*time.Hour, 8*time.Hour), s.clerk(), &pb.ReportRectifiedRequest{
		Attachments: s.photo(pb.AttachmentKind_ATTACHMENT_KIND_AFTER), Particulars: &pb.Particulars{Text: "已按方案整改"},
	})
}

// inspected: the centre that listed it looks.
func (s *story) inspected(passed bool) {
	r := &pb.CheckRectificationRequest{Passed: passed}
	if !passed {
		r.Particulars = &pb.Particulars{Text: "现场仍有积存垃圾"}
	}
	s.askOf("listings", s.between(30*minute, 180*minute), s.supervisor(), r)
}

// drawn: everything of the street that was closed since the story began is drawn.
func (s *story) drawn(kind pb.CheckKind, category string) {
	s.then(s.between(30*minute, 60*minute), s.supervisorOfCity(), pb.ListingService_DrawSpotCheck_FullMethodName, func(c call) proto.Message {
		return &pb.DrawSpotCheckRequest{
			RequestId: c.id, Kind: kind, Area: s.at.street.Code, From: timestamppb.New(s.begin), To: c.late, Size: 400, Category: category,
		}
	})
}

// looked: somebody looks again at the story's ticket.
func (s *story) looked(by string, untrue bool) *step {
	photos := s.photo(pb.AttachmentKind_ATTACHMENT_KIND_AFTER)
	return s.then(s.between(30*minute, 90*minute), by, pb.ListingService_RecordSpotCheck_FullMethodName, func(c call) proto.Message {
		r := &pb.RecordSpotCheckRequest{Name: c.names["checks"], RequestId: c.id, Ticket: c.ticket, FalseResult: untrue, Attachments: photos}
		if untrue {
			r.Particulars = &pb.Particulars{Text: "抽查现场路灯仍不亮，办结不实"}
		}
		return r
	})
}
