package view

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chuishao/dispatch/internal/viewdb"
)

// Other tickets of a person are looked up one by one: without an index each would be looked for among all.
func TestPersonsWhoReportedAgainAreFoundByTheIndex(t *testing.T) {
	t.Parallel()
	db, err := viewdb.Open(filepath.Join(t.TempDir(), "views.db"), viewdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	v := Service(time.UTC)
	err = db.Write(t.Context(), func(tx *viewdb.Tx) error {
		for _, statement := range append(v.Schema, v.Indexes...) {
			if _, err := tx.Exec(statement); err != nil {
				return err
			}
		}
		var plan []string
		for row, err := range tx.Query("EXPLAIN QUERY PLAN "+queryPersons, int64(0), int64(1)) {
			if err != nil {
				return err
			}
			plan = append(plan, row.Text(3))
		}
		const want = "SEARCH o USING COVERING INDEX service_ticket_3_subject (subject=?)"
		if all := strings.Join(plan, "\n"); !strings.Contains(all, want) || strings.Contains(all, "SCAN o") {
			t.Errorf("got the plan\n%s\nwant %s", all, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
