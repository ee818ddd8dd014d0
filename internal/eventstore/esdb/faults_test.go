package esdb_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/esdb"
	"github.com/chuishao/dispatch/internal/eventstore/esdb/double"
)

var (
	unavailable = status.Error(codes.Unavailable, "Server Is Not Ready")
	aborted     = status.Error(codes.Aborted, "Operation timed out")
)

// hasty gives up soon, for tests of what happens then.
var hasty = esdb.Options{Patience: 700 * time.Millisecond, Attempt: 200 * time.Millisecond, Writers: 1}

func events(n int) []eventstore.Event {
	made := make([]eventstore.Event, n)
	for i := range made {
		made[i] = eventstore.Event{Type: "TicketDispatched", Data: []byte{byte(i)}}
		rand.Read(made[i].ID[:])
	}
	return made
}

// has checks that a stream is made of these events, once each.
func has(t *testing.T, store *esdb.Store, stream string, want []eventstore.Event) {
	t.Helper()
	n := 0
	for e, err := range store.ReadStream(t.Context(), stream, 0) {
		if err != nil {
			t.Fatalf("read %s: %v", stream, err)
		}
		if n >= len(want) || e.ID != want[n].ID {
			t.Fatalf("event %d of %s is not the one that was appended, or was appended twice", n+1, stream)
		}
		n++
	}
	if n != len(want) {
		t.Fatalf("%s has %d events, want %d", stream, n, len(want))
	}
}

// TestAnAppendIsRecordedOnceWhateverItsFirstAttemptsCameTo fails each attempt before or after it is recorded.
func TestAnAppendIsRecordedOnceWhateverItsFirstAttemptsCameTo(t *testing.T) {
	t.Parallel()
	for what, faults := range map[string][]double.Fault{
		"unavailable before":                   {{Before: unavailable}},
		"unavailable after":                    {{After: unavailable}},
		"aborted before":                       {{Before: aborted}},
		"aborted after":                        {{After: aborted}},
		"aborted after, a retry unanswered":    {{After: aborted}, {Before: aborted}},
		"no leader known, then after":          {{Before: status.Error(codes.Unknown, "No leader info available in response")}, {After: unavailable}},
		"no answer":                            {{Hang: true}},
		"no answer after one that was lost":    {{After: unavailable}, {Hang: true}},
		"a refusal without a leader's address": {{Before: status.Error(codes.NotFound, "Leader info available")}},
		"time is up at the server":             {{After: status.Error(codes.DeadlineExceeded, "")}},
		"overloaded":                           {{Before: status.Error(codes.ResourceExhausted, "")}, {After: status.Error(codes.Internal, "reset")}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			cluster := start(t, 1)
			store := open(t, cluster.URL(), esdb.Options{Attempt: 300 * time.Millisecond})
			given := events(3)
			if _, err := store.Append(t.Context(), "ticket-a", 0, given[:1]); err != nil {
				t.Fatal(err)
			}
			before := cluster.Node(0).Calls("Append")
			cluster.Node(0).On(func(c double.Call) double.Fault {
				if i := c.N - before; c.Method == "Append" && i < len(faults) {
					return faults[i]
				}
				return double.Fault{}
			})
			position, err := store.Append(t.Context(), "ticket-a", 1, given[1:])
			if err != nil {
				t.Fatalf("append: %v", err)
			}
			if got := cluster.Node(0).Calls("Append") - before; got <= len(faults) {
				t.Errorf("the server was asked %d times, want more than %d", got, len(faults))
			}
			if head, err := store.Head(t.Context()); err != nil || head != position {
				t.Errorf("the append is at %d, the end of the history at %d, %v", position, head, err)
			}
			has(t, store, "ticket-a", given)
		})
	}
}

