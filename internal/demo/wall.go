package demo

import (
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// walls are problems that residents put on the wall of their grid.
var walls = []func(*story, *city){
	(*story).lookedAfter,
	(*story).lookedAfter,
	(*story).lookedAfter,
	(*story).lookedAfter,
	func(s *story, c *city) { // no matter for a wall
		s.tells(about("1102"), c)
		s.daily(9, 5)
		s.post(s.petitioner())
		s.askOf("posts", 12*minute, s.gridWorker(), &pb.ScreenPostRequest{Reason: "PRIVATE_MATTER", Particulars: note("属家庭内部事务，已建议调解")})
	},
	func(s *story, c *city) { // from the child wall to the mother wall, to a ticket that the secretary claims, and back to both walls
		s.tells(about("0101"), c)
		s.lead = "community"
		s.daily(7, 10)
		poster, other := s.petitioner(), &pb.Petitioner{Phone: "13900000077"}
		s.post(poster)
		s.admit()
		s.askOf("posts", 10*minute, s.resident(), &pb.SupportPostRequest{Particulars: &pb.Particulars{Petitioner: other}})
		s.askOf("posts", 2*minute, s.resident(), &pb.SupportPostRequest{Particulars: &pb.Particulars{Petitioner: other}}).refused = "ALREADY_DONE"
		s.askOf("posts", 15*minute, s.gridWorker(), &pb.LiftPostRequest{Reason: pb.EscalationReason_ESCALATION_REASON_RESOURCES})
		s.askOf("posts", 20*minute, s.secretary(), &pb.RecordJointHandlingRequest{
			Units: []string{s.at.unit("CG")}, Particulars: &pb.Particulars{Text: "城管部门提供清运车，社区组织党员清扫"},
		})
		session := &pb.RecordJointSolvingRequest{Residents: 9, Units: []string{s.at.unit("CG")}, Particulars: &pb.Particulars{Text: "议定增设装修垃圾临时堆放点，每周清运两次"}}
		s.askOf("posts", 50*minute, s.secretary(), session)
		held := &s.steps[len(s.steps)-1]
		ask := held.command
		held.command = func(c call) proto.Message {
			session.HeldAt = c.late
			return ask(c)
		}
		s.askOf("posts", 10*minute, s.secretary(), &pb.TicketPostRequest{})
		s.triage(nil)
		s.ask(10*minute, s.secretary(), &pb.ClaimTicketRequest{SecretaryOwned: true, Particulars: note("书记领办")})
		s.sign()
		s.contact(true)
		s.ask(10*minute, s.secretary(), &pb.PublishEchoRequest{Kind: pb.EchoKind_ECHO_KIND_PROGRESS, Particulars: &pb.Particulars{Reply: s.about.progress}})
		s.result(pb.ResultCode_RESULT_CODE_RESOLVED)
		s.verify(true)
		s.answered(pb.Solved_SOLVED_YES)
		s.close().refused = "ECHO_NEEDED"
		s.ask(5*minute, s.secretary(), &pb.PublishEchoRequest{
			Kind: pb.EchoKind_ECHO_KIND_RESULT, Particulars: &pb.Particulars{Reply: s.about.reply + "，详询13800000000"},
		}).refused = "NEEDS_REDACTION"
		s.ask(5*minute, s.secretary(), &pb.PublishEchoRequest{Kind: pb.EchoKind_ECHO_KIND_RESULT, Particulars: &pb.Particulars{Reply: s.about.reply}})
		s.close()
		s.askOf("posts", 10*minute, s.resident(), &pb.ReviewPostRequest{Score: 5, Particulars: &pb.Particulars{Petitioner: other}})
		s.askOf("posts", minute, s.resident(), &pb.GetPostRequest{})
	},
	func(s *story, c *city) { // what another system's wall solved comes in as its ticket
		s.tells(about("0101"), c)
		s.daily(15, 20)
		s.then(0, actor("wall", cityCentre, pb.Role_ROLE_SYSTEM), pb.TicketService_SolveOnWall_FullMethodName, func(c call) proto.Message {
			id := uuid.NewSHA1(uuid.NameSpaceURL, []byte(c.id)).String()
			return &pb.SolveOnWallRequest{
				Name: "tickets/" + id, RequestId: c.id, Post: "posts/" + id, Area: s.at.grid.Code, Unit: s.at.grid.Code, Category: s.about.category,
				PostedAt: timestamppb.New(c.late.AsTime().Add(-time.Hour)), Anonymous: true, Drawn: true, Percent: 10,
				Particulars: &pb.Particulars{Text: s.about.text, Reply: s.about.reply},
			}
		})
		s.ask(40*minute, actor("clerk-"+s.at.community.Code, s.at.community.Code, pb.Role_ROLE_COMMUNITY_CLERK), &pb.VerifyResultRequest{Passed: true, OnSite: true})
		s.close()
	},
}

// lookedAfter: the grid worker puts it right at once.
func (s *story) lookedAfter(c *city) {
	s.tells(about("0101"), c)
	s.daily(8, 20)
	s.post(&pb.Petitioner{Anonymous: true})
	s.admit()
	s.askOf("posts", 45*minute, s.gridWorker(), &pb.SelfSolvePostRequest{
		Attachments: s.photo(pb.AttachmentKind_ATTACHMENT_KIND_AFTER), Particulars: &pb.Particulars{Reply: s.about.reply},
	})
	s.askOf("posts", minute, s.resident(), &pb.GetPostRequest{})
}

// post: a resident puts it on the wall of the grid.
func (s *story) post(by *pb.Petitioner) {
	s.askOf("posts", 0, s.resident(), &pb.PostOnWallRequest{
		Area: s.at.grid.Code, Category: s.about.category, Position: s.position(), Attachments: s.photo(pb.AttachmentKind_ATTACHMENT_KIND_BEFORE),
		Tags: []string{"ten-noes"}, Particulars: &pb.Particulars{Title: s.about.title, Text: s.about.text, Petitioner: by},
	})
}

// admit: it stands on the wall for everybody.
func (s *story) admit() {
	s.askOf("posts", 15*minute, s.gridWorker(), &pb.ScreenPostRequest{Admit: true, Particulars: &pb.Particulars{Reply: s.about.title + "，已受理"}})
}

func (s *story) resident() string { return actor("wall-app", cityCentre, pb.Role_ROLE_CITIZEN) }

func (s *story) secretary() string {
	return actor("secretary-"+s.at.community.Code, s.at.community.Code, pb.Role_ROLE_COMMUNITY_SECRETARY)
}
