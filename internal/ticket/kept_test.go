package ticket_test

import (
	"testing"

	"github.com/chuishao/dispatch/internal/ticket"
)

func TestWhatIsKeptOfATicketIsReadWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	var s ticket.State
	s.State, s.Events, s.Grade, s.Listed, s.Before = 3, 7, 2, true, &ticket.Shelved{State: 4}
	whole := s.AppendKept(nil)
	got, err := ticket.ReadKept(whole)
	if err != nil || got.State != 3 || got.Events != 7 || got.Grade != 2 || !got.Listed || got.Before == nil || got.Before.State != 4 {
		t.Errorf("got %+v, %v", got, err)
	}
	for n := range whole {
		if _, err := ticket.ReadKept(whole[:n]); err == nil {
			t.Errorf("the first %d of %d bytes were read", n, len(whole))
		}
	}
	if _, err := ticket.ReadKept(append(whole, 1)); err == nil {
		t.Error("a byte too many was read")
	}
}
