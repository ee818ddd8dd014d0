// Command testlines reads what `go test -json` prints and says it shorter: the closing line of each package, the whole
// output of tests that failed, the names of tests that were skipped, and what tests that passed say they do not show:
// their lines with NOT SHOWN. It exits with 1 if a test failed or was skipped, or if none ran, so that a suite which
// quietly leaves something out does not count as passed.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

func main() {
	r := read(os.Stdin, os.Stdout)
	for _, name := range r.skipped {
		fmt.Printf("skipped: %s\n", name)
	}
	for _, text := range slices.Sorted(maps.Keys(r.notShown)) {
		fmt.Printf("not shown%s\n\t(%s)\n", text, strings.Join(r.notShown[text], ", "))
	}
	for _, name := range r.failed {
		fmt.Printf("failed: %s\n", name)
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", r.passed, len(r.failed), len(r.skipped))
	if len(r.failed) > 0 || len(r.skipped) > 0 || r.passed == 0 {
		os.Exit(1)
	}
}

// event is one line of `go test -json`, as `go doc test2json` tells it.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

type result struct {
	passed          int
	failed, skipped []string
	notShown        map[string][]string // what tests say that they do not show, and which they are
}

// unshown is what a test's output says that it does not show.
func unshown(output string) (said []string) {
	for line := range strings.Lines(output) {
		if _, text, ok := strings.Cut(line, "NOT SHOWN"); ok {
			said = append(said, strings.TrimSpace(text))
		}
	}
	return said
}

func read(in io.Reader, out io.Writer) result {
	r := result{notShown: map[string][]string{}}
	type test struct{ pkg, name string }
	said := map[test]*strings.Builder{}

	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) == 0 && err != nil {
			return r
		}
		var e event
		if json.Unmarshal(line, &e) != nil {
			out.Write(line)
			continue
		}
		t := test{e.Package, e.Test}
		name := strings.TrimSuffix(e.Package+" "+e.Test, " ")
		switch e.Action {
		case "build-output":
			fmt.Fprint(out, e.Output)
		case "output":
			if e.Test != "" {
				if said[t] == nil {
					said[t] = new(strings.Builder)
				}
				said[t].WriteString(e.Output)
			} else if e.Output != "PASS\n" && e.Output != "FAIL\n" {
				fmt.Fprint(out, e.Output)
			}
		case "pass":
			if e.Test != "" {
				r.passed++
			}
			if said[t] != nil {
				for _, text := range unshown(said[t].String()) {
					r.notShown[text] = append(r.notShown[text], name)
				}
			}
			delete(said, t)
		case "skip":
			// A package without tests is skipped too, which leaves nothing out.
			if e.Test != "" {
				r.skipped = append(r.skipped, name)
				fmt.Fprint(out, said[t])
			}
			delete(said, t)
		case "fail":
			r.failed = append(r.failed, name)
			if e.Test != "" {
				if said[t] != nil {
					fmt.Fprint(out, said[t])
				}
				delete(said, t)
				continue
			}
			// What was still running when the package ended, by a panic or by the time limit, says why it ended.
			var running []test
			for t := range said {
				if t.pkg == e.Package {
					running = append(running, t)
				}
			}
			slices.SortFunc(running, func(a, b test) int { return strings.Compare(a.name, b.name) })
			for _, t := range running {
				fmt.Fprint(out, said[t])
				delete(said, t)
			}
		}
	}
}
