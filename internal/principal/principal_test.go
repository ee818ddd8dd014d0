package principal

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

var now = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func write(t *testing.T, path, text string) {
	t.Helper()
	// As an editor or a mounted secret does it: a new file in the place of the old.
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func entry(token, rest string) string {
	return "- person: zhang\n  unit: \"320200\"\n  roles: [DISPATCHER, ROLE_AGENT]\n  token_sha256: " + HashToken(token) + "\n" + rest
}

func TestTokensAndCertificatesLeadToTheirActor(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "principals.yaml")
	write(t, path, "principals:\n"+
		entry("secret", "")+
		entry("later", "  valid_from: 2026-07-01T12:00:01Z\n")+
		entry("gone", "  valid_to: 2026-07-01T20:00:00+08:00\n")+
		"- person: hotline\n  unit: \"320200\"\n  roles: [CONNECTED_SYSTEM]\n  certificate_subject: CN=hotline,O=City\n")
	f, err := Open(path, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	zhang := rule.Actor{Person: "zhang", Unit: "320200", Roles: []pb.Role{pb.Role_ROLE_DISPATCHER, pb.Role_ROLE_AGENT}}
	for _, c := range []struct {
		token string
		want  rule.Actor
		err   error
	}{
		{"secret", zhang, nil},
		{"Secret", rule.Actor{}, ErrUnknown},
		{"", rule.Actor{}, ErrUnknown},
		{HashToken("secret"), rule.Actor{}, ErrUnknown},
		{"later", rule.Actor{}, ErrNotValid},
		{"gone", rule.Actor{}, ErrNotValid},
	} {
		got, err := f.Lookup(c.token, now)
		if !errors.Is(err, c.err) || !reflect.DeepEqual(got, c.want) {
			t.Errorf("Lookup(%q) = %v, %v; want %v, %v", c.token, got, err, c.want, c.err)
		}
	}
	if got, err := f.Lookup("later", now.Add(time.Second)); err != nil || got.Person != "zhang" {
		t.Errorf("at valid_from: %v, %v; want zhang", got, err)
	}
	if got, err := f.LookupCertificate("CN=hotline,O=City", now); err != nil || got.Person != "hotline" {
		t.Errorf("certificate: %v, %v; want hotline", got, err)
	}
	if _, err := f.LookupCertificate("CN=hotline", now); !errors.Is(err, ErrUnknown) {
		t.Errorf("another certificate: %v; want %v", err, ErrUnknown)
	}
}

func TestABrokenFileIsRefusedWithLineAndField(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, want string }{
		{"", "line 1: the file is empty"},
		{"principals: {}", "line 1: principals: want a list"},
		{"people: []", "line 1: people: unknown field"},
		{"principals: []\n---\nprincipals: []", "one document"},
		{"principals:\n" + entry("a", "  colour: red\n"), "line 6: principals[0].colour: unknown field"},
		{"principals:\n" + entry("a", "") + entry("a", ""), "line 9: principals[1].token_sha256: another principal has the same token"},
		{"principals:\n" + entry("a", "  person: li\n"), "line 6: principals[0]: the field person comes twice"},
		{"principals:\n" + entry("a", "  valid_to: tomorrow\n"), "line 6: principals[0].valid_to: want an instant"},
		{"principals:\n" + entry("a", "  certificate_subject: CN=x\n"), "line 2: principals[0]: want one of"},
		{"principals:\n" + entry("a", "  valid_from: 2026-01-01T00:00:00Z\n  valid_to: 2026-01-01T00:00:00Z\n"), "valid_to: want it after valid_from"},
		{"principals:\n- person: li\n  unit: u\n  roles: [KING]\n  token_sha256: 00\n", "line 4: principals[0].roles[0]: unknown role \"KING\""},
		{"principals:\n- person: li\n  unit: u\n  roles: [AGENT, AGENT]\n", "line 4: principals[0].roles[1]: role \"AGENT\" twice"},
		{"principals:\n- person: li\n  unit: u\n  roles: [AGENT]\n  token_sha256: 00\n", "line 5: principals[0].token_sha256: want 64"},
		{"principals:\n- person: li\n  unit: u\n  roles: [AGENT]\n", "line 2: principals[0]: want token_sha256 or certificate_subject"},
		{"principals:\n- unit: u\n  roles: [AGENT]\n", "line 2: principals[0].person: missing"},
		{"principals: [", "line"},
	} {
		path := filepath.Join(t.TempDir(), "principals.yaml")
		write(t, path, c.text)
		if _, err := Open(path, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v; want %q", c.text, err, c.want)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v; want %v", err, os.ErrNotExist)
	}
}

func TestAChangedFileTakesEffectAndABrokenOneKeepsTheOldList(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "principals.yaml")
	var faults []error
	write(t, path, "principals:\n"+entry("first", ""))
	f, err := Open(path, func(err error) { faults = append(faults, err) })
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	known := func(token string, want bool) {
		t.Helper()
		at = at.Add(Interval)
		if _, err := f.Lookup(token, at); (err == nil) != want {
			t.Errorf("Lookup(%q): %v; want known: %v", token, err, want)
		}
	}
	known("first", true)

	write(t, path, "principals:\n"+entry("second", ""))
	known("second", true)
	known("first", false)

	write(t, path, "principals:\n"+entry("third", "  colour: red\n"))
	known("second", true)
	known("third", false)
	if len(faults) != 1 || strings.Contains(faults[0].Error(), HashToken("third")) {
		t.Errorf("faults of a broken file: %v; want one, without the hash", faults)
	}

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	known("second", true)
	known("second", true)
	if len(faults) != 2 {
		t.Errorf("faults after the file went: %v; want one more", faults)
	}

	write(t, path, "principals: []\n")
	known("second", false)
}

