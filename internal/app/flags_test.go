package app_test

import (
	"testing"

	"github.com/chuishao/dispatch/internal/app"
)

func TestAPlaceOnTheCommandLineWinsOverTheOtherInTheEnvironment(t *testing.T) {
	for _, c := range []struct{ env, value, arg, given, data, addr string }{
		{"CHUISHAO_DATA_DIR", "city", "--addr", "localhost:1", "", "localhost:1"},
		{"CHUISHAO_ADDR", "localhost:2", "--data", "town", "town", ""},
	} {
		t.Run(c.arg, func(t *testing.T) {
			t.Setenv(c.env, c.value)
			var place app.Place
			f := app.NewFlags("test", "test")
			place.Flags(f)
			if err := f.Parse([]string{c.arg, c.given}); err != nil {
				t.Fatal(err)
			}
			if err := place.Check(); err != nil || place.Data != c.data || place.Addr != c.addr {
				t.Errorf("data %q, addr %q (%v); want %q, %q", place.Data, place.Addr, err, c.data, c.addr)
			}
		})
	}
	t.Setenv("CHUISHAO_DATA_DIR", "city")
	var place app.Place
	f := app.NewFlags("test", "test")
	place.Flags(f)
	if err := f.Parse(nil); err != nil || place.Data != "city" || place.Check() != nil {
		t.Errorf("from the environment alone: data %q (%v)", place.Data, err)
	}
}
