package arch

import (
	"go/ast"
	"go/token"
	"iter"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/chuishao/dispatch"

// The groups that rows of the table name.
const (
	// contract is the Go of api/proto.
	contract = "api/gen/chuishao/v1"
	// rules decide and evolve, one package for each kind of stream, on the ground that pure is.
	rules = "internal/ticket internal/whistle internal/audit internal/wall internal/listing internal/admission internal/period internal/limits internal/check internal/review internal/deliberation internal/exchange"
	// pure is what rules are made of.
	pure = contract + " internal/calendar internal/rule"
	// adapters are the stores that histories may lie in.
	adapters = "internal/eventstore/sqlite internal/eventstore/esdb internal/eventstore/jetstream"
	// history is recorded events and how they are read.
	history = contract + " internal/eventstore internal/event"
	// write is the one write path and what stands beside it.
	write = history + " internal/calendar internal/rule internal/registry internal/privacy internal/dispatch"
	// read is views and what moves them.
	read = history + " internal/calendar internal/registry internal/viewdb internal/projector internal/view"
	// edge is what the world outside talks to.
	edge = "internal/principal internal/suggest internal/rpc internal/web internal/policy internal/bus internal/verify"
	// node is all that a running node is assembled from: here alone it is known which store runs.
	node = rules + " " + pure + " " + adapters + " " + write + " " + read + " " + edge
	// client is what drives a node from outside, as a city's own systems would.
	client = contract + " internal/calendar internal/registry internal/rpc internal/app"
)

// table says which packages of this module a package may import, from the ground up. Its test files may import more,
// but nothing may be imported from a test file. A package without a row fails the test; a row without a package waits
// for it.
var table = []struct{ pkg, may string }{
	{contract, ""},

	{"internal/calendar", contract},
	{"internal/rule", contract + " internal/calendar"},
	{"internal/ticket", pure},
	{"internal/whistle", pure},
	{"internal/audit", pure},
	{"internal/wall", pure},
	{"internal/listing", pure},
	{"internal/admission", pure},
	{"internal/period", pure},
	{"internal/limits", pure},
	{"internal/check", pure},
	{"internal/review", pure},
	{"internal/deliberation", pure},
	{"internal/exchange", pure},

	{"internal/eventstore", ""},
	{"internal/eventstore/storetest", "internal/eventstore"},
	{"internal/eventstore/sqlite", "internal/eventstore"},
	{"internal/eventstore/esdb", "internal/eventstore"},
	{"internal/eventstore/esdb/double", ""},
	{"internal/eventstore/jetstream", "internal/eventstore"},
	{"internal/servers", ""},
	{"internal/servers/serverstest", "internal/servers internal/eventstore/esdb/double"},
	{"internal/eventstore/stores", "internal/eventstore internal/servers/serverstest " + adapters},
	{"internal/event", contract + " internal/eventstore"},

	{"internal/registry", history + " internal/calendar internal/rule internal/viewdb"},
	{"internal/privacy", history + " internal/rule internal/viewdb"},
	{"internal/principal", contract + " internal/rule internal/registry"},
	{"internal/dispatch", rules + " " + write},
	{"internal/dispatch/dispatchtest", rules + " " + write + " internal/eventstore/sqlite examples/wuxi"},
	{"internal/scenario", contract + " internal/rule"},
	{"examples/wuxi", ""},

	{"internal/viewdb", "internal/eventstore"},
	{"internal/projector", "internal/eventstore internal/event internal/viewdb"},
	{"internal/view", rules + " internal/rule " + read},
	{"internal/policy", write + " " + read},
	{"internal/suggest", rules + " " + write},
	{"internal/bus", history},
	{"internal/verify", rules + " " + pure + " " + read},

	{"internal/rpc", rules + " " + write + " " + read + " internal/principal internal/suggest internal/verify"},
	{"internal/web", write + " " + read + " internal/principal internal/rpc"},
	{"internal/app", node},

	{"internal/importing", client + " internal/event internal/eventstore internal/rule internal/dispatch"},
	{"internal/lives", contract + " internal/registry internal/rule internal/ticket"},
	{"internal/year", client + " " + write + " " + read + " internal/rule internal/ticket internal/lives internal/policy examples/wuxi"},
	{"internal/demo", client + " internal/principal examples/wuxi"},
	{"internal/bench", client + " " + history + " internal/rule internal/dispatch internal/principal internal/importing internal/viewdb internal/projector internal/view internal/privacy internal/eventstore/esdb/double internal/servers internal/servers/serverstest examples/wuxi"},
	{"internal/faults", client + " " + history + " internal/rule internal/servers examples/wuxi"},

	{"cmd/dispatcher", node + " internal/app internal/importing internal/demo internal/bench internal/faults internal/servers internal/year"},
	{"cmd/projector", node + " internal/app"},

	{"internal/arch", ""},

	// Only tests: of the binaries, from outside.
	{"internal/whole", ""},

	// A module of its own, which sees nothing of the product but its binaries.
	{"deploy", ""},
	{"deploy/image", ""},
	{"deploy/cmd/image", "deploy/image"},
}

// foreign says which packages may import the modules that stand for a technology. Modules without a row, such as those
// for identifiers or metrics, may be imported anywhere but in the rules.
var foreign = []struct{ module, may string }{
	{"google.golang.org/grpc", contract + " internal/rpc internal/web internal/principal internal/app internal/importing internal/demo internal/bench internal/faults internal/bus internal/eventstore/esdb internal/eventstore/esdb/double cmd/dispatcher cmd/projector"},
	{"zombiezen.com/go/sqlite", "internal/eventstore/sqlite internal/viewdb internal/privacy"},
	{"modernc.org/sqlite", ""},
	{"github.com/jackc/pgx", "internal/viewdb internal/privacy internal/servers"},
	{"github.com/EventStore/EventStore-Client-Go", "internal/eventstore/esdb internal/eventstore/esdb/double"},
	{"github.com/nats-io/nats.go", "internal/eventstore/jetstream internal/bus internal/app internal/servers"},
	{"github.com/nats-io/nats-server", "internal/bus internal/app internal/servers"},
	{"github.com/blevesearch/bleve", "internal/suggest"},
	{"pgregory.net/rapid", "internal/eventstore/storetest"},
}

// The rules do no I/O, ask no clock and throw no dice, so that the same history gives the same state for ever.
var (
	impure = []string{
		"context", "os", "net", "database", "log", "syscall", "plugin", "unsafe", "reflect", "math/rand", "crypto/rand",
	}
	// Of other modules the rules need protobuf's values, not its reflection.
	rulesMay = []string{"google.golang.org/protobuf/proto", "google.golang.org/protobuf/types/known"}
	clocks   = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
)

func isPure(pkg string) bool {
	return pkg != contract && slices.Contains(strings.Fields(rules+" "+pure), pkg)
}

func TestPackagesImportOnlyWhatTheTableAllows(t *testing.T) {
	rows := map[string][]string{}
	for _, row := range table {
		if _, twice := rows[row.pkg]; twice {
			t.Errorf("the table has two rows for %s", row.pkg)
		}
		rows[row.pkg] = strings.Fields(row.may)
	}
	for _, row := range table {
		for _, may := range rows[row.pkg] {
			if _, ok := rows[may]; !ok {
				t.Errorf("the row of %s names %s, which has no row", row.pkg, may)
			}
		}
	}

	for _, f := range goFiles(t) {
		may, ok := rows[f.pkg]
		if !ok {
			t.Errorf("%s: package %s has no row in the table of internal/arch: add one, or put the file where it belongs", f.path, f.pkg)
			continue
		}
		if f.test {
			continue
		}
		for at, path := range f.imports() {
			ours, isOurs := strings.CutPrefix(path, module+"/")
			switch {
			case isOurs && ours != f.pkg && !slices.Contains(may, ours):
				t.Errorf("%s: %s may not import %s", at, f.pkg, ours)
			case isOurs:
			case isPure(f.pkg) && strings.Contains(strings.Split(path, "/")[0], "."):
				if !slices.ContainsFunc(rulesMay, func(p string) bool { return within(path, p) }) {
					t.Errorf("%s: %s is pure and may not import %s", at, f.pkg, path)
				}
			}
			for _, row := range foreign {
				if within(path, row.module) && !slices.Contains(strings.Fields(row.may), f.pkg) {
					t.Errorf("%s: %s may not import %s", at, f.pkg, path)
				}
			}
		}
	}
}

func TestRulesArePure(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test || !isPure(f.pkg) {
			continue
		}
		timeName := ""
		for at, path := range f.imports() {
			if slices.ContainsFunc(impure, func(p string) bool { return within(path, p) }) {
				t.Errorf("%s: %s is pure and may not import %s", at, f.pkg, path)
			}
		}
		for _, spec := range f.file.Imports {
			if spec.Path.Value == `"time"` {
				timeName = "time"
				if spec.Name != nil {
					timeName = spec.Name.Name
				}
			}
		}
		ast.Inspect(f.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == timeName && slices.Contains(clocks, sel.Sel.Name) {
				t.Errorf("%s: %s is pure and may not ask the clock: time.%s", f.at(n.Pos()), f.pkg, sel.Sel.Name)
			}
			return true
		})
		if timeName == "." {
			t.Errorf("%s: %s is pure and names time in full", f.path, f.pkg)
		}
	}
}

// The code that protoc-gen-go makes must fit the runtime it is built with.
func TestGeneratorAndRuntimeAreOfOneRelease(t *testing.T) {
	const mod = "google.golang.org/protobuf"
	if run, made := required(t, "go.mod", mod), required(t, "tools/go.mod", mod); run != made {
		t.Errorf("go.mod has %s %s, tools/go.mod makes code with %s", mod, run, made)
	}
}

func required(t *testing.T, file, mod string) string {
	t.Helper()
	for line := range strings.Lines(contents(t, file)) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) >= 2 && fields[0] == mod {
			return fields[1]
		}
	}
	t.Fatalf("%s does not require %s", file, mod)
	return ""
}

// within tells whether path is dir or below it, as a major version is.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+"/")
}

// imports gives each place where something is imported, and the import path.
func (f goFile) imports() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, spec := range f.file.Imports {
			path, _ := strconv.Unquote(spec.Path.Value)
			if !yield(f.at(spec.Pos()), path) {
				return
			}
		}
	}
}

func (f goFile) at(pos token.Pos) string {
	return f.path + ":" + strconv.Itoa(f.fset.Position(pos).Line)
}
