package esdb

import (
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// verdict is what follows from an error of the client.
type verdict int

const (
	// again: the outcome is unknown, or nothing was done; the same call may be made again.
	again verdict = iota
	// swap: again, and not with this client.
	swap
	// redirected: nothing was done, and the client has moved to the node that leads.
	redirected
	// misplaced: a read began where no event stands.
	misplaced
	// conflicting: an append at a wrong version.
	conflicting
	// missing: there is no such stream.
	missing
	// final: it will not get better.
	final
)

// errBroken is a client that panicked.
var errBroken = errors.New("the client broke")

// errSilent is a client, or a server, that gave no answer to an attempt in time.
var errSilent = errors.New("no answer")

// judge says what follows from an error.
func judge(err error) verdict {
	if errors.Is(err, errBroken) || errors.Is(err, errSilent) {
		return swap
	}
	if _, ok := errors.AsType[*unfitError](err); ok {
		return final
	}
	code := status.Code(err)
	e, ok := errors.AsType[*esdb.Error](err)
	if !ok { // as subscriptions and openings of reads fail
		if code == codes.Unavailable {
			return swap
		}
		return judgeCode(err, code)
	}
	switch e.Code() {
	case esdb.ErrorCodeWrongExpectedVersion:
		return conflicting
	case esdb.ErrorCodeNotLeader:
		return redirected
	case esdb.ErrorUnavailable, esdb.ErrorCodeConnectionClosed, esdb.ErrorCodeDeadlineExceeded:
		return swap
	case esdb.ErrorAborted:
		return again
	case esdb.ErrorCodeResourceNotFound:
		if code == codes.NotFound { // a refusal by a node that does not know who leads, not an answer
			return again
		}
		return missing
	case esdb.ErrorCodeUnknown:
		return judgeCode(err, code)
	}
	return final
}

func judgeCode(err error, code codes.Code) verdict {
	switch code {
	case codes.InvalidArgument:
		if strings.Contains(err.Error(), "invalid position") {
			return misplaced
		}
		return final
	case codes.FailedPrecondition, codes.Unauthenticated, codes.PermissionDenied, codes.Unimplemented, codes.OutOfRange:
		return final
	case codes.DeadlineExceeded:
		return swap
	}
	// Cancelled by a redirect of somebody else; broken off while it was sent, with the reason lost; no leader known; overloaded.
	return again
}

// backOff is how long to wait before attempt 1, 2, …: from 20 ms, doubled each time up to 1 s, and of that between half and all.
func backOff(attempt int) time.Duration {
	most := min(20*time.Millisecond<<min(attempt-1, 10), time.Second)
	return most/2 + rand.N(most/2)
}
