package suggest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
)

// town is a city whose history is followed.
type town struct {
	*dispatchtest.City
	*Index
}

func follow(t testing.TB, o Options) town {
	t.Helper()
	c := dispatchtest.Open(t)
	o.OnTrouble = func(err error) { t.Error(err) }
	x, err := New(c.Dispatcher, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- x.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return town{c, x}
}

// caughtUp waits until the index knows all that is recorded.
func (c town) caughtUp(t testing.TB) {
	t.Helper()
	head, err := c.Store.Head(t.Context())
	if err == nil {
		err = c.Wait(t.Context(), head)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func everything(context.Context, string) (bool, error) { return true, nil }

func (c town) ask(t testing.TB, m Matter) *pb.SuggestTriageResponse {
	t.Helper()
	c.caughtUp(t)
	if m.At.IsZero() {
		m.At = c.Now()
	}
	answer, err := c.Suggest(t.Context(), c.Registry(), m, everything)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// names are the tickets among the duplicates, with the reasons.
func reasons(answer *pb.SuggestTriageResponse) map[string]string {
	all := map[string]string{}
	for _, d := range answer.Duplicates {
		all[d.Name] = strings.Join(d.Reasons, " ")
	}
	return all
}

type matter struct {
	area, category, title, text, phone string
	position                           *pb.LonLat
	kind                               pb.MatterKind
	confidentiality                    pb.Confidentiality
	confidential                       bool
}

func (c town) report(t testing.TB, m matter) string {
	t.Helper()
	if m.kind == 0 {
		m.kind = pb.MatterKind_MATTER_KIND_HELP
	}
	if m.area == "" {
		m.area = dispatchtest.Community
	}
	r := &pb.ReportTicketRequest{
		RequestId: c.RequestID(), Channel: pb.Channel_CHANNEL_HOTLINE, Kind: m.kind, Area: m.area, Category: m.category, Position: m.position,
		Confidentiality: m.confidentiality, Particulars: &pb.Particulars{Title: m.title, Text: m.text},
	}
	if m.phone != "" {
		r.Particulars.Place, r.Particulars.Cause, r.Particulars.Course = "春笋中路", "不明", "今天"
		r.Particulars.Petitioner = &pb.Petitioner{Name: "张三丰", Phone: m.phone, Confidential: m.confidential}
	}
	return c.Do(t, dispatchtest.Hotline, r)
}

func (c town) path(t testing.TB, area string) []*pb.AreaNode {
	t.Helper()
	path, ok := c.Registry().Path(area, c.Now())
	if !ok {
		t.Fatalf("no area %s", area)
	}
	return path
}

func say(title, text string) *dispatch.Words { return &dispatch.Words{Title: title, Text: text} }

func TestTicketsThatSayTheSameInTheSameStreetAreDuplicates(t *testing.T) {
	t.Parallel()
	c := follow(t, Options{})
	lamp := c.report(t, matter{category: "0302", title: "路灯不亮", text: "春笋中路的路灯三天不亮了，晚上出门看不见"})
	noise := c.report(t, matter{category: "0801", title: "噪声扰民", text: "楼上装修的声音太吵，无法休息"})
	elsewhere := c.report(t, matter{area: dispatchtest.OtherStreet, category: "0302", title: "路灯不亮", text: "春笋中路的路灯三天不亮了，晚上出门看不见"})
	english := c.report(t, matter{title: "Street lamp broken", text: "The street lamp at the gate is broken"})

	for _, a := range []struct {
		title, text, category string
		want                  []string
	}{
		{"路灯坏了", "春笋中路路灯坏了好几天，晚上看不见路", "0302", []string{lamp}},
		{"路灯坏了", "", "0302", []string{lamp}},
		{"路灯不亮", "", "", []string{lamp}},
		{"装修噪声", "楼上天天装修，太吵", "", []string{noise}},
		{"垃圾成堆", "门口的垃圾没有人清运", "", nil},
		{"ＳＴＲＥＥＴ lamp", "", "", []string{english}},
		{"", "", "", nil},
	} {
		got := reasons(c.ask(t, Matter{Path: c.path(t, dispatchtest.Community), Category: a.category, Words: say(a.title, a.text)}))
		if len(got) != len(a.want) || len(a.want) > 0 && got[a.want[0]] != "similar_text" {
			t.Errorf("%s: got %v, want %v", a.title, got, a.want)
		}
	}
	if got := reasons(c.ask(t, Matter{Path: c.path(t, dispatchtest.OtherStreet), Category: "0302", Words: say("路灯坏了", "")})); len(got) != 1 || got[elsewhere] == "" {
		t.Errorf("in the other street: got %v, want %s", got, elsewhere)
	}
	if got := reasons(c.ask(t, Matter{ID: lamp[len("tickets/"):], Path: c.path(t, dispatchtest.Community), Words: say("路灯不亮", "")})); len(got) != 0 {
		t.Errorf("got %v, want no ticket as its own duplicate", got)
	}
	c.Clock.Add(30*24*time.Hour + time.Second)
	if got := reasons(c.ask(t, Matter{Path: c.path(t, dispatchtest.Community), Words: say("路灯不亮", "")})); len(got) != 0 {
		t.Errorf("after 30 days: got %v, want none", got)
	}
}

func TestTicketsOfOneCategoryAtOnePlaceOnOneDayAreDuplicates(t *testing.T) {
	t.Parallel()
	const lat = 31.58
	east := func(m float64) *pb.LonLat {
		return &pb.LonLat{Lon: 120.35 + m/(6371008.8*math.Cos(lat*math.Pi/180))*180/math.Pi, Lat: lat, Datum: pb.Datum_DATUM_CGCS2000}
	}
	for _, a := range []struct {
		what     string
		metres   float64
		later    time.Duration
		category string
		want     bool
	}{
		{"the same place", 0, 0, "0303", true},
		{"299.9 m", 299.9, 0, "0303", true},
		{"300.1 m", 300.1, 0, "0303", false},
		{"24 hours", 10, 24 * time.Hour, "0303", true},
		{"a second more", 10, 24*time.Hour + time.Second, "0303", false},
		{"another category", 10, 0, "0801", false},
		{"before the category is known", 10, 0, "", true},
	} {
		t.Run(a.what, func(t *testing.T) {
			t.Parallel()
			c := follow(t, Options{})
			name := c.report(t, matter{category: "0303", title: "井盖缺损", position: east(0)})
			answer := c.ask(t, Matter{At: c.Now().Add(a.later), Position: east(a.metres), Category: a.category, Words: say("人行道危险", "")})
			got := reasons(answer)
			if (got[name] == "same_place") != a.want || len(got) > 1 || !a.want && len(got) > 0 {
				t.Fatalf("got %v, want it found: %t", got, a.want)
			}
			if a.want && math.Abs(answer.Duplicates[0].GetDistance()-a.metres) > 0.05 {
				t.Errorf("got %f m, want %f", answer.Duplicates[0].GetDistance(), a.metres)
			}
		})
	}
	t.Run("a phone's own datum", func(t *testing.T) {
		t.Parallel()
		c := follow(t, Options{})
		name := c.report(t, matter{category: "0303", title: "井盖缺损", position: east(0)})
		shown := shift(point{east(0).Lon, lat})
		got := c.ask(t, Matter{Category: "0303", Position: &pb.LonLat{Lon: shown.lon, Lat: shown.lat, Datum: pb.Datum_DATUM_GCJ02}}).Duplicates
		if len(got) != 1 || got[0].Name != name || got[0].GetDistance() > 1 {
			t.Errorf("got %v, want %s at 0 m", got, name)
		}
	})
}

func TestOnePersonsMatterIsKnownAgain(t *testing.T) {
	t.Parallel()
	c := follow(t, Options{})
	name := c.report(t, matter{category: "0302", title: "路灯不亮", text: "小区门口路灯不亮", phone: "13812345678"})
	person, err := c.Person(t.Context(), &pb.Petitioner{Phone: "+86 138-1234-5678"})
	if err != nil || person == "" {
		t.Fatalf("got %q, %v", person, err)
	}
	if other, err := c.Person(t.Context(), &pb.Petitioner{Phone: "13912345678"}); err != nil || other != "" {
		t.Fatalf("got %q, %v, want nobody", other, err)
	}
	elsewhere := c.path(t, dispatchtest.OtherStreet)
	ask := func(category, title string) string {
		return reasons(c.ask(t, Matter{Path: elsewhere, Category: category, Words: say(title, ""), Subjects: []string{person}}))[name]
	}
	if got := ask("0302", "又坏了"); got != "same_person" {
		t.Errorf("the same category: got %q", got)
	}
	if got := ask("", "路灯还是不亮"); got != "same_person similar_text" {
		t.Errorf("the same words: got %q", got)
	}
	if got := ask("0801", "噪声扰民"); got != "" {
		t.Errorf("another matter: got %q", got)
	}
	c.ToHandling(t, name, dispatchtest.Street)
	c.ToClosed(t, name, dispatchtest.Street)
	if got := ask("0302", "又坏了"); got != "same_person" {
		t.Errorf("just closed: got %q", got)
	}
	c.Clock.Add(closedLately + time.Second)
	if got := ask("0302", "又坏了"); got != "" {
		t.Errorf("closed for long: got %q", got)
	}
}

func TestWhatAnErasedPersonSaidIsFoundNoMore(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"by an order", "by its key alone", "before the index began"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			c := follow(t, Options{})
			name := c.report(t, matter{category: "0302", title: "独一无二的词", phone: "13812345678"})
			other := c.report(t, matter{category: "0302", title: "路灯不亮", phone: "13912345678"})
			s, _, err := c.LoadTicket(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			erase := func() {
				_, _, err := c.Erase(t.Context(), dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_AUDITOR), &pb.EraseSubjectRequest{Name: name, RequestId: "e", OrderRef: "order-1"})
				if err != nil {
					t.Fatal(err)
				}
			}
			if how != "before the index began" {
				if got := reasons(c.ask(t, Matter{Words: say("独一无二的词", "")})); got[name] == "" {
					t.Fatalf("got %v, want %s before it is erased", got, name)
				}
			}
			if how == "by its key alone" {
				if err := c.Keys.Erase(t.Context(), s.Subject, c.Now()); err != nil {
					t.Fatal(err)
				}
			} else {
				erase()
			}
			if got := reasons(c.ask(t, Matter{Words: say("独一无二的词", ""), Category: "0302", Subjects: s.Subjects})); got[name] != "" {
				t.Errorf("got %v", got)
			}
			if _, there := c.terms.ids["无二"]; there {
				t.Error("the words are still in the index")
			}
			if got := reasons(c.ask(t, Matter{Words: say("路灯不亮", "")})); got[other] == "" {
				t.Errorf("got %v, want the other person's ticket still", got)
			}
		})
	}
}

func TestNobodyIsToldOfWhatTheIndexDidNotReadYet(t *testing.T) {
	t.Parallel()
	c := follow(t, Options{})
	names := []string{
		c.report(t, matter{category: "0302", title: "路灯不亮", phone: "13812345678", confidential: true}),
		c.report(t, matter{category: "0302", title: "路灯不亮", phone: "13812345678", kind: pb.MatterKind_MATTER_KIND_TIP_OFF}),
	}
	c.caughtUp(t)
	for _, name := range names {
		s, _, err := c.LoadTicket(t.Context(), name)
		if err != nil || len(s.Subjects) == 0 {
			t.Fatal(s.Subjects, err)
		}
		// As it stands there between being learnt of and being read.
		c.mu.Lock()
		c.add(&entry{id: name[len("tickets/"):], category: "0302", reported: s.ReportedAt, subjects: s.Subjects}, nil, nil)
		c.mu.Unlock()
		if got := reasons(c.ask(t, Matter{Category: "0302", Words: say("又坏了", ""), Subjects: s.Subjects})); len(got) != 0 {
			t.Errorf("got %v, want nothing of %s", got, name)
		}
	}
}

func TestNobodyIsToldOfConfidentialMatters(t *testing.T) {
	t.Parallel()
	c := follow(t, Options{})
	c.report(t, matter{title: "路灯不亮", confidentiality: pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL})
	c.report(t, matter{title: "路灯不亮", kind: pb.MatterKind_MATTER_KIND_TIP_OFF})
	c.report(t, matter{title: "路灯不亮", phone: "13812345678", confidential: true})
	later := c.report(t, matter{title: "路灯不亮"})
	m := Matter{Words: say("路灯不亮", "")}
	if got := reasons(c.ask(t, m)); len(got) != 1 || got[later] == "" {
		t.Errorf("got %v, want only %s", got, later)
	}
	c.Do(t, dispatchtest.Hotline, &pb.AcceptTicketRequest{Name: later, RequestId: "a"})
	c.Do(t, dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_DISPATCHER), &pb.TriageTicketRequest{
		Name: later, RequestId: "t", Category: "0302", Grade: pb.Grade_GRADE_G2, Confidentiality: pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL,
	})
	if got := reasons(c.ask(t, m)); len(got) != 0 || len(c.terms.ids) != 0 {
		t.Errorf("got %v and %d terms, want nothing", got, len(c.terms.ids))
	}
	if answer := c.ask(t, m); slices.ContainsFunc(answer.Categories, func(s *pb.SuggestedCategory) bool { return s.Reason == "neighbours" }) {
		t.Errorf("got %v, want no confidential neighbour's vote", answer.Categories)
	}
}

