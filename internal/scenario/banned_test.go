package scenario_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/scenario"
)

// Whatever is dispatched, delegated, ruled, asked for or summoned, under whatever admissions and whenever: nothing that the ban list has comes to a
// community without an admission that is in force there then. What was recorded is judged by a reading of its own, which shares no code with the rules.

func TestOnTheRulesNothingBannedComesToACommunityWithoutAnAdmissionInForce(t *testing.T) {
	t.Parallel()
	var sum tally
	for seed := range uint64(150) {
		sum.add(besiege(t, newRules(), seed, 120))
	}
	sum.enough(t)
}

func TestThroughTheStoreNothingBannedComesToACommunityWithoutAnAdmissionInForce(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	var sum tally
	for seed := range uint64(32) {
		sum.add(besiege(t, &written{beside(t, city)}, seed, 100))
	}
	sum.enough(t)
}

// tally counts what happened, so that a siege that tried nothing is found.
type tally struct {
	under   int // deliveries of banned items to communities, under an admission
	kept    int // refused for the ban list's sake
	lapsed  int // refused since the admission was not in force
	again   int // sent back to a community that had it under an admission
	regular int // deliveries of anything else
}

func (s *tally) add(o tally) {
	s.under, s.kept, s.lapsed, s.again, s.regular = s.under+o.under, s.kept+o.kept, s.lapsed+o.lapsed, s.again+o.again, s.regular+o.regular
}

func (s *tally) enough(t *testing.T) {
	t.Helper()
	if s.under < 10 || s.kept < 100 || s.lapsed < 50 || s.again < 1 || s.regular < 100 {
		t.Errorf("got %+v, which proves little", *s)
	}
}

var (
	siegeUnits = []string{
		"320205000000-CG", "320205001000", "320205001001", "320205001001", "320205001002", "320205001004", "320205001001001", "320205001002001",
	}
	siegeTasks = []string{"", "", "0202", "1301", "1102"}
	// banItems are the items of the example's ban list that have categories.
	banItems = map[string]string{"0202": "B02", "0604": "B04", "1303": "B16", "1302": "B28", "1301": "B42"}
)

// allowed is an admission as the judge reads it.
type allowed struct {
	item        string
	communities []string
	from, to    time.Time
	ended       bool
}

// matter is a ticket as the judge reads it.
type matter struct {
	category, lead, state string
	had                   map[string][2]string // by unit: the task and admission it was given last
}

// siege is a history under way.
type siege struct {
	t      *testing.T
	player scenario.Player
	r      *rand.Rand
	seed   uint64
	n      int
	at     time.Time

	admissions map[string]*allowed // by name
	names      []string            // of admissions, some of which are none
	tickets    map[string]*matter  // by name
	open       []string
	tally
}

// besiege plays steps at random and judges what comes of each.
func besiege(t *testing.T, player scenario.Player, seed uint64, steps int) tally {
	s := &siege{
		t: t, player: player, r: rand.New(rand.NewPCG(seed, 11)), seed: seed, at: scenario.Start,
		admissions: map[string]*allowed{}, tickets: map[string]*matter{}, names: []string{"", "", "admissions/9f8c2b1a-7a44-4a0e-8a39-1d8b0a3b5c11"},
	}
	for range 4 {
		s.apply()
	}
	s.at = time.Date(2025, 4, 18, 8, 0, 0, 0, scenario.Zone)
	for range steps {
		s.at = s.at.Add(time.Duration(s.r.IntN(10*3600)) * time.Second)
		s.step()
	}
	return s.tally
}

