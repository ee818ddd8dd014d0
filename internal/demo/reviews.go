package demo

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// opinions are what people think of how units work.
var opinions = []func(*story, *city){
	func(s *story, c *city) { // rated by the street, the community and the petitioner, and reviewed from three sides
		s.tells(about("0102"), c)
		s.daily(7, 45)
		s.lead, s.urgent = "CG", true
		s.called()
		s.triage(nil)
		s.dispatch()
		s.handled()
		s.verify(true)
		s.answered(pb.Solved_SOLVED_PARTLY)
		s.close()
		secretary := actor("secretary-"+s.at.community.Code, s.at.community.Code, pb.Role_ROLE_COMMUNITY_SECRETARY)
		s.ask(10*minute, actor("leader-"+s.at.street.Code, s.at.street.Code, pb.Role_ROLE_STREET_LEADER), &pb.RateLeadRequest{Response: 3, Cooperation: 4, Result: 2})
		s.ask(10*minute, secretary, &pb.RateLeadRequest{Response: 4, Cooperation: 4, Result: 3})
		s.ask(10*minute, actor("citizen-app", cityCentre, pb.Role_ROLE_CITIZEN), &pb.RateLeadRequest{Response: 2, Cooperation: 3, Result: 2})
		s.ask(20*minute, secretary, &pb.RecordJointReviewRequest{
			Residents: 14, ResidentsScore: 78_50, PartyMembers: 6, PartyMembersScore: 81_00, Particulars: note("居民代表、党员现场评议"),
		})
		month := time.Date(s.begin.Year(), s.begin.Month(), 1, 0, 0, 0, 0, s.begin.Location())
		from, to := timestamppb.New(month.AddDate(0, -1, 0)), timestamppb.New(month)
		holder := actor("supervisor-review", cityCentre, pb.Role_ROLE_SUPERVISOR)
		s.askOf("reviews", 30*minute, holder, &pb.OpenReviewRequest{
			Unit: s.at.district.Code + "-CG", From: from, To: to,
			Group: []*pb.Reviewer{
				{Person: "org-1", Kind: pb.ReviewerKind_REVIEWER_KIND_ORGANISATION, Capacity: "superior"},
				{Person: "party-1", Kind: pb.ReviewerKind_REVIEWER_KIND_PARTY_MEMBER, Capacity: "branch-secretary"},
				{Person: "resident-1", Kind: pb.ReviewerKind_REVIEWER_KIND_RESIDENT, Capacity: "resident-representative"},
			},
		})
		for _, x := range []struct {
			person string
			score  uint32
		}{{"org-1", 60_00}, {"party-1", 55_00}, {"resident-1", 20_00}} {
			s.askOf("reviews", 5*minute, holder, &pb.ScoreReviewRequest{Person: x.person, Score: x.score})
		}
		s.askOf("reviews", 5*minute, holder, &pb.CloseReviewRequest{})
		s.askOf("reviews", minute, holder, &pb.GetReviewRequest{})
		s.askOf("grades", 10*minute, secretary, &pb.GradeResidentUnitRequest{
			Unit: cityArea + "-TX", From: from, To: to, Score: 82_00, NotReportedIn: 1, NotTaken: 2, Particulars: note("参加共建活动三次，缺席一次"),
		})
		s.askOf("opinions", 10*minute, actor("party-secretary-"+s.at.street.Code, s.at.street.Code, pb.Role_ROLE_STREET_SECRETARY), &pb.GiveStreetOpinionRequest{
			Department: s.at.district.Code + "-CG", DecisionRef: "CG-2025-7", Particulars: &pb.Particulars{Text: "建议夜市疏导点避开居民楼"},
		})
	},
}