func TestWhoMayNotSeeATicketIsNotToldOfIt(t *testing.T) {
	t.Parallel()
	c := follow(t, Options{})
	hidden := c.report(t, matter{title: "路灯不亮"})
	shown := c.report(t, matter{title: "路灯坏了"})
	c.caughtUp(t)
	answer, err := c.Suggest(t.Context(), c.Registry(), Matter{At: c.Now(), Words: say("路灯不亮", "")},
		func(_ context.Context, name string) (bool, error) { return name == shown, nil })
	if got := reasons(answer); err != nil || len(got) != 1 || got[shown] == "" {
		t.Errorf("got %v, %v, want %s and not %s", got, err, shown, hidden)
	}
	broken := errors.New("broken")
	if _, err := c.Suggest(t.Context(), c.Registry(), Matter{At: c.Now(), Words: say("路灯不亮", "")},
		func(context.Context, string) (bool, error) { return false, broken }); !errors.Is(err, broken) {
		t.Errorf("got %v, want the error that stood in the way", err)
	}
}

func TestWhatTheAcceptanceAddsIsFound(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"while it is followed", "before somebody asks"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			c := follow(t, Options{})
			name := c.report(t, matter{title: "求助"})
			if when == "while it is followed" {
				c.caughtUp(t)
			}
			c.Do(t, dispatchtest.Hotline, &pb.AcceptTicketRequest{Name: name, RequestId: "a", Particulars: &pb.Particulars{
				Text: "窨井盖不见了", Place: "春笋中路", Cause: "不明", Course: "今天", Petitioner: &pb.Petitioner{Name: "李四", Phone: "13812345678"},
			}})
			if got := reasons(c.ask(t, Matter{Words: say("窨井盖不见了", "")})); got[name] == "" {
				t.Errorf("got %v, want %s", got, name)
			}
			person, err := c.Person(t.Context(), &pb.Petitioner{Phone: "13812345678"})
			m := Matter{Words: say("井盖不见", ""), Subjects: []string{person}}
			if got := reasons(c.ask(t, m))[name]; err != nil || !strings.Contains(got, "same_person") {
				t.Errorf("got %q, %v, want the person who was named at the acceptance", got, err)
			}
			_, _, err = c.Erase(t.Context(), dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_AUDITOR), &pb.EraseSubjectRequest{Name: name, RequestId: "e", OrderRef: "o"})
			if err != nil {
				t.Fatal(err)
			}
			if got := reasons(c.ask(t, m)); len(got) != 0 || len(c.terms.ids) != 0 {
				t.Errorf("after the erasure: got %v and %d terms", got, len(c.terms.ids))
			}
		})
	}
}

