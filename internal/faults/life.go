package faults

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/examples/wuxi"
	"github.com/chuishao/dispatch/internal/registry"
)

// centre is the command centre of the example city.
const centre = "320200000000-ZH"

// city is where matters are drawn from: the areas that some department answers for, and the categories that need no photo.
type city struct {
	content    *registry.Content
	places     []place
	categories []*pb.Category
}

type place struct{ area, lead string }

func openCity() (*city, error) {
	content, faults := registry.ReadDir(wuxi.Files)
	if len(faults) > 0 {
		return nil, fmt.Errorf("example registry: %v", faults[0])
	}
	c := &city{content: content}
	areas, parents, leads := map[string]*pb.Area{}, map[string]bool{}, map[string]string{}
	for _, a := range content.Piece.Areas {
		areas[a.Code], parents[a.Parent] = a, true
	}
	for _, u := range content.Piece.Units {
		if u.Kind == pb.UnitKind_UNIT_KIND_DEPARTMENT && leads[u.Area] == "" {
			leads[u.Area] = u.Code
		}
	}
	for _, a := range content.Piece.Areas {
		if parents[a.Code] {
			continue
		}
		for at := a; at != nil; at = areas[at.Parent] {
			if lead := leads[at.Code]; lead != "" {
				c.places = append(c.places, place{a.Code, lead})
				break
			}
		}
	}
	for _, k := range content.Piece.Categories {
		if k.Parent != "" && k.Object != pb.MatterObject_MATTER_OBJECT_INCIDENT {
			c.categories = append(c.categories, k)
		}
	}
	return c, nil
}

// person is the one under whom a caller calls: requests of one person are told apart by their ids alone.
const person = "faults"

// as is the metadata of a call by a person of a unit.
func as(unit, roles string) metadata.MD {
	return metadata.Pairs("chuishao-dev-actor", fmt.Sprintf("person=%s;roles=%s;unit=%s", person, roles, unit))
}

// command is one call that is to be made, until it is answered.
type command struct {
	id      string // the request id
	method  string
	by      metadata.MD
	message proto.Message
	answer  answer // takes the answer
}

// answer is what a command on a ticket or a whistle is answered with.
type answer interface {
	proto.Message
	GetName() string
	GetEtag() string
	GetConsistencyToken() string
	GetRepeated() bool
}

// life is a ticket on its way from report to close, and after that the next. It belongs to one goroutine.
type life struct {
	city   *city
	random *rand.Rand
	prefix string // of request ids

	n, step int
	ends    int    // at which step this one's life breaks off
	blows   bool   // its street blows a whistle in the end
	name    string // "tickets/…", once reported
	at      place
	kind    string
}

// steps are a life's commands, in their order.
var steps = []string{
	"ReportTicket", "AcceptTicket", "TriageTicket", "DispatchTicket", "SignTicket", "RecordContact", "SubmitResult", "VerifyResult", "RecordCallback", "CloseTicket",
}

// What a street handles itself, and whom it summons when it cannot.
var (
	ofStreet = place{area: "320205001001", lead: "320205001000"}
	summoned = "320205000000-CG"
)

// untilSigned is how many steps a ticket has before it is in its lead's hands.
const untilSigned = 5

// next is the command that comes now.
func (l *life) next() command {
	if l.step == 0 {
		l.at, l.kind = l.city.places[l.random.IntN(len(l.city.places))], l.city.categories[l.random.IntN(len(l.city.categories))].Code
		l.ends = len(steps)
		if l.random.IntN(4) == 0 {
			l.ends = 1 + l.random.IntN(len(steps)-1)
		}
		if l.blows = l.random.IntN(6) == 0; l.blows {
			l.at, l.ends = ofStreet, untilSigned+1
		}
	}
	if l.blows && l.step == untilSigned {
		// Two events at once in one stream, and then one in another: the ticket's.
		id := fmt.Sprintf("%s/%d/blowwhistle", l.prefix, l.n)
		return command{id: id, method: "/chuishao.v1.WhistleService/BlowWhistle", by: as(l.at.lead, "STREET_CLERK"), answer: new(pb.WhistleAnswer), message: &pb.BlowWhistleRequest{
			RequestId: id, Kind: pb.WhistleKind_WHISTLE_KIND_EMERGENCY, Tickets: []string{l.name}, Summons: []*pb.Summons{{Unit: summoned}},
			Particulars: &pb.Particulars{Text: "路面塌陷，需要立即到场"},
		}}
	}
	c := command{answer: new(pb.TicketAnswer), id: fmt.Sprintf("%s/%d/%s", l.prefix, l.n, strings.ToLower(steps[l.step])), method: "/chuishao.v1.TicketService/" + steps[l.step]}
	dispatcher, lead := as(centre, "DISPATCHER"), as(l.at.lead, "DEPARTMENT_CLERK,STREET_CLERK")
	switch l.step {
	case 0:
		c.by, c.message = as(centre, "AGENT"), &pb.ReportTicketRequest{
			RequestId: c.id, Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_HELP, Area: l.at.area, Category: l.kind,
			Particulars: &pb.Particulars{
				Title: "路灯不亮", Text: "小区门口路灯三天不亮，晚上出门很不方便", Place: "春笋中路188号", Cause: "线路老化", Course: "三天前开始",
				Petitioner: &pb.Petitioner{Name: "张三丰", Phone: fmt.Sprintf("138%08d", l.random.IntN(500)), CallbackWanted: true},
			},
		}
	case 1:
		c.by, c.message = as(centre, "AGENT"), &pb.AcceptTicketRequest{Name: l.name, RequestId: c.id}
	case 2:
		c.by, c.message = dispatcher, &pb.TriageTicketRequest{Name: l.name, RequestId: c.id, Category: l.kind, Grade: pb.Grade_GRADE_G2}
	case 3:
		c.by, c.message = dispatcher, &pb.DispatchTicketRequest{Name: l.name, RequestId: c.id, Lead: l.at.lead}
	case 4:
		c.by, c.message = lead, &pb.SignTicketRequest{Name: l.name, RequestId: c.id}
	case 5:
		c.by, c.message = lead, &pb.RecordContactRequest{Name: l.name, RequestId: c.id, Channel: "phone", Reached: true}
	case 6:
		c.by, c.message = lead, &pb.SubmitResultRequest{
			Name: l.name, RequestId: c.id, Result: pb.ResultCode_RESULT_CODE_RESOLVED, Particulars: &pb.Particulars{Reply: "已处理完毕，并告知来电人"},
		}
	case 7:
		c.by, c.message = as(centre, "SUPERVISOR"), &pb.VerifyResultRequest{Name: l.name, RequestId: c.id, Passed: true}
	case 8:
		c.by, c.message = as(centre, "CALLER"), &pb.RecordCallbackRequest{
			Name: l.name, RequestId: c.id, Answered: true, Contacted: true, Solved: pb.Solved_SOLVED_YES, Satisfaction: uint32(1 + l.random.IntN(5)),
		}
	case 9:
		c.by, c.message = dispatcher, &pb.CloseTicketRequest{Name: l.name, RequestId: c.id}
	}
	return c
}

// done says that the command was carried out, on the ticket or whistle of that name.
func (l *life) done(name string) {
	if strings.HasPrefix(name, "tickets/") {
		l.name = name
	}
	if l.step++; l.step == l.ends {
		l.n, l.step = l.n+1, 0
	}
}
