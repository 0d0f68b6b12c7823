package docs

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
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

// managedKey is a key of ipfs_connector.managed.
type managedKey struct{ name, env, fallback, meaning string }

// managedKeys reads what the comments of kubo.Config say of its keys: each
// begins with the names of its fields, and the keys and defaults in brackets.
func managedKeys(t *testing.T) []managedKey {
	t.Helper()
	cfg := &kubo.Config{}
	if err := cfg.Default(); err != nil {
		t.Fatal(err)
	}
	raw, err := cfg.ToJSON()
	if err != nil {
		t.Fatal(err)
	}
	var defaults map[string]json.RawMessage
	if err := json.Unmarshal(raw, &defaults); err != nil {
		t.Fatal(err)
	}
	keyPattern := regexp.MustCompile(`\b([a-z][a-z_]+), default ([^;)]+)`)
	var rows []managedKey
	names := map[string]string{} // Go's to the key's.
	for _, field := range configFields(t) {
		comment := strings.Join(strings.Fields(field.Doc.Text()), " ")
		_, rest, _ := strings.Cut(comment, "(")
		keys, meaning, found := strings.Cut(rest, ") ")
		matches := keyPattern.FindAllStringSubmatch(keys, -1)
		if !found || len(matches) != len(field.Names) {
			t.Fatalf("the comment of %s names no key and default: %s", field.Names[0], comment)
		}
		for i, match := range matches {
			fallback := match[2]
			if value, ok := defaults[match[1]]; ok {
				checkDefault(t, match[1], fallback, value)
				fallback = string(value)
			}
			names[field.Names[i].Name] = match[1]
			rows = append(rows, managedKey{
				name: match[1], env: "CLUSTER_MANAGED_" + strings.ToUpper(field.Names[i].Name),
				fallback: fallback, meaning: meaning,
			})
		}
		for key := range defaults {
			if slices.ContainsFunc(rows, func(row managedKey) bool { return row.name == key }) {
				delete(defaults, key)
			}
		}
	}
	for key := range defaults {
		t.Errorf("no comment of kubo.Config speaks of the key %s", key)
	}
	for i := range rows {
		rows[i].meaning = forOperators(rows[i].meaning, names)
	}
	return rows
}

// checkDefault holds the default of a comment against the real one, written
// as JSON: 1h is "1h0m0s".
func checkDefault(t *testing.T, key, told string, value json.RawMessage) {
	t.Helper()
	plain := strings.Trim(string(value), `"`)
	if strings.HasSuffix(plain, "m0s") {
		plain = strings.TrimSuffix(plain, "0s")
	}
	if strings.HasSuffix(plain, "h0m") {
		plain = strings.TrimSuffix(plain, "0m")
	}
	if strings.Join(strings.Fields(plain), "") != strings.Trim(told, `"`) {
		t.Errorf("%s: the comment says that the default is %s, it is %s", key, told, value)
	}
}

// forOperators makes a sentence of the table from that of a Go comment.
func forOperators(text string, names map[string]string) string {
	text = strings.TrimPrefix(text, "is ")
	text = strings.NewReplacer("ProfileDefault", "`\"default\"`", "ProfilePrivate", "`\"private\"`").Replace(text)
	text = regexp.MustCompile(`\.?\b[A-Z]\w+\b`).ReplaceAllStringFunc(text, func(word string) string {
		if key, ok := names[word]; ok {
			return "`" + key + "`"
		}
		return word
	})
	return strings.ToUpper(text[:1]) + strings.ReplaceAll(text[1:], "|", `\|`)
}

// configFields are the documented fields of kubo.Config.
func configFields(t *testing.T) []*ast.Field {
	t.Helper()
	path := filepath.Join(harness.Root(), "cmd", "peer", "kubo", "config.go")
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var fields []*ast.Field
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != "Config" {
			return true
		}
		for _, field := range spec.Type.(*ast.StructType).Fields.List {
			if len(field.Names) > 0 && field.Names[0].IsExported() && field.Doc != nil {
				fields = append(fields, field)
			}
		}
		return false
	})
	if len(fields) == 0 {
		t.Fatalf("%s has no Config", path)
	}
	return fields
}

// The table of the managed node's keys is what the code says. With -update
// the test writes it.
func TestConfiguration_HasTheManagedKeys(t *testing.T) {
	const path = "docs/configuration.md"
	var table strings.Builder
	table.WriteString("| Key | Default | Meaning |\n| --- | --- | --- |\n")
	for _, row := range managedKeys(t) {
		fmt.Fprintf(&table, "| `%s`<br>`%s` | `%s` | %s |\n", row.name, row.env, row.fallback, row.meaning)
	}
	before, part, after := between(t, path, "managed table")
	if part == table.String() {
		return
	}
	if !*update {
		t.Fatalf("the table of ipfs_connector.managed in %s is out of date; run: go test ./test/docs -update", path)
	}
	if err := os.WriteFile(filepath.Join(harness.Root(), path), []byte(before+table.String()+after), 0o644); err != nil {
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
		if _, ok := direct[match[1]]; !ok {
			t.Errorf("CONTRIBUTING.md lists %s, which nothing imports", match[1])
		}
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
