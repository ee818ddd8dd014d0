package double_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"github.com/chuishao/dispatch/internal/eventstore/esdb/double"
)

func connect(t *testing.T) (*double.Cluster, *esdb.Client) {
	t.Helper()
	cluster, err := double.Start(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	config, err := esdb.ParseConnectionString(cluster.URL())
	if err != nil {
		t.Fatal(err)
	}
	config.Logger = esdb.NoopLogging()
	client, err := esdb.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return cluster, client
}

func events(n int) []esdb.EventData {
	made := make([]esdb.EventData, n)
	for i := range made {
		made[i] = esdb.EventData{EventID: uuid.New(), EventType: "happened", Data: []byte{byte(i)}}
	}
	return made
}

// numbers are the numbers of a read's events.
func numbers(t *testing.T, r *esdb.ReadStream, err error) ([]uint64, error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got []uint64
	for {
		e, err := r.Recv()
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		got = append(got, e.OriginalEvent().EventNumber)
	}
}

func code(err error) esdb.ErrorCode {
	if e, ok := errors.AsType[*esdb.Error](err); ok {
		return e.Code()
	}
	return -1
}

func TestAppendsSentAgainAreRecognised(t *testing.T) {
	t.Parallel()
	_, client := connect(t)
	given := events(4)
	appends := func(expected esdb.ExpectedRevision, e ...esdb.EventData) (*esdb.WriteResult, error) {
		return client.AppendToStream(t.Context(), "s-1", esdb.AppendToStreamOptions{ExpectedRevision: expected}, e...)
	}
	first, err := appends(esdb.NoStream{}, given[:2]...)
	if err != nil {
		t.Fatal(err)
	}
	second, err := appends(esdb.Revision(1), given[2:]...)
	if err != nil || second.NextExpectedVersion != 3 || second.CommitPosition <= first.CommitPosition {
		t.Fatalf("got %+v, %v, behind %+v", second, err, first)
	}
	if again, err := appends(esdb.NoStream{}, given[:2]...); err != nil || *again != *first {
		t.Errorf("sent again: got %+v, %v, want %+v", again, err, first)
	}
	if again, err := appends(esdb.Revision(1), given[2:]...); err != nil || *again != *second {
		t.Errorf("sent again: got %+v, %v, want %+v", again, err, second)
	}
	for what, refused := range map[string]func() (*esdb.WriteResult, error){
		"others at a number that is taken": func() (*esdb.WriteResult, error) { return appends(esdb.Revision(1), events(2)...) },
		"the first the same, then another": func() (*esdb.WriteResult, error) { return appends(esdb.Revision(1), given[2], events(1)[0]) },
		"the same and one more":            func() (*esdb.WriteResult, error) { return appends(esdb.Revision(2), given[3], events(1)[0]) },
		"ahead of the stream":              func() (*esdb.WriteResult, error) { return appends(esdb.Revision(9), events(1)...) },
		"as a new stream":                  func() (*esdb.WriteResult, error) { return appends(esdb.NoStream{}, events(1)...) },
	} {
		if _, err := refused(); code(err) != esdb.ErrorCodeWrongExpectedVersion || !strings.Contains(err.Error(), "got '3'") {
			t.Errorf("%s: got %v, want a wrong version at 3", what, err)
		}
	}
	if _, err := client.AppendToStream(t.Context(), "s-2", esdb.AppendToStreamOptions{ExpectedRevision: esdb.StreamExists{}}, events(1)...); code(err) != esdb.ErrorCodeWrongExpectedVersion {
		t.Errorf("where no stream is: got %v, want a wrong version", err)
	}
	if _, err := appends(esdb.Any{}, events(1)...); err != nil {
		t.Errorf("at any version: %v", err)
	}
}

func TestReadsSeeWhatDeletionAndMetadataLeave(t *testing.T) {
	t.Parallel()
	_, client := connect(t)
	ctx := t.Context()
	read := func(stream string, direction esdb.Direction, from esdb.StreamPosition) ([]uint64, error) {
		r, err := client.ReadStream(ctx, stream, esdb.ReadStreamOptions{Direction: direction, From: from}, 100)
		return numbers(t, r, err)
	}
	check := func(what string, want string, direction esdb.Direction, from esdb.StreamPosition) {
		t.Helper()
		got, err := read("s-1", direction, from)
		text := ""
		for _, n := range got {
			text += string(rune('0' + n))
		}
		if text != want || err != nil {
			t.Errorf("%s: got %s, %v, want %s", what, text, err, want)
		}
	}
	if _, err := read("s-1", esdb.Forwards, esdb.Start{}); code(err) != esdb.ErrorCodeResourceNotFound {
		t.Errorf("of no stream: got %v", err)
	}
	if _, err := client.AppendToStream(ctx, "s-1", esdb.AppendToStreamOptions{}, events(5)...); err != nil {
		t.Fatal(err)
	}
	check("all", "01234", esdb.Forwards, esdb.Start{})
	check("from a number", "34", esdb.Forwards, esdb.Revision(3))
	check("from behind the end", "", esdb.Forwards, esdb.Revision(7))
	check("backwards", "43210", esdb.Backwards, esdb.End{})
	check("backwards from a number", "210", esdb.Backwards, esdb.Revision(2))
	m := esdb.StreamMetadata{}
	m.SetMaxCount(3)
	if _, err := client.SetStreamMetadata(ctx, "s-1", esdb.AppendToStreamOptions{}, m); err != nil {
		t.Fatal(err)
	}
	check("the last three", "234", esdb.Forwards, esdb.Start{})
	if got, err := client.GetStreamMetadata(ctx, "s-1", esdb.ReadStreamOptions{}); err != nil || got.MaxCount() == nil || *got.MaxCount() != 3 {
		t.Errorf("metadata: got %v, %v", got, err)
	}
	if _, err := client.DeleteStream(ctx, "s-1", esdb.DeleteStreamOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := read("s-1", esdb.Forwards, esdb.Start{}); code(err) != esdb.ErrorCodeResourceNotFound {
		t.Errorf("deleted: got %v", err)
	}
	if _, err := client.AppendToStream(ctx, "s-1", esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{}}, events(1)...); err != nil {
		t.Fatal(err)
	}
	check("begun again", "5", esdb.Forwards, esdb.Start{})
	if _, err := client.TombstoneStream(ctx, "s-1", esdb.TombstoneStreamOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := read("s-1", esdb.Forwards, esdb.Start{}); code(err) != esdb.ErrorCodeStreamDeleted {
		t.Errorf("gone for ever: got %v", err)
	}
	if _, err := client.AppendToStream(ctx, "s-1", esdb.AppendToStreamOptions{}, events(1)...); code(err) != esdb.ErrorCodeStreamDeleted {
		t.Errorf("append to what is gone for ever: got %v", err)
	}
	r, err := client.ReadAll(ctx, esdb.ReadAllOptions{}, 100)
	if all, err := numbers(t, r, err); err != nil || len(all) != 9 { // five, two of metadata, one, the tombstone
		t.Errorf("all: got %d events, %v, want 9", len(all), err)
	}
}

func TestAFilteredSubscriptionConfirmsThenChecksThenCatchesUp(t *testing.T) {
	t.Parallel()
	_, client := connect(t)
	ctx := t.Context()
	for range 5 {
		for _, stream := range []string{"theirs-1", "ours-1"} {
			if _, err := client.AppendToStream(ctx, stream, esdb.AppendToStreamOptions{}, events(1)...); err != nil {
				t.Fatal(err)
			}
		}
	}
	sub, err := client.SubscribeToAll(ctx, esdb.SubscribeToAllOptions{
		From: esdb.Start{}, MaxSearchWindow: 4, CheckpointInterval: 1,
		Filter: &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: []string{"ours-"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	next := func() string {
		switch e := sub.Recv(); {
		case e.EventAppeared != nil:
			return "e"
		case e.CheckPointReached != nil:
			return "c"
		case e.CaughtUp != nil:
			return "!"
		default:
			return "?"
		}
	}
	got := ""
	for range 9 {
		got += next()
	}
	if want := "eeceecec!"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, err := client.AppendToStream(ctx, "ours-1", esdb.AppendToStreamOptions{}, events(1)...); err != nil {
		t.Fatal(err)
	}
	if got := next(); got != "e" {
		t.Errorf("live: got %s, want an event", got)
	}
}

func TestPositionsAreThoseOfEventsWithGapsBetween(t *testing.T) {
	t.Parallel()
	_, client := connect(t)
	ctx := t.Context()
	done, err := client.AppendToStream(ctx, "s-1", esdb.AppendToStreamOptions{}, events(3)...)
	if err != nil {
		t.Fatal(err)
	}
	at := esdb.Position{Commit: done.CommitPosition, Prepare: done.PreparePosition}
	r, err := client.ReadAll(ctx, esdb.ReadAllOptions{From: at}, 100)
	if got, err := numbers(t, r, err); err != nil || len(got) != 1 || got[0] != 2 {
		t.Errorf("forwards from the last: got %v, %v, want it", got, err)
	}
	r, err = client.ReadAll(ctx, esdb.ReadAllOptions{From: at, Direction: esdb.Backwards}, 100)
	if got, err := numbers(t, r, err); err != nil || len(got) != 2 || got[0] != 1 {
		t.Errorf("backwards from the last: got %v, %v, want those before", got, err)
	}
	for _, off := range []uint64{at.Commit - 1, at.Commit + 1} {
		r, err := client.ReadAll(ctx, esdb.ReadAllOptions{From: esdb.Position{Commit: off, Prepare: off}}, 100)
		if _, err := numbers(t, r, err); err == nil || !strings.Contains(err.Error(), "invalid position") {
			t.Errorf("from where no event stands: got %v, want a refusal", err)
		}
	}
}

func TestAnAppendThatIsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	_, client := connect(t)
	large := events(1)
	large[0].Data = make([]byte, double.MaxAppendSize)
	if _, err := client.AppendToStream(t.Context(), "s-1", esdb.AppendToStreamOptions{}, large...); err == nil {
		t.Error("got it recorded")
	}
	large[0].Data = large[0].Data[:double.MaxAppendSize-2*len(large[0].EventType)]
	if _, err := client.AppendToStream(t.Context(), "s-1", esdb.AppendToStreamOptions{}, large...); err != nil {
		t.Errorf("of exactly the size that is allowed: %v", err)
	}
}
