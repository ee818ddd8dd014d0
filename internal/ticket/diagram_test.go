package ticket

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

var draw = flag.Bool("draw", false, "write the state diagram of the ticket anew")

const diagramFile = "../../docs/ticket-states.md"

// The diagram in docs is what the rules say: which event may happen in which state, and where it leads.
func TestTheStateDiagramIsThatOfTheRules(t *testing.T) {
	t.Parallel()
	want := diagram(t)
	if *draw {
		if err := os.WriteFile(diagramFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	is, err := os.ReadFile(diagramFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(is) != want {
		t.Error("docs/ticket-states.md is not what the rules say; draw it anew: go test ./internal/ticket -run StateDiagram -draw")
	}
}

func diagram(t *testing.T) string {
	t.Helper()
	edges := map[[2]string][]string{}
	stays := map[string][]string{}
	var anywhere []string
	for _, e := range ticketEvents(t) {
		typ := string(e.ProtoReflect().Descriptor().Name())
		from, _ := legal(e)
		if from == nil {
			anywhere = append(anywhere, typ)
			continue
		}
		for _, f := range from {
			targets := []pb.TicketState{StateAfter(e)}
			if _, ok := e.(*pb.TicketUnmerged); ok { // to the state it was merged from
				targets, _ = legal(&pb.TicketMerged{})
			}
			for _, to := range targets {
				switch {
				case to == pb.TicketState_TICKET_STATE_UNSPECIFIED || to == f:
					stays[node(f)] = append(stays[node(f)], typ)
				default:
					edges[[2]string{node(f), node(to)}] = append(edges[[2]string{node(f), node(to)}], typ)
				}
			}
		}
	}
	order := map[string]int{"[*]": 0}
	for n := range pb.TicketState_name {
		order[node(pb.TicketState(n))] = int(n)
	}
	var keys [][2]string
	for k := range edges {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b [2]string) int {
		if a[0] != b[0] {
			return order[a[0]] - order[b[0]]
		}
		return order[a[1]] - order[b[1]]
	})
	var s strings.Builder
	fmt.Fprintf(&s, "# The states of a ticket\n\nDrawn from the rules by a test (`go test ./internal/ticket -run StateDiagram -draw`). An arrow is an event that leads from one main state to\n"+
		"another.\n\n```mermaid\nstateDiagram-v2\n")
	for _, k := range keys {
		slices.Sort(edges[k])
		fmt.Fprintf(&s, "    %s --> %s : %s\n", k[0], k[1], strings.Join(edges[k], ", "))
	}
	fmt.Fprintf(&s, "```\n\n## What happens within a state\n\n| state | stage | events that leave it as it is |\n| --- | --- | --- |\n")
	for n := range len(pb.TicketState_name) {
		state := pb.TicketState(n)
		events := stays[node(state)]
		if n == 0 || len(events) == 0 {
			continue
		}
		slices.Sort(events)
		fmt.Fprintf(&s, "| %s | %s | %s |\n", node(state), strings.TrimPrefix(StageOf(state).String(), "STAGE_"), strings.Join(events, ", "))
	}
	slices.Sort(anywhere)
	fmt.Fprintf(&s, "\nIn any state: %s.\n", strings.Join(anywhere, ", "))
	return s.String()
}

func node(s pb.TicketState) string {
	if s == pb.TicketState_TICKET_STATE_UNSPECIFIED {
		return "[*]"
	}
	return rule.Name(s)
}

// ticketEvents are an empty event of each type that a ticket knows.
func ticketEvents(t *testing.T) []proto.Message {
	t.Helper()
	var events []proto.Message
	messages := pb.File_chuishao_v1_events_proto.Messages()
	for i := range messages.Len() {
		typ, err := protoregistry.GlobalTypes.FindMessageByName(messages.Get(i).FullName())
		if err != nil {
			t.Fatal(err)
		}
		e := typ.New().Interface()
		if _, known := legal(e); known {
			events = append(events, e)
		}
	}
	return events
}