func some[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// who is anybody with a unit and all that a role there may do.
func who(unit string, roles ...pb.Role) rule.Actor {
	return rule.Actor{Person: fmt.Sprint(unit, roles), Unit: unit, Roles: roles}
}

const (
	cityDesk     = "320200000000-ZH"
	districtDesk = "320205000000-ZH"
)

// do gives a command and judges what it led to; false if it was refused.
func (s *siege) do(by rule.Actor, command proto.Message) (scenario.Outcome, bool) {
	s.n++
	m := command.ProtoReflect()
	m.Set(m.Descriptor().Fields().ByName("request_id"), protoreflect.ValueOfString(fmt.Sprintf("siege-%d-%d", s.seed, s.n)))
	out, err := s.player.Do(s.t.Context(), s.at, by, command)
	refusal, refused := errors.AsType[*rule.Refusal](err)
	switch {
	case refused:
		switch refusal.Reason {
		case rule.BannedInCommunities:
			s.kept++
		case rule.AdmissionNotInForce:
			s.lapsed++
		}
		return out, false
	case err != nil:
		s.t.Fatalf("seed %d, %T: %v", s.seed, command, err)
	}
	for _, e := range out.Events {
		s.judge(out.Name, e)
	}
	if m := s.tickets[out.Name]; m != nil {
		m.state = strings.TrimPrefix(out.State, "TICKET_STATE_")
	}
	return out, true
}

// apply applies for an admission, which gets somewhere.
func (s *siege) apply() {
	from := time.Date(2025, 4, 18, 0, 0, 0, 0, scenario.Zone).Add(time.Duration(s.r.IntN(10*24)) * time.Hour)
	out, ok := s.do(who("320205000000-CG", pb.Role_ROLE_DEPARTMENT_HEAD), &pb.ApplyForAdmissionRequest{
		Item: some(s.r, "B02", "B42"), Particulars: &pb.Particulars{Text: "摸排"},
		Communities: some(s.r, []string{"320205001001"}, []string{"320205001002", "320205001001001"}, []string{"320205001001", "320205001002"}),
		ValidFrom:   rule.Stamp(from), ValidTo: rule.Stamp(from.Add(time.Duration(1+s.r.IntN(30*24)) * time.Hour)),
	})
	if !ok {
		s.t.Fatalf("seed %d: an application was refused", s.seed)
	}
	s.names = append(s.names, out.Name)
	if s.r.IntN(4) == 0 {
		s.do(who("320205001001", pb.Role_ROLE_COMMUNITY_SECRETARY), &pb.ObjectToAdmissionRequest{Name: out.Name, Particulars: &pb.Particulars{Text: "人手不足"}})
	}
	s.do(who(districtDesk, pb.Role_ROLE_SUPERVISOR), &pb.ReviewAdmissionRequest{Name: out.Name, Recommend: true})
	if s.r.IntN(6) > 0 {
		s.do(who(districtDesk, pb.Role_ROLE_DUTY_LEADER), &pb.DecideAdmissionRequest{Name: out.Name, Admit: true})
	}
}

// step is whatever somebody tries next.
func (s *siege) step() {
	switch s.r.IntN(24) {
	case 0:
		s.do(who(districtDesk, pb.Role_ROLE_DUTY_LEADER), &pb.RevokeAdmissionRequest{Name: some(s.r, s.names[3:]...), Reason: "MISUSED"})
		return
	case 1:
		name := some(s.r, s.names[3:]...)
		s.do(who(cityDesk, pb.Role_ROLE_SYSTEM), &pb.PassAdmissionTimerRequest{
			Name: name, Timer: pb.AdmissionTimer_ADMISSION_TIMER_EXPIRE, By: rule.Stamp(s.admissions[name].to),
		})
		return
	case 2:
		s.do(who("320205001000", pb.Role_ROLE_STREET_LEADER), &pb.BlowWhistleRequest{
			Kind: pb.WhistleKind_WHISTLE_KIND_ENFORCEMENT, CallItem: "联合检查",
			Summons: []*pb.Summons{{Unit: "320205000000-CG"}, {Unit: some(s.r, "320206001002", "320205002001"), Category: some(s.r, siegeTasks...), Admission: some(s.r, s.names...)}},
		})
		return
	}
	if len(s.open) < 5 {
		s.report()
		return
	}
	name := some(s.r, s.open...)
	m := s.tickets[name]
	task, admission, unit := some(s.r, siegeTasks...), some(s.r, s.names...), some(s.r, siegeUnits...)
	var co []string
	if other := some(s.r, siegeUnits...); s.r.IntN(3) == 0 && other != unit {
		co = []string{other}
	}
	lead := who(m.lead, pb.Role_ROLE_STREET_CLERK, pb.Role_ROLE_COMMUNITY_CLERK, pb.Role_ROLE_GRID_WORKER, pb.Role_ROLE_DEPARTMENT_CLERK)
	if s.r.IntN(10) == 0 {
		s.do(who(districtDesk, pb.Role_ROLE_DISPATCHER), &pb.CorrectTriageRequest{Name: name, Category: some(s.r, "0202", "0302", "1301"), Particulars: note("更正")})
		return
	}
	switch m.state {
	case "TRIAGED":
		if s.r.IntN(4) == 0 {
			s.do(who(districtDesk, pb.Role_ROLE_DISPATCHER), &pb.OpenAdjudicationRequest{Name: name, Parties: []string{"320205000000-CG", "320205000000-JT"}, Particulars: note("职责交叉")})
			return
		}
		s.do(who(districtDesk, pb.Role_ROLE_DISPATCHER), &pb.DispatchTicketRequest{Name: name, Lead: unit, Co: co, Task: task, Admission: admission})
	case "ADJUDICATION":
		s.do(who(districtDesk, pb.Role_ROLE_DUTY_LEADER), &pb.RuleAdjudicationRequest{
			Name: name, Lead: unit, Co: co, BasisRef: "R1", Task: task, Admission: admission, Particulars: note("经会商"),
		})
	case "DISPATCHED":
		if s.r.IntN(2) == 0 {
			s.do(who("320205001000", pb.Role_ROLE_DISPATCHER), &pb.RefuseEscalationRequest{Name: name, Particulars: note("请继续")})
			return
		}
		s.do(lead, &pb.SignTicketRequest{Name: name})
	case "HANDLING":
		switch s.r.IntN(3) {
		case 0:
			s.do(lead, &pb.EscalateTicketRequest{Name: name, Reason: pb.EscalationReason_ESCALATION_REASON_BEYOND_AUTHORITY, Particulars: note("无权处理")})
		case 1:
			s.do(lead, &pb.DelegateTicketRequest{Name: name, To: unit, Task: task, Admission: admission})
		default:
			s.do(lead, &pb.RequestCoHandlerRequest{Name: name, Unit: unit, Task: task, Admission: admission, Particulars: &pb.Particulars{Text: "请协助"}})
		}
	default:
		s.open = slices.DeleteFunc(s.open, func(o string) bool { return o == name })
	}
}

func note(text string) *pb.Particulars { return &pb.Particulars{Note: text} }

// report brings another ticket to where it can be dispatched.
func (s *siege) report() {
	out, ok := s.do(who(cityDesk, pb.Role_ROLE_AGENT), &pb.ReportTicketRequest{
		Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_HELP, Area: some(s.r, "320205001001", "320205001002"),
		Particulars: &pb.Particulars{Title: "违建", Text: "楼上搭建", Place: "春笋中路", Cause: "不详", Course: "三天", Petitioner: &pb.Petitioner{Name: "张三丰", Phone: "13800000001"}},
	})
	if !ok {
		s.t.Fatalf("seed %d: a report was refused", s.seed)
	}
	s.tickets[out.Name] = &matter{had: map[string][2]string{}}
	s.open = append(s.open, out.Name)
	s.do(who(cityDesk, pb.Role_ROLE_AGENT), &pb.AcceptTicketRequest{Name: out.Name})
	s.do(who(cityDesk, pb.Role_ROLE_DISPATCHER), &pb.TriageTicketRequest{Name: out.Name, Category: some(s.r, "0202", "0302", "1301"), Fallback: some(s.r, "", "320205001001")})
}

// judge reads an event, and says if it brought to a community what must not come there.
func (s *siege) judge(name string, event proto.Message) {
	m := s.tickets[name]
	given := func(task, admission string, units ...string) {
		for _, u := range units {
			m.had[u] = [2]string{task, admission}
			s.deliver(event, m, u, false)
		}
	}
	switch e := event.(type) {
	case *pb.AdmissionApplied:
		s.admissions[name] = &allowed{item: e.Item, to: e.ValidTo.AsTime(), ended: true} // until it is admitted
	case *pb.AdmissionAdmitted:
		*s.admissions[name] = allowed{s.admissions[name].item, e.Communities, e.ValidFrom.AsTime(), e.ValidTo.AsTime(), false}
	case *pb.AdmissionRefused, *pb.AdmissionRevoked, *pb.AdmissionExpired:
		s.admissions[name].ended = true
	case *pb.TicketTriaged:
		m.category = e.Category
	case *pb.TriageCorrected:
		if e.Category != "" {
			m.category = e.Category
		}
	case *pb.TicketDispatched:
		m.lead = e.Lead
		given(e.Task, e.Admission, append([]string{e.Lead}, e.Co...)...)
	case *pb.TicketDelegated:
		m.lead = e.To
		given(e.Task, e.Admission, e.To)
	case *pb.CoHandlerRequested:
		given(e.Task, e.Admission, e.Unit)
	case *pb.TicketEscalated:
		m.lead = e.To
	case *pb.EscalationRefused:
		m.lead = e.To
		s.deliver(event, m, e.To, true)
	case *pb.WhistleBlown:
		for _, p := range e.Participants {
			s.deliver(event, &matter{category: p.Category, had: map[string][2]string{p.Unit: {p.Category, p.Admission}}}, p.Unit, false)
		}
	}
}

func (s *siege) deliver(event proto.Message, m *matter, unit string, again bool) {
	task, admission := m.had[unit][0], m.had[unit][1]
	if task == "" {
		task = m.category
	}
	item, banned := banItems[task]
	// A community's code ends in something after its street's nine figures, a grid's is longer.
	code, _, department := strings.Cut(unit, "-")
	if !banned || department || strings.HasSuffix(code, "000") && len(code) == 12 {
		s.regular++
		return
	}
	in := s.admissions["admissions/"+admission]
	switch {
	case in == nil:
		s.t.Errorf("seed %d: %T brought item %s to %s without an admission", s.seed, event, item, unit)
	case in.ended || in.item != item || s.at.Before(in.from) || !s.at.Before(in.to) || !slices.Contains(in.communities, code) && !slices.Contains(in.communities, code[:12]):
		s.t.Errorf("seed %d: %T brought item %s to %s at %v under %+v", s.seed, event, item, unit, s.at, *in)
	default:
		s.under++
		if again {
			s.again++
		}
	}
}
