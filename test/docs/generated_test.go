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

var update = flag.Bool("update", false, "write the generated parts of the documents")

// between splits the text of a document at the two markers of a part of it.
func between(t *testing.T, path, name string) (before, part, after string) {
	t.Helper()
	text := readFile(t, path)
	begin, end := "<!-- "+name+" begin -->\n", "<!-- "+name+" end -->"
	before, rest, found := strings.Cut(text, begin)
	part, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s needs the lines %s and %s", path, strings.TrimSpace(begin), end)
	}
	return before + begin, part, end + after
}

// The table of the managed node's keys is what the code says. With -update
// the test writes it.
func TestConfiguration_HasTheManagedKeys(t *testing.T) {
	const path = "docs/configuration.md"
	table, err := keydoc.Table(filepath.Join(harness.Root(), "cmd", "peer", "kubo"), kubo.Keys())
	if err != nil {
		t.Fatal(err)
	}
	before, part, after := between(t, path, "managed table")
	if part == table {
		return
	}
	if !*update {
		t.Fatalf("the table of ipfs_connector.managed in %s is out of date; run: go test ./test/docs -update", path)
	}
	if err := os.WriteFile(filepath.Join(harness.Root(), path), []byte(before+table+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The table of transitions is the one that the reducer's test holds. With
// -update the test writes it.
func TestStatus_HasTheTransitions(t *testing.T) {
	const path = "docs/status.md"
	source := readFile(t, "pinsvcapi/clusterrpc/internal/peerstatus/transition_table_test.go")
	_, rest, found := strings.Cut(source, "const transitions = `\n")
	table, _, ended := strings.Cut(rest, "`")
	if !found || !ended {
		t.Fatal("the reducer's test has no table of transitions")
	}
	table = "```text\n" + table + "```\n"
	before, part, after := between(t, path, "transitions")
	if part == table {
		return
	}
	if !*update {
		t.Fatalf("the table of transitions in %s is out of date; run: go test ./test/docs -update", path)
	}
	if err := os.WriteFile(filepath.Join(harness.Root(), path), []byte(before+table+after), 0o644); err != nil {
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
func TestContributing_HasTheDirectDependencies(t *testing.T) {
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
	_, part, _ := between(t, "CONTRIBUTING.md", "dependencies")
	listed := make(map[string]bool)
	for _, match := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.*) \\|$").FindAllStringSubmatch(part, -1) {
		listed[match[1]] = true
		_, imported := direct[match[1]]
		exists(t, "CONTRIBUTING.md", "import of", match[1], imported)
		if len(match[2]) < 10 {
			t.Errorf("CONTRIBUTING.md does not say what %s is for", match[1])
		}
	}
	for module, file := range direct {
		if !listed[module] {
			t.Errorf("CONTRIBUTING.md does not list %s, which %s imports", module, file)
		}
	}
	for module, indirect := range required {
		if !indirect && !listed[module] {
			t.Errorf("CONTRIBUTING.md does not list %s, a direct requirement of go.mod", module)
		}
	}
}
