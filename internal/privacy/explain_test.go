package privacy

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestWhateverAServerEndsAConnectionForMayPass(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code, severity string
		passes         bool
	}{
		{"25P03", "FATAL", true}, {"XX000", "PANIC", true}, {"57P01", "FATAL", true}, {"40001", "ERROR", true},
		{"23505", "ERROR", false}, {"42601", "ERROR", false},
	} {
		err := explainPostgres(&pgconn.PgError{Code: c.code, SeverityUnlocalized: c.severity})
		if errors.Is(err, ErrUnavailable) != c.passes {
			t.Errorf("%s %s: got %v, want that it passes: %t", c.severity, c.code, err, c.passes)
		}
	}
}
