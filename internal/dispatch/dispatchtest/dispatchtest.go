// Package dispatchtest opens what tests of commands need: a dispatcher on an embedded store in a temporary folder, or on another, with the example city's
// registry and a clock the test drives.
package dispatchtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/examples/wuxi"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/sqlite"
	"github.com/chuishao/dispatch/internal/privacy"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/rule"
)

// City is a dispatcher with all it stands on. Everything is closed when the test ends.
type City struct {
	*dispatch.Dispatcher
	Dir   string
	Store History
	Keys  *privacy.Keys
	Clock *dispatch.Clock

	mu sync.Mutex
	n  int
}

// History is what a city's events lie in.
type History interface {
	eventstore.Store
	// Head is the position of the last event, 0 if there is none.
	Head(context.Context) (eventstore.Position, error)
}

// Start is what the clock of a new City shows: a Wednesday morning in Shanghai.
var Start = time.Date(2025, 3, 5, 9, 0, 0, 0, time.FixedZone("CST", 8*3600))

// Open makes a city in a temporary folder.
func Open(tb testing.TB) *City {
	tb.Helper()
	dir := tb.TempDir()
	path := filepath.Join(dir, "history.db")
	begun, err := begun()
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(path, begun, 0o600); err != nil {
		tb.Fatal(err)
	}
	store, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := store.Close(); err != nil {
			tb.Error(err)
		}
	})
	return on(tb, store, dir)
}

// OpenOn makes a city on an empty history, which the caller closes when the test has ended: in a cleanup of its own, made before.
func OpenOn(tb testing.TB, store History) *City {
	tb.Helper()
	c := on(tb, store, tb.TempDir())
	if err := load(tb.Context(), c.Dispatcher); err != nil {
		tb.Fatal(err)
	}
	return c
}

