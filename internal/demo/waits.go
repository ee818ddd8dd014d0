package demo

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
)

// days is a number of days of 24 hours.
func days(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }

// ago makes it a story that began some days ago, at a time of the day itself.
func (s *story) ago(days, hour, minutes int) {
	s.daily(hour, minutes)
	s.begin = s.begin.AddDate(0, 0, -days)
}

// today is an instant of the day that is played, of a story that began some days ago.
func (s *story) today(ago, hour, minutes int) time.Time {
	y, m, d := s.begin.AddDate(0, 0, ago).Date()
	return time.Date(y, m, d, hour, minutes, 0, 0, s.begin.Location())
}

// underway: somebody calls, and the lead has it in hand.
func (s *story) underway() {
	s.called()
	s.triage(nil)
	s.dispatch()
	s.sign()
	s.contact(true)
}

// done: the lead has a result, and the matter is settled.
func (s *story) done() {
	s.result(pb.ResultCode_RESULT_CODE_RESOLVED)
	s.settled()
}

func note(text string) *pb.Particulars { return &pb.Particulars{Note: text} }

// told is what the lead says within the administration, and to the petitioner.
func told(text, reply string) *pb.Particulars { return &pb.Particulars{Text: text, Reply: reply} }

func (s *story) head() string {
	unit := s.at.unit(s.lead)
	return actor("head-"+unit, unit, pb.Role_ROLE_DEPARTMENT_HEAD)
}

