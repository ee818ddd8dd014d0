package bench

import (
	"fmt"
	"math/rand/v2"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// steps is how many commands a whole life has.
const steps = 10

// methods are the methods of a life's commands, in their order.
var methods = [steps]string{
	"ReportTicket", "AcceptTicket", "TriageTicket", "DispatchTicket", "SignTicket", "RecordContact", "SubmitResult", "VerifyResult",
	"RecordCallback", "CloseTicket",
}

// command is one that is to be given.
type command struct {
	by      *who
	method  string
	message proto.Message
}

// life is a ticket on its way from report to close, and after that the next. It belongs to one goroutine.
type life struct {
	city   *city
	random *rand.Rand
	prefix string // of request ids

	n    int // tickets so far
	step int
	name string // "tickets/…", once reported
	at   *place
	lead *who
	kind *pb.Category
}

func newLife(c *city, prefix string, seed uint64) *life {
	return &life{city: c, prefix: prefix, random: rand.New(rand.NewPCG(seed, 7))}
}

// next is the command that comes now.
func (l *life) next() command {
	id := fmt.Sprintf("%s/%d/%d", l.prefix, l.n, l.step)
	c := command{method: methods[l.step]}
	switch l.step {
	case 0:
		l.at, l.kind = l.city.place(l.random), l.city.category(l.random)
		l.lead = l.at.leads[l.random.IntN(len(l.at.leads))]
		c.by, c.message = hotline, &pb.ReportTicketRequest{
			RequestId: id, Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_HELP, Area: l.at.path[len(l.at.path)-1].Code,
			Category: l.kind.Code,
			Particulars: &pb.Particulars{
				Title: l.kind.Name, Text: "小区门口三天了还没有人来处理，晚上老人和孩子出门很不方便，请尽快安排", Place: l.at.path[len(l.at.path)-1].Name + "春笋中路188号",
				Cause: "年久失修", Course: "三天前开始，打过物业电话",
				Petitioner: &pb.Petitioner{Name: "张三丰", Phone: fmt.Sprintf("138%08d", l.random.IntN(200_000)), CallbackWanted: true},
			},
		}
	case 1:
		c.by, c.message = hotline, &pb.AcceptTicketRequest{Name: l.name, RequestId: id}
	case 2:
		c.by, c.message = dispatcher, &pb.TriageTicketRequest{Name: l.name, RequestId: id, Category: l.kind.Code, Grade: pb.Grade_GRADE_G2}
	case 3:
		c.by, c.message = dispatcher, &pb.DispatchTicketRequest{Name: l.name, RequestId: id, Lead: l.lead.actor.Unit}
	case 4:
		c.by, c.message = l.lead, &pb.SignTicketRequest{Name: l.name, RequestId: id}
	case 5:
		c.by, c.message = l.lead, &pb.RecordContactRequest{Name: l.name, RequestId: id, Channel: "phone", Reached: true}
	case 6:
		c.by, c.message = l.lead, &pb.SubmitResultRequest{
			Name: l.name, RequestId: id, Result: pb.ResultCode_RESULT_CODE_RESOLVED,
			Particulars: &pb.Particulars{Reply: "已安排人员到现场处理完毕，并告知来电人"},
		}
	case 7:
		c.by, c.message = supervisor, &pb.VerifyResultRequest{Name: l.name, RequestId: id, Passed: true}
	case 8:
		c.by, c.message = caller, &pb.RecordCallbackRequest{
			Name: l.name, RequestId: id, Answered: true, Contacted: true, Solved: pb.Solved_SOLVED_YES, Satisfaction: uint32(1 + l.random.IntN(5)),
		}
	case 9:
		c.by, c.message = dispatcher, &pb.CloseTicketRequest{Name: l.name, RequestId: id}
	}
	return c
}

// done says that the command was carried out, on the ticket of that name.
func (l *life) done(name string) {
	l.name = name
	if l.step++; l.step == steps {
		l.n, l.step = l.n+1, 0
	}
}