func TestAnAppendThatIsNeverAnsweredIsUnavailableInTime(t *testing.T) {
	t.Parallel()
	for what, fault := range map[string]double.Fault{
		"before": {Before: unavailable}, "after": {After: unavailable}, "no answer": {Hang: true},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			cluster := start(t, 1)
			store := open(t, cluster.URL(), hasty)
			cluster.Node(0).On(func(c double.Call) double.Fault {
				if c.Method == "Append" {
					return fault
				}
				return double.Fault{}
			})
			given := events(2)
			began := time.Now()
			_, err := store.Append(t.Context(), "ticket-a", 0, given)
			if !errors.Is(err, eventstore.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want ErrUnavailable, and not that the caller's time is up", err)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %v, want about %v", took, hasty.Patience)
			}
			cluster.Node(0).On(nil)
			if _, err := store.Append(t.Context(), "ticket-a", 0, given); err != nil {
				t.Errorf("the same events sent again: %v", err)
			}
			has(t, store, "ticket-a", given)
		})
	}
}

func TestFinalRefusalsAreNotTriedAgain(t *testing.T) {
	t.Parallel()
	cluster := start(t, 1)
	store := open(t, cluster.URL(), esdb.Options{})
	for _, code := range []codes.Code{codes.PermissionDenied, codes.Unauthenticated, codes.InvalidArgument, codes.FailedPrecondition} {
		cluster.Node(0).On(func(c double.Call) double.Fault {
			if c.Method == "Append" || c.Method == "Subscribe" {
				return double.Fault{Before: status.Error(code, "no")}
			}
			return double.Fault{}
		})
		calls := cluster.Node(0).Calls("Subscribe")
		_, err := store.Append(t.Context(), "ticket-a", 0, events(1))
		if err == nil || errors.Is(err, eventstore.ErrUnavailable) {
			t.Errorf("%v: got %v, want an error that does not pass", code, err)
		}
		for _, err := range store.Subscribe(t.Context(), 0) {
			if err == nil || errors.Is(err, eventstore.ErrUnavailable) {
				t.Errorf("%v: subscribe: got %v, want an error that does not pass", code, err)
			}
		}
		if got := cluster.Node(0).Calls("Subscribe") - calls; got != 1 {
			t.Errorf("%v: the server was asked %d times, want once", code, got)
		}
	}
}

