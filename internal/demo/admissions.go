package demo

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// appliedFor is how many days before the day the first admission was applied for: thirty working days lie between that and its beginning,
// whatever holidays there are, and it ends on the day.
const appliedFor = 70

// beginsAfter is how many days after its application an admission begins.
const beginsAfter = 64

// admissions are what the ban list keeps out of communities, and how it comes in all the same.
var admissions = []func(*story, *city){
	func(s *story, c *city) { // admitted for a week, in which a street has its community do it, and over on the day
		s.toStreet("0302", c)
		s.ago(appliedFor, 9, 0)
		until := s.today(appliedFor, 10, 0)
		community := s.at.community.Code
		s.applies("B42", until, community)
		s.askOf("admissions", days(2), s.supervisor(), &pb.ReviewAdmissionRequest{Recommend: true, Particulars: note("数据与人员已落实，不重复采集")})
		s.askOf("admissions", days(1), s.leader(1), &pb.DecideAdmissionRequest{Admit: true})
		s.report(s.agent(), s.byPhone())
		s.steps[len(s.steps)-1].notBefore = s.today(beginsAfter+1, 9, 0)
		s.accept(s.agent())
		s.triage(nil)
		s.dispatch()
		s.sign()
		order := func() *step {
			return s.then(10*minute, s.clerk(), pb.TicketService_DelegateTicket_FullMethodName, func(c call) proto.Message {
				return &pb.DelegateTicketRequest{Name: c.ticket, RequestId: c.id, To: community, Task: "1301", Admission: c.names["admissions"]}
			})
		}
		s.ask(10*minute, s.clerk(), &pb.DelegateTicketRequest{To: community, Task: "1301"}).refused = "BANNED_IN_COMMUNITIES"
		order()
		s.lead = "community"
		s.sign()
		s.contact(true)
		s.done()
		s.askOf("admissions", minute, systemActor, &pb.PassAdmissionTimerRequest{
			Timer: pb.AdmissionTimer_ADMISSION_TIMER_EXPIRE, By: timestamppb.New(until),
		}).notBefore = until.Add(5 * minute)
		s.askOf("admissions", minute, s.officer(pb.Role_ROLE_STREET_CLERK), &pb.GetAdmissionRequest{})
	},
	func(s *story, c *city) { // the only community that is asked does not take it
		s.toStreet("0302", c)
		s.ago(2, 9, 20)
		s.applies("B28", s.begin.AddDate(0, 3, 0), s.at.community.Code)
		s.askOf("admissions", time.Hour, actor("secretary-"+s.at.community.Code, s.at.community.Code, pb.Role_ROLE_COMMUNITY_SECRETARY),
			&pb.ObjectToAdmissionRequest{Particulars: &pb.Particulars{Text: "同类报表上月已报，请共享数据"}})
	},
	func(s *story, c *city) { // nobody who applied examines it; refused, applied for again, admitted and taken back
		s.toStreet("0302", c)
		s.ago(12, 9, 10)
		s.applies("B42", s.begin.AddDate(0, 4, 0), s.at.community.Code)
		s.askOf("admissions", days(1), s.supervisor(), &pb.ReviewAdmissionRequest{Particulars: note("与上季度采集重复")})
		s.askOf("admissions", time.Hour, s.leader(1), &pb.DecideAdmissionRequest{Reason: "DUPLICATE_COLLECTION"})
		s.applies("B42", s.begin.AddDate(0, 5, 0), s.at.community.Code)
		s.askOf("admissions", days(1), s.applicant(), &pb.ReviewAdmissionRequest{Recommend: true}).refused = "ROLE_NOT_ALLOWED"
		s.askOf("admissions", time.Hour, s.supervisor(), &pb.ReviewAdmissionRequest{Recommend: true})
		s.askOf("admissions", time.Hour, s.leader(1), &pb.DecideAdmissionRequest{Admit: true})
		s.askOf("admissions", days(6), s.supervisor(), &pb.RevokeAdmissionRequest{Reason: "NO_STAFF", Particulars: note("配套人员未到位")})
	},
}

// applicant is the head of the district's department of civil affairs, which asks for most of what communities are to do.
func (s *story) applicant() string {
	unit := s.at.unit("MZ")
	return actor("head-"+unit, unit, pb.Role_ROLE_DEPARTMENT_HEAD)
}

// applies asks to bring an item of the ban list into a community until an instant.
func (s *story) applies(item string, until time.Time, community string) {
	s.askOf("admissions", s.between(minute, 20*minute), s.applicant(), &pb.ApplyForAdmissionRequest{
		Item: item, Communities: []string{community}, ValidFrom: timestamppb.New(s.begin.AddDate(0, 0, beginsAfter)), ValidTo: timestamppb.New(until),
		Budget: 30_000, Staff: 4, Particulars: &pb.Particulars{Text: "核对独居老人信息，配套经费和人员"},
	})
}
