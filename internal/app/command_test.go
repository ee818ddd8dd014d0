package app

import (
	"errors"
	"fmt"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestWhatACallRefusesIsSaidInPlainWords(t *testing.T) {
	t.Parallel()
	refused, err := status.New(codes.InvalidArgument, "want M01 or M02").WithDetails(&errdetails.ErrorInfo{Reason: "BAD_FIELD", Metadata: map[string]string{"field": "metric"}})
	if err != nil {
		t.Fatal(err)
	}
	for want, err := range map[string]error{
		"metric: want M01 or M02 (BAD_FIELD)":         refused.Err(),
		"page 2: metric: want M01 or M02 (BAD_FIELD)": fmt.Errorf("page 2: %w", refused.Err()),
		"the server is gone":                          status.Error(codes.Unavailable, "the server is gone"),
		"no such file":                                errors.New("no such file"),
	} {
		if got := plain(err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
