package servers_test

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/chuishao/dispatch/internal/servers"
)

func TestWhatWasCommittedIsThereAfterPostgreSQLWasKilled(t *testing.T) {
	t.Parallel()
	p, err := servers.StartPostgres(t.Context(), t.TempDir(), servers.NoSync)
	if missing := new(servers.MissingError); errors.As(err, &missing) {
		t.Skip(missing)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := p.Create(t.Context(), "city"); err != nil {
		t.Fatal(err)
	}
	conn := dial(t, p.URL("city"))
	if _, err := conn.Exec(t.Context(), "CREATE TABLE a (b BIGINT); INSERT INTO a (b) VALUES (7)"); err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("a killed server answers")
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	var b int64
	if err := dial(t, p.URL("city")).QueryRow(t.Context(), "SELECT b FROM a").Scan(&b); err != nil || b != 7 {
		t.Errorf("got %d, %v, want 7", b, err)
	}
	if err := p.Drop(t.Context(), "city"); err != nil {
		t.Error(err)
	}
}

func dial(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return conn
}
