package dispatch

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/rule"
)

// PassDue makes happen what follows for a whistle, an admission or a listing, by its name, from an instant that has passed, as PassTimer does for a ticket: once,
// whoever asks and however often. seen is the version at which the caller knows the timer to run.
func (d *Dispatcher) PassDue(ctx context.Context, name string, timer rule.Timer, seen eventstore.Version) (result Result, runs bool, err error) {
	collection, _, _ := strings.Cut(name, "/")
	stream, err := Stream(name, collection)
	if err != nil {
		return Result{}, false, err
	}
	r := Request{
		Actor: timersActor,
		// Short enough for a unit of the longest code.
		ID: fmt.Sprintf("deadline/%s/%d/%s/%s", ID(stream), timer.Which, strconv.FormatInt(timer.By.UnixMicro(), 36), timer.Unit),
	}
	by := rule.Stamp(timer.By)
	var state rule.Aggregate
	switch collection {
	case "whistles":
		forget(d.whistles, stream, seen)
		r.Command = &pb.PassWhistleTimerRequest{Name: name, Timer: pb.WhistleTimer(timer.Which), By: by, Unit: timer.Unit}
		s, did, failed := d.Whistle(ctx, r)
		state, result, err = &s, did, failed
	case "admissions":
		forget(d.admissions.streams, stream, seen)
		r.Command = &pb.PassAdmissionTimerRequest{Name: name, Timer: pb.AdmissionTimer(timer.Which), By: by}
		state, result, err = d.Carry(ctx, r)
	case "listings":
		forget(d.listings.streams, stream, seen)
		r.Command = &pb.PassListingTimerRequest{Name: name, Timer: pb.ListingTimer(timer.Which), By: by}
		state, result, err = d.Carry(ctx, r)
	default:
		return Result{}, false, fmt.Errorf("no timers run on %s", name)
	}
	timed, ok := state.(rule.Timed)
	runs = err == nil && result.Repeated && ok && rule.Runs(timed.Timers(), timer.Which, timer.Unit)(timer.By)
	return result, runs, err
}

// forget drops what is cached of a stream that another process went on with: to what is old a timer may mean nothing.
func forget[S any](s *streams[S], stream string, seen eventstore.Version) {
	if f, ok := s.cache.Get(stream); ok && f.version < seen {
		s.cache.Remove(stream)
	}
}

// DueName is what a timer of a whistle, an admission or a listing is called, in small letters: "whistle_report_in". Empty if there is none.
func DueName(name string, which int32) string {
	var text string
	switch collection, _, _ := strings.Cut(name, "/"); collection {
	case "whistles":
		text = pb.WhistleTimer(which).String()
	case "admissions":
		text = pb.AdmissionTimer(which).String()
	case "listings":
		text = pb.ListingTimer(which).String()
	}
	return strings.ToLower(strings.Replace(text, "_TIMER_", "_", 1))
}

// DueNames are the names of all timers that PassDue passes.
func DueNames() []string {
	var all []string
	for collection, names := range map[string]map[int32]string{
		"whistles": pb.WhistleTimer_name, "admissions": pb.AdmissionTimer_name, "listings": pb.ListingTimer_name,
	} {
		for which := range names {
			if which != 0 {
				all = append(all, DueName(collection, which))
			}
		}
	}
	slices.Sort(all)
	return all
}
