package demo

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// neighbours are what communities do together: deliberate a matter of the month, and exchange needs and resources.
var neighbours = []func(*story, *city){
	func(s *story, _ *city) {
		s.daily(9, 15)
		s.deliberated()
	},
	func(s *story, _ *city) { // a resource that is needed
		s.daily(9, 40)
		s.exchanged()
	},
	func(s *story, _ *city) { // a need that is withdrawn
		s.daily(14, 20)
		s.askOf("exchanges", 0, s.communityClerk(), &pb.OpenEntryRequest{
			Kind: pb.ExchangeKind_EXCHANGE_KIND_NEED, Topic: "volunteers", Particulars: &pb.Particulars{Text: "周末集市需要志愿者十名"},
		})
		s.askOf("exchanges", 90*minute, s.communityClerk(), &pb.WithdrawEntryRequest{Particulars: &pb.Particulars{Note: "集市改期"}})
	},
}

func (s *story) communityClerk() string {
	return actor("clerk-"+s.at.community.Code, s.at.community.Code, pb.Role_ROLE_COMMUNITY_CLERK)
}

// deliberated: a community chooses its matter of the month, deliberates and decides it, and publishes what came of it once the words name nobody.
func (s *story) deliberated() {
	secretary, clerk := s.secretary(), s.communityClerk()
	matter := func(text string) *pb.ChooseMatterRequest {
		return &pb.ChooseMatterRequest{Area: s.at.community.Code, Month: s.begin.Format("2006-01"), Particulars: &pb.Particulars{Text: text}}
	}
	s.askOf("deliberations", 0, secretary, matter("小区停车难，夜间消防通道被占"))
	s.askOf("deliberations", 10*minute, secretary, matter("垃圾分类点位调整")).refused = "ALREADY_EXISTS"
	s.askOf("deliberations", 200*minute, clerk, &pb.RecordDeliberationRequest{
		Residents: 34, Units: []string{s.at.community.Code, s.at.street.Code}, Particulars: &pb.Particulars{Text: "居民代表三十四人到会，主张与沿街单位错时共享"},
	})
	doBy := timestamppb.New(s.begin.AddDate(0, 1, 0))
	s.askOf("deliberations", 30*minute, secretary, &pb.DecideMatterRequest{
		VotesFor: 31, VotesAgainst: 3, Lead: s.at.street.Code, DoBy: doBy, Particulars: &pb.Particulars{Text: "由街道牵头与沿街单位签订错时共享协议"},
	})
	s.askOf("deliberations", 20*minute, clerk, &pb.PublishMatterRequest{Particulars: &pb.Particulars{Reply: "错时共享停车，登记请打13800001234"}}).refused = "NEEDS_REDACTION"
	s.askOf("deliberations", 5*minute, clerk, &pb.PublishMatterRequest{Particulars: &pb.Particulars{Reply: "与沿街单位错时共享停车位，下月起施行，请到居委会登记"}})
	s.askOf("deliberations", 60*minute, s.resident(), &pb.GetDeliberationRequest{})
}

// exchanged: a community states a need, and two departments have what it takes; the first that claims it gets it.
func (s *story) exchanged() {
	clerk := s.communityClerk()
	offer := func(lead, text string) (by string, r *pb.OpenEntryRequest) {
		unit := s.at.unit(lead)
		return actor("clerk-"+unit, unit, pb.Role_ROLE_DEPARTMENT_CLERK), &pb.OpenEntryRequest{
			Kind: pb.ExchangeKind_EXCHANGE_KIND_RESOURCE, Area: s.at.street.Code, Topic: "venue", Particulars: &pb.Particulars{Text: text},
		}
	}
	var need, late string
	s.askOf("exchanges", 0, clerk, &pb.OpenEntryRequest{
		Kind: pb.ExchangeKind_EXCHANGE_KIND_NEED, Topic: "venue", OpenUntil: timestamppb.New(s.begin.AddDate(0, 0, 14)),
		Particulars: &pb.Particulars{Text: "老年大学周末缺少活动场地"},
	})
	firstBy, first := offer("MZ", "局机关三楼会议室周末开放")
	s.then(25*minute, firstBy, pb.WallService_OpenEntry_FullMethodName, func(c call) proto.Message {
		need, first.RequestId = c.names["exchanges"], c.id
		return first
	})
	s.then(5*minute, firstBy, pb.WallService_MatchEntry_FullMethodName, func(c call) proto.Message {
		return &pb.MatchEntryRequest{Name: c.names["exchanges"], RequestId: c.id, With: need}
	})
	laterBy, later := offer("ZJ", "项目部活动室周末开放")
	s.then(20*minute, laterBy, pb.WallService_OpenEntry_FullMethodName, func(c call) proto.Message {
		later.RequestId = c.id
		return later
	})
	s.then(5*minute, laterBy, pb.WallService_MatchEntry_FullMethodName, func(c call) proto.Message {
		late = c.names["exchanges"]
		return &pb.MatchEntryRequest{Name: late, RequestId: c.id, With: need}
	}).refused = "WRONG_STATE"
	s.then(240*minute, clerk, pb.WallService_FulfilEntry_FullMethodName, func(c call) proto.Message {
		return &pb.FulfilEntryRequest{Name: need, RequestId: c.id, Particulars: &pb.Particulars{Note: "场地已启用"}}
	})
	s.then(10*minute, clerk, pb.WallService_GetEntry_FullMethodName, func(call) proto.Message { return &pb.GetEntryRequest{Name: need} })
	s.then(10*minute, laterBy, pb.WallService_WithdrawEntry_FullMethodName, func(c call) proto.Message {
		return &pb.WithdrawEntryRequest{Name: late, RequestId: c.id}
	})
}