func TestNoTermTellsWhoThePetitionerIs(t *testing.T) {
	t.Parallel()
	c := follow(t, Options{})
	c.Do(t, dispatchtest.Hotline, &pb.ReportTicketRequest{
		RequestId: "r", Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_HELP, Area: dispatchtest.Community,
		Particulars: &pb.Particulars{
			Title: "司马相如反映路灯不亮", Text: "司先生说，路灯不亮，回电13812345678，车牌苏B12345，住春笋中路88号2栋301室", Place: "春笋中路88号2栋301室",
			Petitioner: &pb.Petitioner{Name: "司马相如", Phone: "13812345678", Address: "春笋中路88号2栋301室"},
		},
	})
	c.caughtUp(t)
	if _, there := c.terms.ids["路灯"]; !there {
		t.Fatal("the words are not there at all")
	}
	for term := range c.terms.ids {
		for _, secret := range []string{"司马", "马相", "相如", "司先", "1381234", "5678", "12345", "301", "88"} {
			if strings.Contains(term, secret) {
				t.Errorf("got the term %q", term)
			}
		}
	}
}

func TestWhoGivesANumberThatIsNoneIsNotTheSamePersonAsOthersWhoDo(t *testing.T) {
	t.Parallel()
	c := follow(t, Options{})
	first := c.report(t, matter{category: "0302", title: "路灯不亮", phone: "00000000000"})
	second := c.report(t, matter{category: "0302", title: "井盖缺损", phone: "00000000000"})
	s, _, err := c.LoadTicket(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	if got := reasons(c.ask(t, Matter{ID: first[len("tickets/"):], Category: "0302", Words: say("路灯不亮", ""), Subjects: s.Subjects})); got[second] != "" {
		t.Errorf("got %v", got)
	}
}

func TestTheOldestMakeRoom(t *testing.T) {
	t.Parallel()
	c := follow(t, Options{Most: 3, Keep: 10 * 24 * time.Hour})
	var names []string
	for i := range 5 {
		names = append(names, c.report(t, matter{title: "路灯不亮", phone: fmt.Sprintf("1381234567%d", i)}))
	}
	got := reasons(c.ask(t, Matter{Words: say("路灯不亮", "")}))
	if len(got) != 3 || got[names[0]]+got[names[1]] != "" || c.Size() != 3 {
		t.Errorf("got %v of %v, want the last three", got, names)
	}
	c.Clock.Add(10*24*time.Hour + time.Second)
	if got := reasons(c.ask(t, Matter{Words: say("路灯不亮", "")})); len(got) != 0 || c.Size() != 0 || len(c.terms.ids) != 0 {
		t.Errorf("got %v, %d tickets and %d terms, want nothing so old", got, c.Size(), len(c.terms.ids))
	}
}

func TestImportedRecordsTakeNoRoom(t *testing.T) {
	t.Parallel()
	c := follow(t, Options{})
	for i := range 20 {
		c.Do(t, dispatchtest.System, &pb.ImportRecordRequest{
			RequestId: c.RequestID(), OccurredAt: timestamppb.New(c.Now()), Source: "old", SourceRef: fmt.Sprint(i), Category: "路灯不亮",
			Particulars: &pb.Particulars{Text: "路灯不亮"},
		})
	}
	if c.caughtUp(t); c.Size() != 0 {
		t.Errorf("got %d tickets, want none", c.Size())
	}
}

func TestCategoriesFollowFromTheirNamesAndFromWhatWasDecidedBefore(t *testing.T) {
	t.Parallel()
	c := follow(t, Options{})
	first := func(title, text string) *pb.SuggestedCategory {
		t.Helper()
		all := c.ask(t, Matter{Words: say(title, text)}).Categories
		for i, s := range all {
			if s.Score <= 0 || s.Score > 1 || i > 0 && all[i-1].Score < s.Score {
				t.Errorf("%s: got the score %f at %d", title, s.Score, i)
			}
		}
		if len(all) == 0 {
			return new(pb.SuggestedCategory)
		}
		return all[0]
	}
	if got := first("油烟扰民", "楼下饭店"); got.Category != "0104" || got.Reason != "name" || got.Name != "油烟扰民、露天烧烤" {
		t.Errorf("a name: got %v", got)
	}
	if got := first("路灯不亮", ""); got.Category != "0302" || got.Reason != "text" {
		t.Errorf("words of a name: got %v", got)
	}
	if got := first("窨盖", ""); got.Category != "" {
		t.Errorf("nothing known: got %v", got)
	}
	for range 3 {
		name := c.report(t, matter{title: "一楼的老鼠窜进家里"})
		c.Do(t, dispatchtest.Hotline, &pb.AcceptTicketRequest{Name: name, RequestId: c.RequestID(), Particulars: &pb.Particulars{
			Place: "x", Cause: "x", Course: "x", Petitioner: &pb.Petitioner{Name: "李四"},
		}})
		c.Do(t, dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_DISPATCHER), &pb.TriageTicketRequest{
			Name: name, RequestId: c.RequestID(), Category: "0101", Grade: pb.Grade_GRADE_G2,
		})
	}
	if got := first("老鼠窜进来了", ""); got.Category != "0101" || got.Reason != "neighbours" {
		t.Errorf("neighbours: got %v", got)
	}
	answer := c.ask(t, Matter{Path: c.path(t, dispatchtest.Community), Words: say("路灯不亮", "")})
	if got := answer.Leads[0]; got.Lead != dispatchtest.District+"-SZ" || got.BasisRule != byFunction || answer.CatalogueVersion != "wuxi-1" {
		t.Errorf("got %v by %s, want the lead of the likeliest category", got, answer.CatalogueVersion)
	}
}

