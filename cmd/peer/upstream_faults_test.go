package peer

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The document of upstream's faults names files and tests that exist, and the
// numbers that comments refer to.
func TestUpstreamFaults_NamesExist(t *testing.T) {
	root := filepath.Join("..", "..")
	text := read(t, filepath.Join(root, "docs", "upstream-faults.md"))
	var tests strings.Builder
	referred := make(map[string]string)
	number := regexp.MustCompile(`\b(U\d+) in\s+(?://\s+)?docs/upstream-faults\.md|\((U\d+)\)`)
	for _, top := range []string{"cmd", "pinsvcapi", "test"} {
		noError(t, filepath.WalkDir(filepath.Join(root, top), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") {
				return err
			}
			content := read(t, path)
			if strings.HasSuffix(path, "_test.go") {
				tests.WriteString(content)
				return nil
			}
			for _, match := range number.FindAllStringSubmatch(content, -1) {
				referred[match[1]+match[2]] = path
			}
			return nil
		}))
	}
	for number, path := range referred {
		if !strings.Contains(text, "### "+number+" ") {
			t.Errorf("%s refers to %s, which the document does not have", path, number)
		}
	}
	if len(referred) < 10 {
		t.Errorf("only %d entries are referred to", len(referred))
	}
	for _, match := range regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(text, -1) {
		if !strings.Contains(tests.String(), "func "+match[1]+"(") {
			t.Errorf("there is no test %s", match[1])
		}
	}
	for _, match := range regexp.MustCompile("`((?:cmd/peer|cmd/ipfs-cluster-pinsvc|pinsvcapi)/\\S+\\.go)`").FindAllStringSubmatch(text, -1) {
		if _, err := os.Stat(filepath.Join(root, match[1])); err != nil {
			t.Error(err)
		}
	}
}