func TestCallersReturnInTimeThoughNoServerIsFound(t *testing.T) {
	t.Parallel()
	cluster := start(t, 1)
	store := open(t, cluster.URL(), esdb.Options{})
	cluster.Node(0).Kill()
	const callers = 50
	given := events(callers)
	var wg sync.WaitGroup
	began := time.Now()
	for i := range callers {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			var err error
			if stream := fmt.Sprintf("ticket-%d", i); i%2 == 0 {
				_, err = store.Append(ctx, stream, 0, given[i:i+1])
			} else {
				for _, err = range store.ReadStream(ctx, stream, 0) {
				}
			}
			if !errors.Is(err, eventstore.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("caller %d: got %v, want that the time is up or the store unavailable", i, err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("callers with a second's time returned after %v", took)
	}
	cluster.Node(0).Restart()
	for i := 0; i < callers; i += 2 {
		stream := fmt.Sprintf("ticket-%d", i)
		if _, err := store.Append(t.Context(), stream, 0, given[i:i+1]); err != nil {
			t.Fatalf("after the server is back: %v", err)
		}
		has(t, store, stream, given[i:i+1])
	}
}

func TestOpenSaysInTimeThatNobodyAnswers(t *testing.T) {
	t.Parallel()
	// One that takes connections and says nothing, as behind a bad firewall.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	nobody := start(t, 1)
	nobody.Node(0).Kill()
	for what, addr := range map[string]string{"silence": silent.Addr().String(), "nobody": nobody.Node(0).Addr()} {
		began := time.Now()
		store, err := esdb.Open(t.Context(), "esdb://"+addr+"?tls=false&gossipTimeout=1", hasty)
		if err == nil {
			store.Close()
		}
		if !errors.Is(err, eventstore.ErrUnavailable) {
			t.Errorf("%s: got %v, want ErrUnavailable", what, err)
		}
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("%s: it took %v", what, took)
		}
	}
}

// TestNothingIsLeftBehindByRefusedAppends counts what the client of this protocol leaks when it is used bare. It runs alone.
func TestNothingIsLeftBehindByRefusedAppends(t *testing.T) {
	files := func() int {
		open, _ := os.ReadDir("/proc/self/fd") // none where they cannot be counted; then goroutines alone tell
		return len(open)
	}
	cluster := start(t, 1)
	// Something is left of a first use in any case: the double's own, and what the runtime keeps.
	first, err := esdb.Open(t.Context(), cluster.URL(), hasty)
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	goroutines, descriptors := runtime.NumGoroutine(), files()

	store, err := esdb.Open(t.Context(), cluster.URL(), esdb.Options{Patience: 100 * time.Millisecond, Attempt: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	cluster.Node(0).On(func(c double.Call) double.Fault {
		if c.Method == "Append" {
			return double.Fault{Before: unavailable}
		}
		return double.Fault{}
	})
	refused := atomic.Int32{}
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			for j := range 10 {
				if _, err := store.Append(t.Context(), fmt.Sprintf("ticket-%d-%d", i, j), 0, events(1)); errors.Is(err, eventstore.ErrUnavailable) {
					refused.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if refused.Load() != 100 || cluster.Node(0).Calls("Append") < 100 {
		t.Errorf("%d of 100 appends were refused, by %d answers", refused.Load(), cluster.Node(0).Calls("Append"))
	}
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error, 1)
	go func() {
		var last error
		for _, err := range store.Subscribe(ctx, 0) {
			last = err
		}
		waiting <- last
	}()
	store.Close()
	if err := <-waiting; !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("a subscription of a closed store ended with %v, want ErrUnavailable", err)
	}
	cancel()
	if _, err := store.Append(t.Context(), "ticket-a", 0, events(1)); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("append to a closed store: got %v, want ErrUnavailable", err)
	}
	for range store.ReadStream(t.Context(), "ticket-a", 0) {
	}
	// Connections end a moment after they are closed.
	const more = 3
	for limit := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > goroutines+more || files() > descriptors+more; runtime.Gosched() {
		if time.Now().After(limit) {
			t.Fatalf("%d goroutines and %d open files are left; there were %d and %d", runtime.NumGoroutine(), files(), goroutines, descriptors)
		}
	}
}

func TestAppendsFindTheLeader(t *testing.T) {
	t.Parallel()
	cluster := start(t, 3)
	follower := "esdb://" + cluster.Node(1).Addr() + "?tls=false"
	cluster.Node(1).Behind(1000)
	store := open(t, follower, esdb.Options{})
	given := events(6)
	for i := range given {
		// Each by another leader; the client learns of it from who led before.
		cluster.Lead(cluster.Node(i % 3))
		if _, err := store.Append(t.Context(), "ticket-a", eventstore.Version(i), given[i:i+1]); err != nil {
			t.Fatalf("append %d: %v", i, err)
		}
		has(t, store, "ticket-a", given[:i+1])
	}
}

// TestADeadLeaderIsNotLookedForAgainAndAgain has a node name a leader that has just died, as until the next election. Each time the client is sent there
// it forgets a connection without closing it.
func TestADeadLeaderIsNotLookedForAgainAndAgain(t *testing.T) {
	t.Parallel()
	cluster := start(t, 2)
	store := open(t, "esdb://"+cluster.Node(0).Addr()+"?tls=false", esdb.Options{Writers: 1, Patience: 1500 * time.Millisecond})
	cluster.Lead(cluster.Node(1))
	cluster.Node(1).Kill()
	const callers = 40
	given := events(callers)
	before := cluster.Node(0).Calls("Features") // one for each connection that is made
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			if _, err := store.Append(t.Context(), fmt.Sprintf("ticket-%d", i), 0, given[i:i+1]); !errors.Is(err, eventstore.ErrUnavailable) {
				t.Errorf("append %d: got %v, want ErrUnavailable", i, err)
			}
		})
	}
	wg.Wait()
	if made := cluster.Node(0).Calls("Features") - before; made == 0 || made > 20 {
		t.Errorf("%d connections were made, want some, and at most 20", made)
	}
	cluster.Node(1).Restart()
	for i := range callers {
		if _, err := store.Append(t.Context(), fmt.Sprintf("ticket-%d", i), 0, given[i:i+1]); err != nil {
			t.Fatalf("append %d once there is a leader: %v", i, err)
		}
	}
}

