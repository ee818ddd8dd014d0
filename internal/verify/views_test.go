package verify_test

import (
	"path/filepath"
	"testing"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/servers/serverstest"
	"github.com/chuishao/dispatch/internal/verify"
	"github.com/chuishao/dispatch/internal/view"
	"github.com/chuishao/dispatch/internal/viewdb"
)

func TestMain(m *testing.M) { serverstest.Main(m) }

func TestAChangedRowOfAViewIsFoundOnEachEngine(t *testing.T) {
	t.Parallel()
	for name, place := range map[string]func(t *testing.T) string{
		"SQLite":     func(t *testing.T) string { return filepath.Join(t.TempDir(), "views.db") },
		"PostgreSQL": func(t *testing.T) string { return serverstest.Database(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			city := dispatchtest.Open(t)
			for range 3 {
				name := city.Report(t, dispatchtest.Community)
				city.ToHandling(t, name, dispatchtest.DistrictUrban)
				city.ToClosed(t, name, dispatchtest.DistrictUrban)
			}
			db, err := viewdb.Open(place(t), viewdb.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close() })
			p, err := projector.Open(t.Context(), city.Store, db, projector.Options{}, view.All(city.Zone())...)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.CatchUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			run := func() (findings []*pb.VerifyFinding, compared int) {
				err := verify.Run(t.Context(), verify.Config{Store: city.Store, Views: db, Zone: city.Zone(), Dir: t.TempDir()}, func(m *pb.VerifyHistoryResponse) error {
					findings = append(findings, m.Findings...)
					if m.Done {
						compared = len(m.Views)
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				return findings, compared
			}
			all := len(view.All(city.Zone()))
			if findings, compared := run(); len(findings) > 0 || compared != all {
				t.Fatalf("got %v and %d views, want none and %d", findings, compared, all)
			}
			err = db.Write(t.Context(), func(tx *viewdb.Tx) error {
				_, err := tx.Exec("UPDATE tickets_4 SET round = round + 1 WHERE ticket = (SELECT MAX(ticket) FROM tickets_4)")
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			findings, compared := run()
			if len(findings) != 1 || findings[0].Kind != "VIEW_DIFFERS" || findings[0].View != view.TicketsView || compared != all-1 {
				t.Errorf("got %v and %d views, want that %s differs", findings, compared, view.TicketsView)
			}
		})
	}
}
