package demo

import (
	"testing"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

func TestTheDeskOfAStreetIsWatched(t *testing.T) {
	t.Parallel()
	c, err := openCity()
	if err != nil {
		t.Fatal(err)
	}
	stories, err := plan(c, time.Date(2025, 3, 5, 0, 0, 0, 0, zone()), len(featured), 1)
	if err != nil {
		t.Fatal(err)
	}
	watched := 0
	for _, s := range stories {
		for _, step := range s.steps {
			if step.method == pb.ViewService_WatchDesk_FullMethodName {
				watched++
			}
		}
	}
	if watched == 0 {
		t.Error("nobody watches a desk")
	}
}
