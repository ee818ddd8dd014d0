package arch

import (
	"go/ast"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// Fields and an interface's methods are spoken for by the comment of their type, where a name alone says too little.
func TestExportedNamesSayWhatTheyPromise(t *testing.T) {
	documented := map[string]bool{}
	for _, f := range goFiles(t) {
		if f.test || ast.IsGenerated(f.file) {
			continue
		}
		documented[f.pkg] = documented[f.pkg] || f.file.Doc != nil
		for _, decl := range f.file.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				if decl.Doc == nil && decl.Name.IsExported() && isExportedMethodOrFunc(decl) {
					t.Errorf("%s: %s has no comment", f.at(decl.Pos()), decl.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range decl.Specs {
					checkSpec(t, f, decl, spec)
				}
			}
		}
	}
	for pkg, ok := range documented {
		if !ok {
			t.Errorf("package %s: no file of it has a comment that says what the package is for", pkg)
		}
	}
}

// Methods whose name is their contract, as the standard library defines it.
var wellKnown = []string{"Error", "Unwrap", "Is", "String", "Len", "Less", "Swap", "LogValue", "MarshalJSON", "UnmarshalJSON"}

func isExportedMethodOrFunc(decl *ast.FuncDecl) bool {
	if decl.Recv == nil {
		return true
	}
	if slices.Contains(wellKnown, decl.Name.Name) {
		return false
	}
	recv := decl.Recv.List[0].Type
	for {
		switch r := recv.(type) {
		case *ast.StarExpr:
			recv = r.X
		case *ast.IndexExpr:
			recv = r.X
		case *ast.IndexListExpr:
			recv = r.X
		case *ast.Ident:
			return r.IsExported()
		default:
			return true
		}
	}
}

func checkSpec(t *testing.T, f goFile, decl *ast.GenDecl, spec ast.Spec) {
	t.Helper()
	// The comment of a group speaks for constants and variables in it, and of a declaration on its own for all kinds.
	group := decl.Doc != nil
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		if !spec.Name.IsExported() {
			return
		}
		if spec.Doc == nil && spec.Comment == nil && (!group || decl.Lparen.IsValid()) {
			t.Errorf("%s: %s has no comment", f.at(spec.Pos()), spec.Name.Name)
		}
	case *ast.ValueSpec:
		for _, name := range spec.Names {
			if name.IsExported() && !group && spec.Doc == nil && spec.Comment == nil {
				t.Errorf("%s: %s has no comment", f.at(name.Pos()), name.Name)
			}
		}
	}
}

func TestFilesAreNamedAfterWhatTheyAreFor(t *testing.T) {
	folders := []string{"pkg", "model", "models", "service", "services", "mock", "mocks"}
	for _, f := range goFiles(t) {
		for part := range strings.SplitSeq(f.path, "/") {
			stem := strings.ToLower(strings.TrimSuffix(part, ".go"))
			for _, no := range []string{"util", "common", "helper", "manager", "misc"} {
				if strings.Contains(stem, no) {
					t.Errorf("%s: %q does not say what it is for", f.path, part)
				}
			}
			if slices.Contains(folders, part) {
				t.Errorf("%s: %q is a kind of code, not a thing of the domain", f.path, part)
			}
		}
	}
}

// What only one machine or one network knows has no place in the repository.
var local = []struct {
	what string
	re   *regexp.Regexp
}{
	{"a path of one machine", regexp.MustCompile(`(?:^|[\s"'=(,;>` + "`" + `])/(?:work|root|home/[a-z]\w*|Users/[A-Za-z]\w*)/\w`)},
	{"the host of a package registry", regexp.MustCompile(`\b(?:proxy\.golang|goproxy\.\w+|sum\.golang|registry\.npmjs|registry\.yarnpkg|deb\.debian|pypi)\.(?:org|io|cn|com)\b`)},
	{"the host of a package registry", regexp.MustCompile(`\bGOPROXY\s*=\s*https?:`)},
}

