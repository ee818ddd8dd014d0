package year_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/chuishao/dispatch/internal/year"
)

// Everything runs as it does in a node: commands, timers and what follows, on one clock. Simulate verifies the history and rebuilds all
// views; any finding is an error.
func TestTwoMonthsOfACityLeaveNothingToFind(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	err := year.Simulate(t.Context(), year.Options{Dir: filepath.Join(t.TempDir(), "data"), Tickets: 300, Days: 60, Seed: 1, Few: true, Out: &out})
	t.Log(out.String())
	if err != nil {
		t.Fatal(err)
	}
}