func TestARulingIsOfferedForTheNextMatterOfItsCategoryInItsArea(t *testing.T) {
	t.Parallel()
	c := follow(t, Options{})
	rule := func(category, area, lead string) string {
		t.Helper()
		id := uuid.NewString()
		e, err := event.Encode("ticket-"+id, 1, event.Hash{}, &pb.EventMeta{OccurredAt: timestamppb.New(c.Now()), RecordedAt: timestamppb.New(c.Now())},
			&pb.AdjudicationRuled{Lead: lead, Co: []string{dispatchtest.DistrictUrban}, PrecedentCategory: category, PrecedentArea: area})
		if err == nil {
			_, err = c.Store.Append(t.Context(), "ticket-"+id, 0, []eventstore.Event{e})
		}
		if err != nil {
			t.Fatal(err)
		}
		return "tickets/" + id
	}
	rule("03", dispatchtest.District, dispatchtest.District+"-ZJ")
	rule("0302", dispatchtest.Street, dispatchtest.OtherUrban)
	last := rule("0302", dispatchtest.Street, dispatchtest.DistrictTraffic)
	rule("", "", dispatchtest.District)
	for _, a := range []struct{ category, area, lead string }{
		{"0302", dispatchtest.Community, dispatchtest.DistrictTraffic},
		{"0301", dispatchtest.Community, dispatchtest.District + "-ZJ"},
		{"0302", dispatchtest.OtherStreet, ""},
		{"0801", dispatchtest.Community, ""},
	} {
		got := c.ask(t, Matter{Path: c.path(t, a.area), Category: a.category}).Leads[0]
		if a.lead == "" && got.BasisRule == byPrecedent || a.lead != "" && (got.BasisRule != byPrecedent || got.Lead != a.lead) {
			t.Errorf("%s in %s: got %v, want %q", a.category, a.area, got, a.lead)
		}
		if a.lead == dispatchtest.DistrictTraffic && (got.Precedent != last || !slices.Equal(got.Co, []string{dispatchtest.DistrictUrban})) {
			t.Errorf("got %v, want the ruling %s", got, last)
		}
	}
	answer, err := c.Suggest(t.Context(), c.Registry(), Matter{Path: c.path(t, dispatchtest.Community), Category: "0302"},
		func(context.Context, string) (bool, error) { return false, nil })
	if got := answer.GetLeads()[0]; err != nil || got.Lead != dispatchtest.DistrictTraffic || got.Precedent != "" {
		t.Errorf("got %v, %v, want the lead and not which ticket it comes from", got, err)
	}

	// The community gets another code in the other street: what is ruled of it goes with it, also for a ticket that was reported before.
	rule("0302", dispatchtest.Community, dispatchtest.DistrictUrban)
	before := c.path(t, dispatchtest.Community)
	c.Clock.Add(time.Hour)
	const recoded, otherStreet = "320205002301", "320205002000"
	turn := timestamppb.New(c.Now())
	p := &pb.RegistryPiece{Levels: c.Registry().Levels(), Units: c.Registry().Units(), Categories: c.Registry().Categories()}
	for _, a := range c.Registry().Areas() {
		if a.Code == dispatchtest.Community || a.Parent == dispatchtest.Community {
			a = proto.CloneOf(a)
			a.ValidTo = turn
			if a.Code == dispatchtest.Community {
				a.Successors = []string{recoded}
			}
		}
		p.Areas = append(p.Areas, a)
	}
	p.Areas = append(p.Areas, &pb.Area{Code: recoded, Name: "门楼社区居委会", Level: "community", Parent: otherStreet, ValidFrom: turn})
	gone := map[string]bool{dispatchtest.Community: true}
	for i, u := range p.Units {
		if gone[u.Parent] || gone[u.Code] {
			gone[u.Code] = true
			p.Units[i] = proto.CloneOf(u)
			p.Units[i].ValidTo = turn
		}
	}
	faults, _, err := c.LoadRegistry(t.Context(), dispatchtest.System, "redrawn", time.Time{}, []*pb.RegistryPiece{p}, false)
	if err != nil || len(faults) > 0 {
		t.Fatal(faults, err)
	}
	for _, path := range [][]*pb.AreaNode{before, c.path(t, recoded)} {
		if got := c.ask(t, Matter{Path: path, Category: "0302"}).Leads[0]; got.BasisRule != byPrecedent || got.Lead != dispatchtest.DistrictUrban {
			t.Errorf("in the recoded community: got %v", got)
		}
	}
}