// TestLargeAppendsFindTheLeader sends so much that a node's refusal comes in the middle, where the client loses its reason.
func TestLargeAppendsFindTheLeader(t *testing.T) {
	t.Parallel()
	cluster := start(t, 2)
	store := open(t, "esdb://"+cluster.Node(0).Addr()+"?tls=false", esdb.Options{Writers: 1})
	var all []eventstore.Event
	for i := range 6 {
		cluster.Lead(cluster.Node((i + 1) % 2))
		given := events(eventstore.MaxEvents)
		for j := range given {
			given[j].Data = make([]byte, 1700)
		}
		if _, err := store.Append(t.Context(), "ticket-a", eventstore.Version(len(all)), given); err != nil {
			t.Fatalf("append %d: %v", i, err)
		}
		all = append(all, given...)
	}
	has(t, store, "ticket-a", all)
	for i := range 2 {
		if calls := cluster.Node(i).Calls("Append"); calls > 20 {
			t.Errorf("node %d was asked %d times for six appends", i, calls)
		}
	}
}

func TestAConflictIsDecidedByTheLeader(t *testing.T) {
	t.Parallel()
	cluster := start(t, 2)
	cluster.Node(1).Behind(2)
	store := open(t, "esdb://"+cluster.Node(1).Addr()+"?tls=false", esdb.Options{})
	given := events(4)
	if _, err := store.Append(t.Context(), "ticket-a", 0, given); err != nil {
		t.Fatal(err)
	}
	for after := range eventstore.Version(4) {
		_, err := store.Append(t.Context(), "ticket-a", after, events(1))
		conflict, ok := errors.AsType[*eventstore.ConflictError](err)
		if want := (eventstore.ConflictError{Stream: "ticket-a", After: after, Actual: 4}); !ok || *conflict != want {
			t.Errorf("append after %d: got %v, want %v", after, err, &want)
		}
	}
	_, err := store.Append(t.Context(), "ticket-a", 1<<63, events(1))
	if conflict, ok := errors.AsType[*eventstore.ConflictError](err); !ok || conflict.Actual != 4 {
		t.Errorf("append after more than can be counted: got %v, want a conflict", err)
	}
}

func TestAnAppendThatIsTooLargeIsRefusedHere(t *testing.T) {
	t.Parallel()
	cluster := start(t, 1)
	store := open(t, cluster.URL(), esdb.Options{})
	for range 20 {
		given := events(2)
		given[0].Data = make([]byte, double.MaxAppendSize/2)
		given[1].Meta = make([]byte, double.MaxAppendSize/2)
		_, err := store.Append(t.Context(), "ticket-a", 0, given)
		if _, ok := errors.AsType[*eventstore.LimitError](err); !ok {
			t.Fatalf("got %v, want a *LimitError", err)
		}
	}
	if calls := cluster.Node(0).Calls("Append"); calls != 0 {
		t.Errorf("the server was asked %d times, want never", calls)
	}
}

func TestASubscriptionThatIsDroppedMissesNothing(t *testing.T) {
	t.Parallel()
	cluster := start(t, 1)
	store := open(t, cluster.URL(), esdb.Options{})
	cluster.Node(0).On(func(c double.Call) double.Fault {
		if c.Method == "Subscribe" {
			return double.Fault{Drop: 7}
		}
		return double.Fault{}
	})
	const total = 60
	given := events(total)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for i := range given {
			if _, err := store.Append(ctx, "ticket-a", eventstore.Version(i), given[i:i+1]); err != nil {
				t.Errorf("append %d: %v", i, err)
			}
			if i%10 == 9 { // so that it passes by what is not ours, too
				foreign(t, cluster.URL(), "theirs-1")
			}
			if i == total/2 {
				cluster.Node(0).Kill()
				cluster.Node(0).Restart()
			}
		}
	})
	n := 0
	for e, err := range store.Subscribe(ctx, 0) {
		if err != nil {
			t.Fatalf("after %d events: %v", n, err)
		}
		if e.ID != given[n].ID || e.Version != eventstore.Version(n+1) {
			t.Fatalf("event %d is version %d, or another", n+1, e.Version)
		}
		if n++; n == total {
			break
		}
	}
	if drops := cluster.Node(0).Calls("Subscribe"); drops < total/7 {
		t.Errorf("the subscription was begun %d times: it was not dropped", drops)
	}
}