// begun is the file of an embedded history in which the example city's registry was loaded, and nothing else happened. It is made once for all tests of a package.
var begun = sync.OnceValues(func() (file []byte, err error) {
	dir, err := os.MkdirTemp("", "city-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "history.db")
	if err := begin(path, filepath.Join(dir, "keys.db")); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// begin makes a history in which the example city's registry was loaded.
func begin(history, keys string) (err error) {
	store, err := sqlite.Open(history, sqlite.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	k, err := privacy.Open(keys, privacy.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	d, err := dispatch.New(context.Background(), store, k, dispatch.Options{Clock: func() time.Time { return Start }})
	if err != nil {
		return err
	}
	return load(context.Background(), d)
}

// load loads the example city's registry.
func load(ctx context.Context, d *dispatch.Dispatcher) error {
	content, faults := registry.ReadDir(wuxi.Files)
	if len(faults) > 0 {
		return fmt.Errorf("example registry: %v", faults)
	}
	faults, _, err := d.LoadRegistry(ctx, System, "wuxi-1", Start.AddDate(-10, 0, 0), content.Pieces(), false)
	if err == nil && len(faults) > 0 {
		err = fmt.Errorf("faults: %v", faults)
	}
	if err != nil {
		return fmt.Errorf("load example registry: %w", err)
	}
	return nil
}

func on(tb testing.TB, store History, dir string) *City {
	tb.Helper()
	c := &City{Dir: dir, Store: store, Clock: new(dispatch.Clock)}
	c.Clock.Set(Start)
	var err error
	if c.Keys, err = privacy.Open(filepath.Join(c.Dir, "keys.db"), privacy.Options{}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Keys.Close(); err != nil {
			tb.Error(err)
		}
	})
	if c.Dispatcher, err = dispatch.New(tb.Context(), c.Store, c.Keys, dispatch.Options{Clock: c.Clock.Now}); err != nil {
		tb.Fatal(err)
	}
	return c
}

// RequestID is one that was not used yet.
func (c *City) RequestID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return fmt.Sprintf("request-%d", c.n)
}

// Units of the example city, from the top down; each lies below the one before.
const (
	CityCentre      = "320200000000-ZH"
	DistrictCentre  = "320205000000-ZH"
	District        = "320205000000"
	DistrictUrban   = "320205000000-CG"
	DistrictTraffic = "320205000000-JT"
	Street          = "320205001000"
	Community       = "320205001001"
	OtherDistrict   = "320206000000"
	OtherUrban      = "320206000000-CG"
	OtherStreet     = "320206001000"
)

// System is this system itself; Hotline a connected hotline.
var (
	System  = rule.Actor{Person: "system", Roles: []pb.Role{pb.Role_ROLE_SYSTEM}, Unit: CityCentre}
	Hotline = rule.Actor{Person: "hotline", Roles: []pb.Role{pb.Role_ROLE_CONNECTED_SYSTEM, pb.Role_ROLE_AGENT}, Unit: CityCentre}
)

// As is an actor of a unit in some roles.
func As(unit string, roles ...pb.Role) rule.Actor {
	return rule.Actor{Person: fmt.Sprintf("%s/%v", unit, roles), Roles: roles, Unit: unit}
}

// Report reports a matter in an area and gives the ticket's name.
func (c *City) Report(tb testing.TB, area string) string {
	tb.Helper()
	return c.Do(tb, Hotline, &pb.ReportTicketRequest{
		RequestId: c.RequestID(), Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_HELP, Area: area, Category: "0302",
		Particulars: &pb.Particulars{
			Title: "路灯不亮", Text: "小区门口路灯三天不亮", Place: "东亭街道春笋中路", Cause: "线路老化", Course: "三天前开始",
			Petitioner: &pb.Petitioner{Name: "张三丰", Phone: fmt.Sprintf("1380000%04d", c.n%10000), CallbackWanted: true},
		},
	})
}

// Do carries out a ticket command that must not be refused, and gives the ticket's name.
func (c *City) Do(tb testing.TB, actor rule.Actor, command proto.Message) string {
	tb.Helper()
	_, result, err := c.Ticket(tb.Context(), dispatch.Request{Actor: actor, Command: command})
	if err != nil {
		tb.Fatalf("%T: %v", command, err)
	}
	return "tickets/" + dispatch.ID(result.Stream)
}

// ToHandling takes a reported ticket as far as being handled by the lead.
func (c *City) ToHandling(tb testing.TB, name, lead string) {
	tb.Helper()
	dispatcher := As(CityCentre, pb.Role_ROLE_DISPATCHER)
	c.Do(tb, Hotline, &pb.AcceptTicketRequest{Name: name, RequestId: c.RequestID()})
	c.Do(tb, dispatcher, &pb.TriageTicketRequest{Name: name, RequestId: c.RequestID(), Category: "0302", Grade: pb.Grade_GRADE_G2})
	c.Do(tb, dispatcher, &pb.DispatchTicketRequest{Name: name, RequestId: c.RequestID(), Lead: lead})
	c.Do(tb, As(lead, pb.Role_ROLE_DEPARTMENT_CLERK), &pb.SignTicketRequest{Name: name, RequestId: c.RequestID()})
}

// ToClosed takes a ticket that is handled by the lead to its closing.
func (c *City) ToClosed(tb testing.TB, name, lead string) {
	tb.Helper()
	clerk := As(lead, pb.Role_ROLE_DEPARTMENT_CLERK)
	c.Do(tb, clerk, &pb.RecordContactRequest{Name: name, RequestId: c.RequestID(), Channel: "phone", Reached: true})
	c.Do(tb, clerk, &pb.SubmitResultRequest{Name: name, RequestId: c.RequestID(), Result: pb.ResultCode_RESULT_CODE_RESOLVED, Particulars: &pb.Particulars{Reply: "已修复"}})
	c.Do(tb, As(CityCentre, pb.Role_ROLE_SUPERVISOR), &pb.VerifyResultRequest{Name: name, RequestId: c.RequestID(), Passed: true})
	c.Do(tb, As(CityCentre, pb.Role_ROLE_CALLER), &pb.RecordCallbackRequest{Name: name, RequestId: c.RequestID(), Answered: true, Contacted: true, Solved: pb.Solved_SOLVED_YES, Satisfaction: 5})
	c.Do(tb, As(CityCentre, pb.Role_ROLE_DISPATCHER), &pb.CloseTicketRequest{Name: name, RequestId: c.RequestID()})
}
