package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// root is the repository, seen from this package.
const root = "../.."

// goFile is a Go file of the product, whatever its build tags say.
type goFile struct {
	path, pkg string // from the root, with slashes; pkg is the folder
	test      bool
	fset      *token.FileSet
	file      *ast.File
}

var parsed = sync.OnceValues(func() ([]goFile, error) {
	var files []goFile
	fset := token.NewFileSet()
	all, err := tree()
	if err != nil {
		return nil, err
	}
	for _, name := range all {
		if path.Ext(name) != ".go" || strings.HasPrefix(name, "tools/") || strings.Contains(name, "/testdata/") {
			continue
		}
		file, err := parser.ParseFile(fset, filepath.Join(root, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, goFile{name, path.Dir(name), strings.HasSuffix(name, "_test.go"), fset, file})
	}
	return files, nil
})

func goFiles(t *testing.T) []goFile {
	t.Helper()
	files, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no Go files found")
	}
	return files
}

// tree lists the files of the work tree as paths from the root, without the folders that make leaves behind.
var tree = sync.OnceValues(func() ([]string, error) {
	var files []string
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			// A file that goes away while the tree is read, as temporary ones do.
			if os.IsNotExist(err) {
				return nil
			}
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if rel == ".git" || rel == "bin" || rel == "data" || rel == "demo-data" {
				return filepath.SkipDir
			}
			return nil
		}
		if d.Type().IsRegular() {
			files = append(files, rel)
		}
		return nil
	})
	return files, err
})

// tracked lists the files that git tracks, or the whole tree where it is not a clone.
func tracked(t *testing.T) []string {
	t.Helper()
	if out, err := exec.Command("git", "-C", root, "ls-files", "-z").Output(); err == nil {
		return strings.Split(strings.Trim(string(out), "\x00"), "\x00")
	}
	files, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func contents(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