// waits are matters that take their time: more of it is asked for, or nobody hurries, and somebody is called to account.
var waits = []func(*story, *city){
	func(s *story, c *city) { // the clock stands until the ground can be opened, and runs again when that is looked at
		s.tells(about("1003"), c)
		s.lead = "ZJ"
		s.ago(15, 9, 0)
		s.underway()
		s.suspension(s.today(15, 9, 0), false)
		s.suspension(s.today(15, 9, 0), true)
		s.ask(30*minute, s.clerk(), &pb.ResumeTicketRequest{}).notBefore = s.today(15, 9, 30)
		s.progress()
		s.done()
	},
	func(s *story, c *city) { // it is too early still, and stays suspended
		s.tells(about("0803"), c)
		s.lead = "SL"
		s.ago(14, 9, 20)
		s.underway()
		s.suspension(s.today(14, 9, 0), true)
		s.suspension(s.today(74, 9, 0), true)
		s.steps[len(s.steps)-2].notBefore = s.today(14, 9, 40)
	},
	func(s *story, c *city) { // more time once; the second time is refused
		s.tells(about("1003"), c)
		s.lead = "ZJ"
		s.daily(8, 45)
		s.underway()
		s.ask(10*minute, s.clerk(), &pb.RequestExtensionRequest{
			Kind: pb.ExtensionKind_EXTENSION_KIND_STANDARD, WorkingDays: 5, Particulars: told("需召开居民协调会，申请延期", "因需协调居民意见，办理时间延长五个工作日"),
		})
		s.ask(20*minute, s.leader(1), &pb.DecideExtensionRequest{Granted: true})
		s.ask(20*minute, s.head(), &pb.RequestExtensionRequest{
			Kind: pb.ExtensionKind_EXTENSION_KIND_STANDARD, WorkingDays: 10, Particulars: told("拟再延期", "已告知拟再次延期"),
		})
		s.ask(20*minute, actor("supervisor-"+cityCentre, cityCentre, pb.Role_ROLE_SUPERVISOR), &pb.DecideExtensionRequest{Particulars: note("理由不充分，请按期办结")})
		s.ask(5*minute, s.clerk(), &pb.ExplainDeadlineRequest{Timer: pb.TicketTimer_TICKET_TIMER_HANDLE})
		s.done()
	},
	func(s *story, c *city) { // nobody decides on more time, the limit passes, and an order is to be answered
		s.tells(about("0302"), c)
		s.ago(20, 9, 10)
		s.underway()
		s.ask(20*minute, s.clerk(), &pb.RequestExtensionRequest{
			Kind: pb.ExtensionKind_EXTENSION_KIND_STANDARD, WorkingDays: 3, Particulars: told("电缆需定制，申请延期", "因配件到货较晚，申请延期三个工作日"),
		})
		s.ask(days(18), s.clerk(), &pb.ReplySupervisionRequest{
			Kind: pb.SupervisionReplyKind_SUPERVISION_REPLY_KIND_REPLY, Particulars: &pb.Particulars{Text: "电缆已到货，今日完成更换"},
		})
		s.done()
	},
	func(s *story, c *city) { // the petitioner asks for haste, and again, which is heard
		s.tells(about("0801"), c)
		s.daily(8, 25)
		s.underway()
		s.ask(15*minute, s.agent(), &pb.UrgeTicketRequest{Particulars: &pb.Particulars{Text: "来电询问进度"}})
		s.ask(25*minute, actor("citizen-urge", cityCentre, pb.Role_ROLE_CITIZEN), &pb.UrgeTicketRequest{})
		s.ask(10*minute, s.supervisor(), &pb.LiftSupervisionRequest{Particulars: note("承办单位已到场")})
		s.done()
	},
	func(s *story, c *city) { // it is listed, put right by a plan, looked at and cleared
		s.tells(about("0802"), c)
		s.lead = "ZJ"
		s.ago(2, 8, 35)
		s.underway()
		s.ask(30*minute, s.supervisor(), &pb.RaiseSupervisionRequest{
			Level: 3, ClearBy: timestamppb.New(s.begin.AddDate(0, 0, 12)), Particulars: note("多次反映，挂牌督办"),
		})
		s.ask(40*minute, s.clerk(), &pb.ReplySupervisionRequest{
			Kind: pb.SupervisionReplyKind_SUPERVISION_REPLY_KIND_REPLY, Particulars: &pb.Particulars{Text: "已成立整改专班"},
		})
		s.rectified(timestamppb.New(s.begin.AddDate(0, 0, 5)))
		s.ask(30*minute, s.supervisor(), &pb.LiftSupervisionRequest{Particulars: note("整改到位，解除督办")})
		s.done()
	},
	func(s *story, c *city) { // nobody hurries
		s.tells(about("0404"), c)
		s.ago(eve, 9, 0)
		s.report(s.agent(), s.byPhone())
		s.accept(s.agent())
		s.steps[len(s.steps)-1].after = 3 * time.Hour
		s.triage(nil)
		s.dispatch()
		s.steps[len(s.steps)-1].after = 4 * time.Hour
		s.sign()
		s.steps[len(s.steps)-1].after = 5 * time.Hour
		s.contact(true)
		s.result(pb.ResultCode_RESULT_CODE_RESOLVED)
		s.verify(true)
		s.steps[len(s.steps)-1].after = days(9)
		s.answered(pb.Solved_SOLVED_PARTLY)
		s.steps[len(s.steps)-1].after = days(9)
		s.close()
	},
	func(s *story, c *city) { // what the photographs show is not this place
		s.tells(about("0103"), c)
		s.daily(8, 55)
		s.underway()
		s.result(pb.ResultCode_RESULT_CODE_RESOLVED)
		s.ask(15*minute, s.dispatcher(), &pb.RejectResultRequest{
			Reason: pb.ResultRejection_RESULT_REJECTION_STALE_PHOTO, Particulars: note("照片非本次处置现场，请重新上报"),
		})
		s.done()
	},
	announced,
	func(s *story, c *city) { // what was done ten days ago is told today, once a leader lets it be told
		s.tells(about("0903"), c)
		s.lead = "JT"
		s.ago(20, 9, 15)
		s.underway()
		told := timestamppb.New(s.today(10, 15, 0))
		late := func() *step {
			return s.ask(20*minute, s.clerk(), &pb.RecordProgressRequest{OccurredAt: told, Particulars: &pb.Particulars{Text: "已完成现场勘查，当时设备故障未能上传"}})
		}
		first := late()
		first.notBefore, first.refused = s.today(20, 9, 45), "OCCURRED_TOO_LONG_AGO"
		s.ask(15*minute, s.leader(1), &pb.AdmitLateFactsRequest{
			Unit: s.at.unit(s.lead), NotBefore: timestamppb.New(s.today(10, 9, 0)), Particulars: note("经核实终端送修，准予补录"),
		})
		late()
		s.done()
	},
}

