package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// A document that names a test as its proof names one that exists.
func TestNamedTests_Exist(t *testing.T) {
	exist := testFunctions(t)
	name := regexp.MustCompile("`((?:Test|Fuzz)[A-Z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)?)`")
	for path, text := range markdown(t) {
		for _, match := range name.FindAllStringSubmatch(text, -1) {
			exists(t, path, "test", match[1], exist[match[1]])
		}
	}
}

func testFunctions(t *testing.T) map[string]bool {
	t.Helper()
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9_]*)\(`)
	found := make(map[string]bool)
	eachFile(t, "_test.go", func(_, text string) {
		for _, match := range function.FindAllStringSubmatch(text, -1) {
			found[match[1]] = true
		}
	})
	return found
}

func markdown(t *testing.T) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	eachFile(t, ".md", func(path, text string) { texts[path] = text })
	return texts
}

// eachFile calls f with the path and the text of each file of the tree with a suffix.
func eachFile(t *testing.T, suffix string, f func(path, text string)) {
	t.Helper()
	root := harness.Root()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == ".git" || entry.Name() == "data") {
			return filepath.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(path, suffix) {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		f(relative, string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
