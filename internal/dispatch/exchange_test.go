package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/rule"
)

var (
	needs  = dispatchtest.As(dispatchtest.Community, pb.Role_ROLE_COMMUNITY_CLERK)
	offers = dispatchtest.As(dispatchtest.DistrictUrban, pb.Role_ROLE_DEPARTMENT_CLERK)
)

// entry opens a need or offers a resource, and gives its name.
func entry(t testing.TB, c *dispatchtest.City, kind pb.ExchangeKind) string {
	t.Helper()
	by := needs
	if kind == pb.ExchangeKind_EXCHANGE_KIND_RESOURCE {
		by = offers
	}
	return carried(t, c, by, &pb.OpenEntryRequest{RequestId: c.RequestID(), Kind: kind, Topic: "venue", Particulars: &pb.Particulars{Text: "场地"}})
}

// carried carries out a command that must not be refused, and gives the name of what it is for.
func carried(t testing.TB, c *dispatchtest.City, by rule.Actor, command proto.Message) string {
	t.Helper()
	_, result, err := c.Carry(t.Context(), dispatch.Request{Actor: by, Command: command})
	if err != nil {
		t.Fatalf("%T: %v", command, err)
	}
	return rule.ResourceOf(command).Collection + "/" + dispatch.ID(result.Stream)
}

func claim(d *dispatch.Dispatcher, ctx context.Context, by rule.Actor, id, name, with string) (string, dispatch.Result, error) {
	s, result, err := d.Carry(ctx, dispatch.Request{Actor: by, Command: &pb.MatchEntryRequest{RequestId: id, Name: name, With: with}})
	if err != nil {
		return "", result, err
	}
	_, state := s.Standing()
	return state, result, nil
}