func TestASubscriptionSaysThatTheServerStaysAway(t *testing.T) {
	t.Parallel()
	cluster := start(t, 1)
	store := open(t, cluster.URL(), hasty)
	if _, err := store.Append(t.Context(), "ticket-a", 0, events(1)); err != nil {
		t.Fatal(err)
	}
	var last error
	for _, err := range store.Subscribe(t.Context(), 0) {
		if last = err; err == nil {
			cluster.Node(0).Kill()
		}
	}
	if !errors.Is(last, eventstore.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", last)
	}
}

func TestAReadGoesOnWhereItBrokeOff(t *testing.T) {
	t.Parallel()
	cluster := start(t, 1)
	store := open(t, cluster.URL(), esdb.Options{})
	given := events(3000)
	for i := 0; i < len(given); i += 500 {
		for j := range given[i : i+500] {
			given[i+j].Data = make([]byte, 1000) // more than fits into what is sent ahead
		}
		if _, err := store.Append(t.Context(), "ticket-a", eventstore.Version(i), given[i:i+500]); err != nil {
			t.Fatal(err)
		}
	}
	for which, sequence := range map[string]func(func(eventstore.Recorded, error) bool){
		"stream": store.ReadStream(t.Context(), "ticket-a", 0), "all": store.ReadAll(t.Context(), 0),
	} {
		n := 0
		for e, err := range sequence {
			if err != nil {
				t.Fatalf("%s: after %d events: %v", which, n, err)
			}
			if e.ID != given[n].ID {
				t.Fatalf("%s: event %d is another", which, n+1)
			}
			if n++; n == 200 || n == 1500 {
				cluster.Node(0).Kill()
				cluster.Node(0).Restart()
			}
		}
		if n != len(given) {
			t.Errorf("%s: got %d events, want %d", which, n, len(given))
		}
	}
}

// TestUnderKillsEveryAppendIsRecordedOnce kills the server again and again under writers and a subscriber.
func TestUnderKillsEveryAppendIsRecordedOnce(t *testing.T) {
	t.Parallel()
	const writers, appends, kills = 24, 40, 12
	cluster := start(t, 1)
	store := open(t, cluster.URL(), esdb.Options{Patience: 10 * time.Second, Attempt: time.Second})
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var recorded atomic.Int64
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			stream := fmt.Sprintf("ticket-%d", w)
			given := events(appends)
			for i := range given {
				_, err := store.Append(ctx, stream, eventstore.Version(i), given[i:i+1])
				for errors.Is(err, eventstore.ErrUnavailable) && ctx.Err() == nil {
					_, err = store.Append(ctx, stream, eventstore.Version(i), given[i:i+1])
				}
				if err != nil {
					t.Errorf("append %d to %s: %v", i, stream, err)
					return
				}
				recorded.Add(1)
			}
			has(t, store, stream, given)
		})
	}
	wg.Go(func() {
		for k := range int64(kills) {
			for recorded.Load() < (k+1)*writers*appends/(kills+1) && ctx.Err() == nil {
				runtime.Gosched()
			}
			cluster.Node(0).Kill()
			cluster.Node(0).Restart()
		}
	})
	seen := 0
	versions := map[string]eventstore.Version{}
	for e, err := range store.Subscribe(ctx, 0) {
		if err != nil {
			t.Errorf("subscriber: after %d events: %v", seen, err)
			break
		}
		if e.Version != versions[e.Stream]+1 {
			t.Errorf("subscriber: version %d of %s comes after %d", e.Version, e.Stream, versions[e.Stream])
			break
		}
		versions[e.Stream] = e.Version
		if seen++; seen == writers*appends {
			break
		}
	}
	wg.Wait()
}

func TestAServerThatWillNotDoIsRefused(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"24.10.0-prerelease": "released version", "": "released version", "22.10.4": "23.10", "23.9.1": "23.10",
	} {
		cluster := start(t, 1)
		cluster.Node(0).Says(version)
		began := time.Now()
		store, err := esdb.Open(t.Context(), cluster.URL(), esdb.Options{})
		if err == nil {
			store.Close()
		}
		if err == nil || errors.Is(err, eventstore.ErrUnavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("version %q: got %v, want that it says %q", version, err, want)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("version %q: it took %v to be refused", version, took)
		}
	}
}
