package scenario_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// elsewhere are the reasons that no scenario gives, and where they come from.
var elsewhere = map[rule.Reason]string{
	rule.UnknownValue:      "the transport",
	rule.TimeOutOfRange:    "the transport, and the registry",
	rule.RegistryNotLoaded: "the transport",
	rule.RegistryInvalid:   "the registry",
	rule.CalendarInvalid:   "the limits",
	rule.ProfileInvalid:    "the limits",
	rule.InvalidUTF8:       "the transport, and the loading of a registry",
	rule.MalformedMessage:  "dispatch, for bytes that a scenario cannot hold",
	rule.SubjectErased:     "dispatch, after an erasure, which is no command of a ticket",
}

func TestEveryReasonTheRulesGiveIsInAScenario(t *testing.T) {
	t.Parallel()
	told := map[rule.Reason]bool{}
	for _, s := range load(t).Scenarios {
		if s.Then.Refusal != nil {
			told[s.Then.Refusal.Reason] = true
		}
	}
	given := reasonsIn(t, "ticket", "whistle", "audit", "rule", "dispatch", "wall", "deliberation", "exchange", "admission", "listing", "check", "review")
	for _, r := range rule.Reasons {
		why, exempt := elsewhere[r]
		switch {
		case given[r] && !told[r] && !exempt:
			t.Errorf("no scenario is refused with %s", r)
		case !given[r] && !exempt:
			t.Errorf("nothing gives %s: say where it comes from", r)
		case told[r] && exempt:
			t.Errorf("%s is said to come from %s, but a scenario is refused with it", r, why)
		case given[r] && exempt && !strings.HasPrefix(why, "dispatch") && r != rule.InvalidUTF8:
			t.Errorf("%s is said to come from %s, but the rules give it", r, why)
		}
	}
	for r := range told {
		if !given[r] {
			t.Errorf("a scenario is refused with %s, which nothing gives", r)
		}
	}
}

// reasonsIn are the reasons that the code of packages names outside of their declaration.
func reasonsIn(t *testing.T, packages ...string) map[rule.Reason]bool {
	t.Helper()
	var files []*ast.File
	values := map[string]rule.Reason{} // by the constant's name
	for _, pkg := range packages {
		names, err := filepath.Glob(filepath.Join("..", pkg, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
			for _, d := range f.Decls {
				g, ok := d.(*ast.GenDecl)
				if !ok || g.Tok != token.CONST {
					continue
				}
				for _, spec := range g.Specs {
					v := spec.(*ast.ValueSpec)
					if typ, ok := v.Type.(*ast.Ident); ok && typ.Name == "Reason" {
						text, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
						if err != nil {
							t.Fatal(err)
						}
						values[v.Names[0].Name] = rule.Reason(text)
					}
				}
			}
		}
	}
	if len(values) != len(rule.Reasons) {
		t.Errorf("got %d reasons declared, %d listed", len(values), len(rule.Reasons))
	}
	given := map[rule.Reason]bool{}
	for _, f := range files {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(fn, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok {
					if r, ok := values[id.Name]; ok {
						given[r] = true
					}
				}
				return true
			})
		}
	}
	return given
}

func TestEveryCommandIsPlayedBothWays(t *testing.T) {
	t.Parallel()
	done, refused := map[string]bool{}, map[string]bool{}
	for _, s := range load(t).Scenarios {
		if s.Then.Refusal != nil {
			refused[s.When.Do] = true
		} else {
			done[s.When.Do] = true
		}
	}
	for _, file := range []protoreflect.FileDescriptor{
		pb.File_chuishao_v1_ticket_proto, pb.File_chuishao_v1_whistle_proto, pb.File_chuishao_v1_wall_proto, pb.File_chuishao_v1_admission_proto,
		pb.File_chuishao_v1_listing_proto, pb.File_chuishao_v1_review_proto,
	} {
		messages := file.Messages()
		for i := range messages.Len() {
			command, ok := strings.CutSuffix(string(messages.Get(i).Name()), "Request")
			if !ok || messages.Get(i).Fields().ByName("request_id") == nil {
				continue
			}
			if !done[command] || !refused[command] {
				t.Errorf("%s: carried out %t, refused %t; want a scenario of each", command, done[command], refused[command])
			}
		}
	}
}
