package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "github.com/chuishao/dispatch/api/gen/chuishao/v1" // the contract
)

var (
	quoted = regexp.MustCompile("`([^`]+)`")
	method = regexp.MustCompile(`^[A-Za-z]+Service\.[A-Za-z]+$`)
)

// Features are promised by name: of all 57 there is a row, and the methods and files that a row names are there.
func TestEveryFeatureNamesWhatServesAndProvesIt(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "FEATURES.md"))
	if err != nil {
		t.Fatal(err)
	}
	next := 1
	for _, line := range strings.Split(string(text), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || strings.TrimSpace(cells[1]) == "#" || strings.HasPrefix(strings.TrimSpace(cells[1]), "---") {
			continue
		}
		number, missing := strings.TrimSpace(cells[1]), strings.Contains(cells[2], "*not yet:*")
		if number != "" {
			if n, err := strconv.Atoi(number); err != nil || n != next {
				t.Errorf("got row %q, want %d", number, next)
			}
			next++
		}
		served, proved := quoted.FindAllStringSubmatch(cells[3], -1), quoted.FindAllStringSubmatch(cells[4], -1)
		if !missing && (len(served) == 0 || len(proved) == 0) {
			t.Errorf("feature %s: nothing serves or proves it, and it does not say so", number)
		}
		for _, m := range served {
			d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName("chuishao.v1." + m[1]))
			if _, ok := d.(protoreflect.MethodDescriptor); err != nil || !ok || !method.MatchString(m[1]) {
				t.Errorf("feature %s: there is no method %s", number, m[1])
			}
		}
		for _, m := range proved {
			if _, err := os.Stat(filepath.Join("..", "..", filepath.FromSlash(m[1]))); err != nil {
				t.Errorf("feature %s: there is no %s", number, m[1])
			}
		}
	}
	if next != 58 {
		t.Errorf("got %d features, want 57", next-1)
	}
}