func TestNoFileNamesOneMachineOrRegistry(t *testing.T) {
	for _, name := range tracked(t) {
		info, err := os.Stat(filepath.Join(root, name))
		if err != nil || !info.Mode().IsRegular() || info.Size() > 4<<20 {
			continue // removed from the work tree, a link, or records
		}
		text := contents(t, name)
		if !utf8.ValidString(text) || strings.Contains(text, "\x00") {
			continue
		}
		for n, line := range strings.Split(text, "\n") {
			for _, l := range local {
				if found := l.re.FindString(line); found != "" {
					t.Errorf("%s:%d: %s: %q", name, n+1, l.what, found)
				}
			}
		}
	}
}

var (
	link     = regexp.MustCompile(`\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)`)
	linkDef  = regexp.MustCompile(`^\s{0,3}\[[^\]]+\]:\s*<?([^\s>]+)`)
	codeSpan = regexp.MustCompile("`[^`]*`")
	heading  = regexp.MustCompile(`^#{1,6}\s+(.*?)\s*#*\s*$`)
	anchorID = regexp.MustCompile(`<a\s+(?:id|name)="([^"]+)"`)
	inLink   = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

func TestLinksInDocumentsLive(t *testing.T) {
	files, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if path.Ext(name) != ".md" || strings.Contains(name, "/testdata/") {
			continue
		}
		for n, line := range prose(contents(t, name)) {
			line = codeSpan.ReplaceAllString(line, "")
			targets := link.FindAllStringSubmatch(line, -1)
			targets = append(targets, linkDef.FindAllStringSubmatch(line, -1)...)
			for _, m := range targets {
				checkLink(t, name, n, m[1])
			}
		}
	}
}

func checkLink(t *testing.T, from string, line int, target string) {
	t.Helper()
	if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
		return
	}
	file, anchor, _ := strings.Cut(target, "#")
	to := from
	switch {
	case strings.HasPrefix(file, "/"):
		to = strings.TrimPrefix(file, "/")
	case file != "":
		to = path.Join(path.Dir(from), file)
	}
	if strings.HasPrefix(to, "..") {
		t.Errorf("%s:%d: the link to %s leaves the repository", from, line, target)
		return
	}
	if _, err := os.Stat(filepath.Join(root, to)); err != nil {
		t.Errorf("%s:%d: the link to %s leads nowhere", from, line, target)
		return
	}
	if anchor != "" && path.Ext(to) == ".md" && !slices.Contains(anchors(contents(t, to)), anchor) {
		t.Errorf("%s:%d: %s has no heading #%s", from, line, to, anchor)
	}
}

// prose gives the lines that are not in a block of code, by number.
func prose(text string) map[int]string {
	lines := map[int]string{}
	fence := ""
	for n, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case fence != "":
			if strings.HasPrefix(trimmed, fence) {
				fence = ""
			}
		case strings.HasPrefix(trimmed, "```"), strings.HasPrefix(trimmed, "~~~"):
			fence = trimmed[:3]
		default:
			lines[n+1] = line
		}
	}
	return lines
}

// anchors gives the names that a document's headings can be linked by, formed as code hosts form them.
func anchors(text string) []string {
	lines := prose(text)
	var found []string
	times := map[string]int{}
	for n := range strings.Count(text, "\n") + 1 {
		for _, m := range anchorID.FindAllStringSubmatch(lines[n+1], -1) {
			found = append(found, m[1])
		}
		m := heading.FindStringSubmatch(lines[n+1])
		if m == nil {
			continue
		}
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || isWord(r):
				return r
			}
			return -1
		}, strings.ToLower(inLink.ReplaceAllString(m[1], "$1")))
		if k := times[slug]; k > 0 {
			found = append(found, slug+"-"+strconv.Itoa(k))
		} else {
			found = append(found, slug)
		}
		times[slug]++
	}
	return found
}

func isWord(r rune) bool {
	return token.IsIdentifier("a" + string(r))
}
