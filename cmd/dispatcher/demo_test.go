package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chuishao/dispatch/internal/app"
)

func demoRun(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = app.Run(t.Context(), "dispatcher", "", append([]string{"demo"}, args...), app.IO{Out: &o, Err: &e}, commands...)
	return code, o.String(), e.String()
}

func TestDemoPlaysADayAndEnds(t *testing.T) {
	t.Parallel()
	code, out, errs := demoRun(t, "--tickets", "60", "--speed", "0", "--once", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0",
		"--data", filepath.Join(t.TempDir(), "data"))
	if code != 0 || !strings.Contains(out, "What to try next") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	if errs != "" {
		t.Errorf("the log should have nothing to say: %s", errs)
	}
}

func TestDemoSaysHowItIsCalled(t *testing.T) {
	t.Parallel()
	if code, out, errs := demoRun(t, "-h"); code != 0 || !strings.Contains(out, "--speed") {
		t.Errorf("-h: exit code %d\n%s", code, errs)
	}
	for _, wrong := range [][]string{
		{"--tickets", "0"}, {"--speed", "-1"}, {"--speed", "NaN"}, {"--day", "5 March"}, {"--log", "loud"}, {"again"},
	} {
		if code, _, errs := demoRun(t, append(wrong, "--once")...); code != 2 || !strings.Contains(errs, strings.TrimPrefix(wrong[0], "-")) {
			t.Errorf("%v: exit code %d\n%s", wrong, code, errs)
		}
	}
}
