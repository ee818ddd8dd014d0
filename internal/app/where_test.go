package app_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/eventstore"
)

// The second host has no port, so that net/url takes the whole for no URL; what is missed is the monitoring, which only who opens it knows of.
func TestTheHostsOfAClusterMayLeaveOutTheirPorts(t *testing.T) {
	t.Parallel()
	_, err := app.OpenHistory(t.Context(), "jetstream://u:hush@h1:4222,h2/CITY", "", app.HistoryOptions{})
	if err == nil || !strings.Contains(err.Error(), "monitor is missing") {
		t.Errorf("got %v, want what the adapter says of it", err)
	}
}

func TestWhatIsWrongWithAPlaceIsSaidWithoutItsPassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"jetstream://u:hush%zz@h1/CITY?monitor=http://h1", "esdb://u:hush%zz@h1:2113", "esdb://u:hush@h1:21x3", "postgres://u:hush@h", "u:hush@h", "esdb", "sqlite:"} {
		if _, err := app.OpenHistory(t.Context(), url, "", app.HistoryOptions{}); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s as a history: got %v, want it refused without the password", url, err)
		}
	}
	for _, url := range []string{"postgres://u:hush%zz@h/db", "postgres://u:hush@h:54x2/db", "postgres://u@h/db?password=hush&sslmode=x", "postgres://u:hush@h1:5432,h2:54x2/db"} {
		for _, where := range []app.Where{{Views: url}, {Keys: url}} {
			o := quiet()
			o.Where = where
			if n, err := app.Open(t.Context(), t.TempDir(), o); err == nil || strings.Contains(err.Error(), "hush") {
				t.Errorf("%+v: got %v, want it refused without the password", where, err)
				if err == nil {
					n.Close()
				}
			}
		}
	}
}

var histories = regexp.MustCompile("(jetstream|esdb)://[^`\\s'…][^`\\s']*")

// What stands in the documents as the URL of a history is one: whoever copies it is told at most that nobody answers.
func TestTheHistoriesOfTheDocumentsHaveURLs(t *testing.T) {
	t.Parallel()
	ended, end := context.WithCancel(t.Context())
	end()
	seen := 0
	for _, name := range []string{"README.md", "docs/OPERATIONS.md", "deploy/k8s/README.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, url := range histories.FindAllString(string(text), -1) {
			url = strings.TrimSuffix(strings.NewReplacer(":…@", ":pass@", ":***@", ":pass@").Replace(url), "&…")
			url = strings.Replace(url, "&tlsCaFile=/etc/chuishao/store-ca/ca.crt", "", 1) // which is not here
			store, err := app.OpenHistory(ended, url, "", app.HistoryOptions{})
			if err == nil {
				store.Close()
			}
			if !errors.Is(err, context.Canceled) && !errors.Is(err, eventstore.ErrUnavailable) {
				t.Errorf("%s: %s: %v", name, url, err)
			}
			seen++
		}
	}
	if seen < 4 {
		t.Errorf("%d URLs: nothing is shown", seen)
	}
}
