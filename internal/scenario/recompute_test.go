package scenario_test

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

func TestComputingAgainOnTheSameCalendarChangesNothing(t *testing.T) {
	t.Parallel()
	c := load(t)
	rapid.Check(t, func(t *rapid.T) {
		l, p := newLife(t, c, "life"), newRules()
		for range rapid.IntRange(20, 60).Draw(t, "steps") {
			sensible := begin
			if len(l.tickets) > 0 {
				sensible = onward(l.tickets[0], p.tickets[l.tickets[0]])
			}
			by, command := l.next(sensible)
			out, err := p.Do(t.Context(), l.at, by, command)
			if refused := new(rule.Refusal); err != nil && !errors.As(err, &refused) {
				t.Fatalf("%T %v: %v", command, command, err)
			}
			l.know(out.Name)
			for _, name := range l.tickets {
				again, err := p.Do(t.Context(), l.at, c.Cast["timer"], &pb.RecomputeLimitsRequest{Name: name})
				if refused := new(rule.Refusal); err != nil && !errors.As(err, &refused) || len(again.Events) > 0 {
					t.Fatalf("after %T %v: got %v, %v", command, command, again.Events, err)
				}
			}
		}
	})
}