func TestNothingIsReadBeforeSomebodyAsks(t *testing.T) {
	t.Parallel()
	c := follow(t, Options{})
	c.report(t, matter{title: "路灯不亮"})
	if c.Size() != 0 || c.reachedSoFar() != 0 {
		t.Errorf("got %d tickets at %d", c.Size(), c.reachedSoFar())
	}
	if c.caughtUp(t); c.Size() != 1 {
		t.Errorf("got %d tickets, want 1", c.Size())
	}
	ahead, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Wait(ahead, c.reachedSoFar()+1); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want to wait for what is not recorded yet", err)
	}
}

func TestManyAskWhileManyReport(t *testing.T) {
	t.Parallel()
	c := follow(t, Options{Most: 20})
	c.caughtUp(t)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for k := range 15 {
				name := c.report(t, matter{title: "路灯不亮", category: "0302", phone: fmt.Sprintf("1381234%02d%02d", i, k), position: &pb.LonLat{Lon: 120.3, Lat: 31.5}})
				if k%5 == 0 {
					_, _, err := c.Erase(t.Context(), dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_AUDITOR), &pb.EraseSubjectRequest{Name: name, RequestId: c.RequestID(), OrderRef: "o"})
					if err != nil {
						t.Error(err)
					}
				}
			}
		})
		wg.Go(func() {
			for range 15 {
				m := Matter{At: c.Now(), Words: say("路灯不亮", ""), Position: &pb.LonLat{Lon: 120.3, Lat: 31.5}, Category: "0302"}
				if _, err := c.Suggest(t.Context(), c.Registry(), m, everything); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	c.caughtUp(t)
	if c.Size() != 20 || len(c.terms.entries) != 20 {
		t.Errorf("got %d tickets and %d entries, want 20", c.Size(), len(c.terms.entries))
	}
	for id, in := range c.terms.all {
		if !slices.IsSorted(in.in) || len(in.in) > 20 {
			t.Errorf("term %d: got %v", id, in.in)
		}
	}
}

// What a ticket of ninety characters costs: time to take it in, and memory while it is known.
func BenchmarkTakeIn(b *testing.B) {
	signs := []rune("小区门口路灯三天不亮居民反映晚上出行不便希望尽快维修物业垃圾清运车辆占道停车噪声扰民施工工地夜间井盖破损积水排水管道堵塞消防通道电动车充电违建楼道堆放街道")
	any := rand.New(rand.NewPCG(1, 2))
	text := func(n int) string {
		r := make([]rune, n)
		for i := range r {
			r[i] = signs[any.IntN(len(signs))]
		}
		return string(r)
	}
	x, err := New(nil, Options{Most: math.MaxInt})
	if err != nil {
		b.Fatal(err)
	}
	heap := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	before := heap()
	b.ResetTimer()
	for i := range b.N {
		e := &entry{id: uuid.NewString(), subjects: []string{uuid.NewString()}, position: &point{120 + any.Float64(), 31 + any.Float64()}}
		x.add(e, x.words(text(12), text(68)), x.words(text(10)))
		if i%1000 == 0 {
			x.terms.similar(x.terms.query(x.words(text(80))), mostLooked)
		}
	}
	b.StopTimer()
	b.ReportMetric((heap()-before)/float64(b.N), "B-kept/op")
	runtime.KeepAlive(x)
}
