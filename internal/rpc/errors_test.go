package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/privacy"
	"github.com/chuishao/dispatch/internal/rule"
)

func TestEveryReasonHasACodeAndTexts(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[A-Z][A-Z0-9_]+[A-Z0-9]$`)
	for _, r := range rule.Reasons {
		if texts[r].code == codes.OK || texts[r].zh == "" || texts[r].en == "" {
			t.Errorf("%s has no code or no text", r)
		}
	}
	for r, text := range texts {
		if !form.MatchString(string(r)) || len(r) > 63 {
			t.Errorf("%s is no reason as ErrorInfo wants it", r)
		}
		if text.code == codes.OK || text.zh == "" || text.en == "" {
			t.Errorf("%s has no code or no text", r)
		}
		if text.code == codes.Internal && r != InternalFault {
			t.Errorf("%s is told as a fault of ours", r)
		}
	}
}

func TestErrorsAreToldInOneWay(t *testing.T) {
	t.Parallel()
	refusal := &rule.Refusal{Reason: rule.WrongState, Message: "the ticket is CLOSED", DecidedBy: "TicketClosed@9 by unit 320200"}
	for _, c := range []struct {
		err    error
		code   codes.Code
		reason string
		logged bool
		more   []string // types of further details
	}{
		{refusal, codes.FailedPrecondition, "WRONG_STATE", false, []string{"PreconditionFailure"}},
		{fmt.Errorf("wrapped: %w", refusal), codes.FailedPrecondition, "WRONG_STATE", false, []string{"PreconditionFailure"}},
		{rule.Bad("area", rule.UnknownArea, "no area %q", "9"), codes.InvalidArgument, "UNKNOWN_AREA", false, []string{"BadRequest"}},
		{rule.Bad("name", rule.NotFound, "no such ticket"), codes.NotFound, "NOT_FOUND", false, []string{"BadRequest", "ResourceInfo"}},
		{rule.No(rule.RoleNotAllowed, "no"), codes.PermissionDenied, "ROLE_NOT_ALLOWED", false, nil},
		{&eventstore.ConflictError{Stream: "ticket-1", After: 1, Actual: 2}, codes.Aborted, "VERSION_CONFLICT", false, nil},
		{&eventstore.LimitError{Field: "events", Limit: "want less"}, codes.InvalidArgument, "LIMIT_EXCEEDED", false, []string{"BadRequest"}},
		{fmt.Errorf("append: %w", eventstore.ErrUnavailable), codes.Unavailable, "OUTCOME_UNKNOWN", true, []string{"RetryInfo"}},
		{fmt.Errorf("key: %w", privacy.ErrUnavailable), codes.Unavailable, "OUTCOME_UNKNOWN", true, []string{"RetryInfo"}},
		{fmt.Errorf("key: %w", privacy.ErrErased), codes.FailedPrecondition, "SUBJECT_ERASED", false, []string{"PreconditionFailure"}},
		{fmt.Errorf("read: %w", context.DeadlineExceeded), codes.DeadlineExceeded, "DEADLINE_EXCEEDED", false, nil},
		{context.Canceled, codes.Canceled, "CANCELLED", false, nil},
		{status.Error(codes.Canceled, "gone"), codes.Canceled, "CANCELLED", false, nil},
		{status.Error(codes.NotFound, "unknown service"), codes.NotFound, "NOT_FOUND", false, nil},
		{errors.New("disk on fire at /dev/sda"), codes.Internal, "INTERNAL_FAULT", true, []string{"RequestInfo"}},
	} {
		var log bytes.Buffer
		err := statusOf(t.Context(), slog.New(slog.NewTextHandler(&log, nil)), "r-1", c.err).Err()
		info, all := details(t, err, c.code)
		if info.Reason != c.reason {
			t.Errorf("%v: reason %s; want %s", c.err, info.Reason, c.reason)
		}
		if lines := strings.Count(log.String(), "\n"); lines > 1 || (lines == 1) != c.logged {
			t.Errorf("%v: logged %q; want logged once: %v", c.err, &log, c.logged)
		}
		var types []string
		for _, d := range all[2:] {
			types = append(types, strings.TrimPrefix(fmt.Sprintf("%T", d), "*errdetails."))
		}
		if fmt.Sprint(types) != fmt.Sprint(c.more) {
			t.Errorf("%v: details %v; want %v", c.err, types, c.more)
		}
		if c.code == codes.Internal && strings.Contains(err.Error(), "fire") {
			t.Errorf("the caller is shown what is inside: %v", err)
		}
	}
}

func TestTheCallersLanguageIsSpoken(t *testing.T) {
	t.Parallel()
	for accept, want := range map[string]string{
		"": "zh-CN", "en": "en", "en-GB,zh;q=0.5": "en", "zh-TW, en": "zh-CN", "fr, en;q=0.3": "en", "fr": "zh-CN",
	} {
		ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("accept-language", accept))
		for _, d := range statusOf(ctx, slog.Default(), "", rule.Bad("area", rule.UnknownArea, "no")).Details() {
			if l, ok := d.(*errdetails.LocalizedMessage); ok && (l.Locale != want || !strings.Contains(l.Message, "area")) {
				t.Errorf("accept-language %q: %v; want %s, with the field", accept, l, want)
			}
		}
	}
}

func TestAFailureInAStreamSaysWhatAStatusWould(t *testing.T) {
	t.Parallel()
	f := failure(statusOf(t.Context(), slog.Default(), "", rule.Bad("report.area", rule.UnknownArea, "no area %q", "9")))
	if f.Code != uint32(codes.InvalidArgument) || f.Reason != "UNKNOWN_AREA" || f.Field != "report.area" || f.Message != `no area "9"` {
		t.Errorf("got %v", f)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	for _, p := range []eventstore.Position{0, 1, 35, 36, 1 << 40, 1<<64 - 1} {
		if got, err := ParseToken("f", Token(p)); err != nil || got != p {
			t.Errorf("ParseToken(Token(%d)) = %d, %v", p, got, err)
		}
	}
	for _, bad := range []string{"p", "1", "p-1", "P1", "p01", "pZ", "p3w5e11264sgsg", " p1"} {
		var refusal *rule.Refusal
		if got, err := ParseToken("f", bad); !errors.As(err, &refusal) || refusal.Field != "f" {
			t.Errorf("ParseToken(%q) = %d, %v; want a refusal of f", bad, got, err)
		}
	}
}
