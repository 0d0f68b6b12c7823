package docs

import (
	"encoding/json"
	"flag"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kubo"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/sectionconfig/keydoc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

var update = flag.Bool("update", false, "write the generated parts of README.md")

// between splits text at the two markers of a part of it.
func between(t *testing.T, text, name string) (before, part, after string) {
	t.Helper()
	begin, end := "<!-- "+name+" begin -->\n", "<!-- "+name+" end -->"
	before, rest, found := strings.Cut(text, begin)
	part, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("README.md needs the lines %s and %s", strings.TrimSpace(begin), end)
	}
	return before + begin, part, end + after
}

// The README's table of the managed node's keys is what the code says. With
// -update the test writes it.
func TestReadmeHasTheManagedKeys(t *testing.T) {
	table, err := keydoc.Table(filepath.Join(harness.Root(), "cmd", "peer", "kubo"), kubo.Keys())
	if err != nil {
		t.Fatal(err)
	}
	before, part, after := between(t, readFile(t, "README.md"), "managed table")
	if part == table {
		return
	}
	if !*update {
		t.Fatal("the table of ipfs_connector.managed in README.md is out of date; run: go test ./test/docs -update")
	}
	if err := os.WriteFile(filepath.Join(harness.Root(), "README.md"), []byte(before+table+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// modules are those that go.mod requires, and whether they are marked as
// indirect.
func modules(t *testing.T) map[string]bool {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json")
	cmd.Dir = harness.Root()
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	indirect := make(map[string]bool)
	for _, m := range mod.Require {
		indirect[m.Path] = m.Indirect
	}
	return indirect
}

// imports are the packages that any Go file of the module imports.
func imports(t *testing.T) map[string]string {
	t.Helper()
	found := make(map[string]string) // Package to the file.
	err := filepath.WalkDir(harness.Root(), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			_, statErr := os.Stat(filepath.Join(path, "go.mod"))
			other := path != harness.Root() && statErr == nil // A module of its own.
			if other || strings.HasPrefix(entry.Name(), ".") && path != harness.Root() ||
				slices.Contains([]string{"node_modules", "testdata", "bin", "data"}, entry.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			found[name] = path
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// What the code imports itself is listed with the reason, and nothing else.
func TestReadmeHasTheDirectDependencies(t *testing.T) {
	required := modules(t)
	direct := make(map[string]string)
	for name, file := range imports(t) {
		best := ""
		for module := range required {
			if (name == module || strings.HasPrefix(name, module+"/")) && len(module) > len(best) {
				best = module
			}
		}
		if best != "" {
			direct[best] = file
		}
	}
	_, part, _ := between(t, readFile(t, "README.md"), "dependencies")
	listed := make(map[string]bool)
	for _, match := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.*) \\|$").FindAllStringSubmatch(part, -1) {
		listed[match[1]] = true
		if _, ok := direct[match[1]]; !ok {
			t.Errorf("README.md lists %s, which nothing imports", match[1])
		}
		if len(match[2]) < 10 {
			t.Errorf("README.md does not say what %s is for", match[1])
		}
	}
	for module, file := range direct {
		if !listed[module] {
			t.Errorf("README.md does not list %s, which %s imports", module, file)
		}
	}
	for module, indirect := range required {
		if !indirect && !listed[module] {
			t.Errorf("README.md does not list %s, a direct requirement of go.mod", module)
		}
	}
}