// announced: in the evening a day off is announced that nobody knew of, and the limits are told in a profile of another version. What is open is
// computed again by the calendar that is then in force. Without holidays of that year there is nothing to correct.
func announced(s *story, c *city) {
	s.tells(about("0903"), c)
	s.lead = "JT"
	s.daily(14, 10)
	s.underway()
	off := s.begin.AddDate(0, 0, 8)
	for known := calendar.Default(); ; off = off.AddDate(0, 0, 1) {
		if works, provisional, err := known.WorkingDay(off); err != nil || provisional {
			return
		} else if works && off.Weekday() != time.Saturday && off.Weekday() != time.Sunday {
			break
		}
	}
	evening := s.today(0, 23, 50)
	for _, y := range calendar.Default().Table().Years {
		if y.Year != off.Year() {
			continue
		}
		days := append(slices.Clone(y.Off), off.Format(time.DateOnly))
		slices.Sort(days)
		s.then(minute, systemActor, pb.RegistryService_LoadCalendarYear_FullMethodName, func(c call) proto.Message {
			return &pb.LoadCalendarYearRequest{RequestId: c.id, Year: int32(y.Year), Off: days, Work: y.Work}
		}).notBefore = evening
		s.ask(minute, systemActor, &pb.RecomputeLimitsRequest{}).notBefore = evening.Add(3 * minute)
	}
	limits := calendar.DefaultProfile()
	content := strings.Replace(limits.JSON(), strconv.Quote(limits.Version()), strconv.Quote(limits.Version()+"-demo"), 1)
	s.then(minute, systemActor, pb.RegistryService_LoadProfile_FullMethodName, func(c call) proto.Message {
		return &pb.LoadProfileRequest{RequestId: c.id, Content: content}
	}).notBefore = evening.Add(5 * minute)
}

// systemActor is the city's own system, as those are who keep it.
var systemActor = actor("system", cityCentre, pb.Role_ROLE_SYSTEM)

// suspension: the lead asks to have the clock stopped until a day on which it is looked at again.
func (s *story) suspension(review time.Time, granted bool) {
	s.ask(20*minute, s.clerk(), &pb.RequestSuspensionRequest{
		Reason: pb.SuspensionReason_SUSPENSION_REASON_SEASON, ReviewAt: timestamppb.New(review),
		Particulars: told("需待季节条件具备后施工，施工方案已备", "因季节原因暂缓施工，到期将主动告知进展"),
	})
	said := note("同意挂账，按期复核")
	if !granted {
		said = note("请先落实临时措施再申请")
	}
	s.ask(25*minute, s.supervisor(), &pb.DecideSuspensionRequest{Granted: granted, Particulars: said})
}

// rectified: the lead has a plan, carries it out, and who supervises looks and clears.
func (s *story) rectified(by *timestamppb.Timestamp) {
	s.ask(30*minute, s.clerk(), &pb.ReplySupervisionRequest{
		Kind: pb.SupervisionReplyKind_SUPERVISION_REPLY_KIND_PLAN, Owner: "clerk-" + s.at.unit(s.lead), ClearBy: by,
		Particulars: &pb.Particulars{Text: "整改方案：责任到人，限期完成"},
	})
	s.ask(3*time.Hour, s.clerk(), &pb.ReplySupervisionRequest{
		Kind: pb.SupervisionReplyKind_SUPERVISION_REPLY_KIND_DONE, Particulars: &pb.Particulars{Text: "整改已完成，请核查"},
	})
	s.ask(time.Hour, s.supervisorOfCity(), &pb.ClearListingRequest{
		Attachments: s.photo(pb.AttachmentKind_ATTACHMENT_KIND_AFTER), Particulars: note("现场核查，问题已消除，予以销号"),
	})
}

func (s *story) supervisorOfCity() string {
	return actor("supervisor-"+cityCentre, cityCentre, pb.Role_ROLE_SUPERVISOR)
}

// longAgo is how old a matter is before anybody looks whether it was listed on the way.
const longAgo = 3 * 24 * time.Hour

// cleared: what took so long that it was listed is put right by a plan and cleared.
func (s *story) cleared() {
	first := len(s.steps)
	s.look(s.supervisorOfCity()).when = func(at time.Time) bool { return at.Sub(s.begin) > longAgo }
	s.rectified(nil)
	for i := first + 1; i < len(s.steps); i++ {
		command := s.steps[i].command
		s.steps[i].after = minute
		s.steps[i].when = func(time.Time) bool { return s.listed }
		s.steps[i].command = func(c call) proto.Message {
			m := command(c)
			if r, ok := m.(*pb.ReplySupervisionRequest); ok && r.Kind == pb.SupervisionReplyKind_SUPERVISION_REPLY_KIND_PLAN {
				r.ClearBy = s.limits.GetClearBy()
			}
			return m
		}
	}
}