func TestDevelopmentActors(t *testing.T) {
	t.Parallel()
	got, err := ParseDevActor("person=zhang; roles=DISPATCHER,AGENT; unit=320200")
	want := rule.Actor{Person: "zhang", Unit: "320200", Roles: []pb.Role{pb.Role_ROLE_DISPATCHER, pb.Role_ROLE_AGENT}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	for _, text := range []string{"", "zhang", "person=a;unit=b", "person=a;unit=b;roles=", "person=a;unit=b;roles=KING",
		"person=a;person=b;unit=b;roles=AGENT", "person=a;unit=b;roles=AGENT;colour=red", "person=a;unit=b;roles=UNSPECIFIED"} {
		if got, err := ParseDevActor(text); err == nil {
			t.Errorf("ParseDevActor(%q) = %v; want an error", text, got)
		}
	}
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]bool{
		"127.0.0.1:1": true, "127.9.0.1:1": true, "[::1]:1": true, "0.0.0.0:1": false, "[::]:1": false, "10.0.0.1:1": false,
		"[::ffff:127.0.0.1]:1": true,
	} {
		tcp, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := Loopback(tcp); got != want {
			t.Errorf("Loopback(%s) = %v; want %v", addr, got, want)
		}
	}
	if Loopback(nil) {
		t.Error("no address is taken for loopback")
	}
}

func TestWhoIsOnTheBusReadsTheSubtreesOfItsEntry(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "principals.yaml")
	bus := func(person, token, list, rest string) string {
		return "- person: " + person + "\n  unit: \"320200\"\n  roles: [CONNECTED_SYSTEM]\n  token_sha256: " + HashToken(token) + "\n  bus: " + list + "\n" + rest
	}
	district := []string{"area:320200/320205", "unit:320205-CG"}
	text := "principals:\n" + entry("secret", "") + bus("district", "one", "[area:320200/320205, \"unit:320205-CG\"]", "") +
		bus("district", "other", "[area:320200/320205, \"unit:320205-CG\"]", "  valid_to: 2026-07-01T12:00:00Z\n") + bus("hotline", "silent", "[]", "")
	write(t, path, text)
	f, err := Open(path, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		token, person string
		subtrees      []string
		err           error
	}{
		{"one", "district", district, nil},
		{"other", "district", district, ErrNotValid},
		{"silent", "hotline", []string{}, nil},
		{"secret", "", nil, ErrUnknown}, // may call, and has no business on the bus
		{"no such", "", nil, ErrUnknown},
	} {
		person, subtrees, err := f.BusGrant(c.token, now)
		if person != c.person && err == nil || !errors.Is(err, c.err) || err == nil && !reflect.DeepEqual(subtrees, c.subtrees) {
			t.Errorf("BusGrant(%q) = %q, %q, %v; want %q, %q, %v", c.token, person, subtrees, err, c.person, c.subtrees, c.err)
		}
	}
	if got, want := f.BusGrants(), map[string][]string{"district": district, "hotline": {}}; !reflect.DeepEqual(got, want) {
		t.Errorf("BusGrants() = %v, want %v", got, want)
	}

	for _, c := range []struct{ text, want string }{
		{bus("d", "x", "area:320200", ""), "line 6: principals[0].bus: want a list"},
		{bus("d", "x", "[320200]", ""), "line 6: principals[0].bus[0]: want area:"},
		{bus("d", "x", "[all, ALL]", ""), "principals[0].bus[1]: want area:"},
		{bus("d", "x", "[all, all]", ""), "principals[0].bus[1]: want area:"},
		{bus("d", "x", "[\"area:_\"]", ""), "principals[0].bus[0]: want area:"},
		{bus("d", "x", "[\"area:_/a\"]", ""), "principals[0].bus[0]: want area:"},
		{bus("d", "x", "[\"area:a/_\"]", ""), "principals[0].bus[0]: want area:"},
		{bus("d", "x", "[\"area:a//b\"]", ""), "principals[0].bus[0]: want area:"},
		{bus("d", "x", "[\"area:a/b/c/d/e/f\"]", ""), "principals[0].bus[0]: want area:"},
		{bus("d", "x", "[\"unit:\"]", ""), "principals[0].bus[0]: want area:"},
		{bus("d", "x", "[events.>]", ""), "principals[0].bus[0]: want area:"},
		{bus("d", "x", "[all]", "") + bus("d", "y", "[]", ""), "principals[1].bus: another principal"},
		{bus("d", "x", "[all]", "") + bus("D", "y", "[all]", ""), "principals[1].bus: another principal"},
		{"- person: d\n  unit: \"1\"\n  roles: [AGENT]\n  certificate_subject: CN=d\n  bus: []\n", "principals[0].bus: want token_sha256"},
	} {
		if _, err := parse([]byte("principals:\n" + c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\ngot %v, want %s", c.text, err, c.want)
		}
	}
	for _, good := range []string{"area:a", "area:320200/_/320205001", "area:a/b/c/d/e", "unit:u", "all"} {
		if _, err := parse([]byte("principals:\n" + bus("d", "x", "[\""+good+"\"]", ""))); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}