func shown(t testing.TB, c *dispatchtest.City, name string) *pb.Entry {
	t.Helper()
	m, _, err := c.Entry(t.Context(), name, needs)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// checkPairs holds that whatever is matched is matched with what is matched with it, and gives how many are.
func checkPairs(t *testing.T, c *dispatchtest.City, names []string) (matched int) {
	t.Helper()
	for _, name := range names {
		m := shown(t, c, name)
		if (m.With != "") != (m.State == pb.ExchangeState_EXCHANGE_STATE_MATCHED) {
			t.Errorf("%s is %s with %q", name, m.State, m.With)
		}
		if m.With == "" {
			continue
		}
		matched++
		if other := shown(t, c, m.With); other.With != name || other.Kind == m.Kind {
			t.Errorf("%s, a %s, is matched with %s, a %s, which is matched with %q", name, m.Kind, m.With, other.Kind, other.With)
		}
	}
	return matched
}

func TestOfManyNeedsExactlyOneGetsTheResource(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	other, err := dispatch.New(t.Context(), c.Store, c.Keys, dispatch.Options{Clock: c.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	for round := range 15 {
		resource := entry(t, c, pb.ExchangeKind_EXCHANGE_KIND_RESOURCE)
		names := []string{resource}
		for range 4 {
			names = append(names, entry(t, c, pb.ExchangeKind_EXCHANGE_KIND_NEED))
		}
		errs := make([]error, 4)
		var wg sync.WaitGroup
		for i := range errs {
			d, by, name, with := c.Dispatcher, needs, names[i+1], resource
			if i%2 == 1 { // from the other side, in another process
				d, by, name, with = other, offers, resource, names[i+1]
			}
			wg.Go(func() { _, _, errs[i] = claim(d, t.Context(), by, fmt.Sprintf("c/%d/%d", round, i), name, with) })
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else if reason(err) != rule.WrongState {
				t.Fatal(err)
			}
		}
		if n := checkPairs(t, c, names); won != 1 || n != 2 {
			t.Fatalf("%d claims won, %d entries are matched: %v", won, n, errs)
		}
	}
}

func TestWhicheverEntriesAreClaimedAtOnceNoneStaysMatchedWithWhatIsMatchedElsewhere(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	other, err := dispatch.New(t.Context(), c.Store, c.Keys, dispatch.Options{Clock: c.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	freed := 0
	for round := range 15 {
		var list, offered []string
		for range 3 {
			list = append(list, entry(t, c, pb.ExchangeKind_EXCHANGE_KIND_NEED))
			offered = append(offered, entry(t, c, pb.ExchangeKind_EXCHANGE_KIND_RESOURCE))
		}
		var pairs [][2]string
		for _, n := range list {
			for _, r := range offered {
				pairs = append(pairs, [2]string{n, r}, [2]string{r, n})
			}
		}
		rand.Shuffle(len(pairs), func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
		errs := make([]error, len(pairs))
		var wg sync.WaitGroup
		for i, pair := range pairs {
			d := []*dispatch.Dispatcher{c.Dispatcher, other}[i%2]
			wg.Go(func() {
				_, _, errs[i] = claim(d, t.Context(), needs, fmt.Sprintf("c/%d/%d", round, i), pair[0], pair[1])
			})
		}
		wg.Wait()
		for _, err := range errs {
			if err != nil && reason(err) != rule.WrongState {
				t.Fatal(err)
			}
		}
		if n := checkPairs(t, c, append(list, offered...)); n == 0 {
			t.Error("nothing is matched")
		}
	}
	for r, err := range c.Store.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Type == "EntryFreed" {
			freed++
		}
	}
	t.Logf("%d resources were freed", freed)
}

// repeatAll does what follows from all that is recorded, as policy does, any number of times.
func repeatAll(t testing.TB, c *dispatchtest.City) {
	t.Helper()
	for r, err := range c.Store.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := event.Decode(r)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(e.Stream, "exchange-") {
			if err := c.React(t.Context(), &e); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func streamOf(name string) string { return "exchange-" + strings.TrimPrefix(name, "exchanges/") }

func TestAMatchThatWasCutOffIsFinished(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"the same request", "policy"} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			c := dispatchtest.Open(t)
			need, resource := entry(t, c, pb.ExchangeKind_EXCHANGE_KIND_NEED), entry(t, c, pb.ExchangeKind_EXCHANGE_KIND_RESOURCE)
			dying, err := dispatch.New(t.Context(), cutOff{c.Store, streamOf(need)}, c.Keys, dispatch.Options{Clock: c.Clock.Now})
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := claim(dying, t.Context(), needs, "m", need, resource); !errors.Is(err, eventstore.ErrUnavailable) {
				t.Fatalf("got %v, want the outcome to be unknown", err)
			}
			if m := shown(t, c, need); m.State != pb.ExchangeState_EXCHANGE_STATE_OPEN {
				t.Fatalf("the need is %s already", m.State)
			}
			if by == "policy" {
				repeatAll(t, c)
			}
			for i := range 2 {
				state, result, err := claim(c.Dispatcher, t.Context(), needs, "m", need, resource)
				if err != nil || state != "MATCHED" || !result.Repeated || result.Stream != streamOf(need) || result.Version != 2 {
					t.Errorf("time %d: got %s, %+v, %v", i, state, result, err)
				}
			}
			repeatAll(t, c)
			if n := checkPairs(t, c, []string{need, resource}); n != 2 {
				t.Errorf("%d are matched, want both", n)
			}
		})
	}
}

func TestAResourceIsFreedWhoseNeedWentAnotherWayBeforeItWasTold(t *testing.T) {
	t.Parallel()
	for name, meanwhile := range map[string]func(c *dispatchtest.City, need, another string){
		"withdrawn": func(c *dispatchtest.City, need, _ string) {
			carried(t, c, needs, &pb.WithdrawEntryRequest{Name: need, RequestId: "w"})
		},
		"matched with another": func(c *dispatchtest.City, need, another string) {
			if _, _, err := claim(c.Dispatcher, t.Context(), needs, "other", need, another); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for _, finishes := range []string{"the same request", "policy"} {
			t.Run(name+", "+finishes, func(t *testing.T) {
				t.Parallel()
				c := dispatchtest.Open(t)
				need, resource := entry(t, c, pb.ExchangeKind_EXCHANGE_KIND_NEED), entry(t, c, pb.ExchangeKind_EXCHANGE_KIND_RESOURCE)
				another := entry(t, c, pb.ExchangeKind_EXCHANGE_KIND_RESOURCE)
				dying, err := dispatch.New(t.Context(), cutOff{c.Store, streamOf(need)}, c.Keys, dispatch.Options{Clock: c.Clock.Now})
				if err != nil {
					t.Fatal(err)
				}
				if _, _, err := claim(dying, t.Context(), offers, "m", resource, need); !errors.Is(err, eventstore.ErrUnavailable) {
					t.Fatalf("got %v, want the outcome to be unknown", err)
				}
				meanwhile(c, need, another)
				if finishes == "policy" {
					repeatAll(t, c)
				} else if _, _, err := claim(c.Dispatcher, t.Context(), offers, "m", resource, need); reason(err) != rule.WrongState {
					t.Fatalf("got %v, want %s", err, rule.WrongState)
				}
				checkPairs(t, c, []string{need, resource, another})
				if m := shown(t, c, resource); m.State != pb.ExchangeState_EXCHANGE_STATE_OPEN || m.With != "" {
					t.Fatalf("the resource is %s with %q", m.State, m.With)
				}
				// It is there for the next need, and what was late for the first changes nothing any more.
				next := entry(t, c, pb.ExchangeKind_EXCHANGE_KIND_NEED)
				if _, _, err := claim(c.Dispatcher, t.Context(), needs, "n", next, resource); err != nil {
					t.Fatal(err)
				}
				repeatAll(t, c)
				if m := shown(t, c, resource); m.With != next {
					t.Errorf("the resource is matched with %q, want %q", m.With, next)
				}
				checkPairs(t, c, []string{need, resource, another, next})
			})
		}
	}
}

func TestAResourceLearnsThatItsNeedWasMetThoughNobodyWasThereToTellIt(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	need, resource := entry(t, c, pb.ExchangeKind_EXCHANGE_KIND_NEED), entry(t, c, pb.ExchangeKind_EXCHANGE_KIND_RESOURCE)
	if _, _, err := claim(c.Dispatcher, t.Context(), needs, "m", need, resource); err != nil {
		t.Fatal(err)
	}
	dying, err := dispatch.New(t.Context(), cutOff{c.Store, streamOf(resource)}, c.Keys, dispatch.Options{Clock: c.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	met := &pb.FulfilEntryRequest{Name: need, RequestId: "f", Particulars: &pb.Particulars{Note: "张三丰已到场"}}
	if _, _, err := dying.Carry(t.Context(), dispatch.Request{Actor: needs, Command: met}); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Fatalf("got %v, want the outcome to be unknown", err)
	}
	repeatAll(t, c)
	repeatAll(t, c)
	for _, name := range []string{need, resource} {
		if m := shown(t, c, name); m.State != pb.ExchangeState_EXCHANGE_STATE_FULFILLED {
			t.Errorf("%s is %s", name, m.State)
		}
	}
}

func TestACommunityHasOneMatterAMonthWhoeverChooses(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	errs := make([]error, 4)
	var wg sync.WaitGroup
	for i := range errs {
		by := dispatchtest.As(dispatchtest.Community, pb.Role_ROLE_COMMUNITY_SECRETARY)
		by.Person = fmt.Sprint("secretary-", i)
		wg.Go(func() {
			_, _, errs[i] = c.Carry(t.Context(), dispatch.Request{Actor: by, Command: &pb.ChooseMatterRequest{
				RequestId: "choose", Area: dispatchtest.Community, Month: "2025-03", Particulars: &pb.Particulars{Text: "停车难"},
			}})
		})
	}
	wg.Wait()
	chosen := 0
	for _, err := range errs {
		if err == nil {
			chosen++
		} else if reason(err) != rule.AlreadyExists {
			t.Errorf("got %v", err)
		}
	}
	if chosen != 1 {
		t.Errorf("%d were chosen", chosen)
	}
}

func TestWhatACommunityPublishesIsReadByAnybodyUntilItIsErased(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	secretary := dispatchtest.As(dispatchtest.Community, pb.Role_ROLE_COMMUNITY_SECRETARY)
	name := carried(t, c, secretary, &pb.ChooseMatterRequest{RequestId: "1", Area: dispatchtest.Community, Month: "2025-03", Particulars: &pb.Particulars{Text: "停车难"}})
	carried(t, c, secretary, &pb.RecordDeliberationRequest{RequestId: "2", Name: name, Particulars: &pb.Particulars{Text: "纪要"}})
	carried(t, c, secretary, &pb.DecideMatterRequest{RequestId: "3", Name: name, Particulars: &pb.Particulars{Text: "决定"}})
	resident := dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_CITIZEN)
	s, m, _, err := c.Deliberation(t.Context(), name)
	if err != nil || m.Words != "" || s.MaySee(c.Registry(), resident, c.Now()) || !s.MaySee(c.Registry(), secretary, c.Now()) {
		t.Errorf("before it is published: %v, %v", m, err)
	}
	if s.MaySee(c.Registry(), dispatchtest.As(dispatchtest.OtherStreet, pb.Role_ROLE_STREET_CLERK), c.Now()) {
		t.Error("another street sees it before it is published")
	}
	if !s.MaySee(c.Registry(), dispatchtest.As(dispatchtest.Street, pb.Role_ROLE_STREET_CLERK), c.Now()) {
		t.Error("its street does not see it before it is published")
	}
	carried(t, c, secretary, &pb.PublishMatterRequest{RequestId: "4", Name: name, Particulars: &pb.Particulars{Reply: "错时共享停车位"}})
	s, m, _, err = c.Deliberation(t.Context(), name)
	if err != nil || m.Words != "错时共享停车位" || !s.MaySee(c.Registry(), resident, c.Now()) {
		t.Errorf("after it is published: %v, %v", m, err)
	}
	if err := c.Keys.Erase(t.Context(), s.Subject, c.Now()); err != nil {
		t.Fatal(err)
	}
	if _, m, _, err = c.Deliberation(t.Context(), name); err != nil || m.Words != "" || !m.Erased {
		t.Errorf("after it was erased: %v, %v", m, err)
	}
}
