package peer

import (
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	faultHeading    = regexp.MustCompile(`(?m)^### (U\d+) .*$`)
	faultNumber     = regexp.MustCompile(`\bU\d+\b`)
	faultComment    = regexp.MustCompile(`(?m)//.*$`)
	workAroundField = regexp.MustCompile(`(?s)\*\*Work-around\.\*\*(.*?)\n- \*\*`)
	workAroundFile  = regexp.MustCompile("`([a-z][a-z0-9_/-]+/[a-z0-9_]+\\.go)`")
	faultTest       = regexp.MustCompile("`(Test\\w+)`")
)

// faultEntries are the entries of the document by their numbers.
func faultEntries(text string) map[string]string {
	entries := make(map[string]string)
	heads := faultHeading.FindAllStringSubmatchIndex(text, -1)
	for i, head := range heads {
		end := len(text)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		entries[text[head[2]:head[3]]] = text[head[1]:end]
	}
	return entries
}

// goSources are the Go files below the folders, by their paths from the root.
func goSources(t *testing.T, root string, folders ...string) map[string]string {
	t.Helper()
	sources := make(map[string]string)
	for _, folder := range folders {
		noError(t, filepath.WalkDir(filepath.Join(root, folder), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") {
				return err
			}
			rel, err := filepath.Rel(root, path)
			sources[filepath.ToSlash(rel)] = read(t, path)
			return err
		}))
	}
	return sources
}

// namedFaults are the numbers in the comments of a Go file.
func namedFaults(source string) []string {
	return faultNumber.FindAllString(strings.Join(faultComment.FindAllString(source, -1), "\n"), -1)
}

// The document of upstream's faults names files and tests that exist. Comments
// refer to entries that exist, and each entry is named by a comment in each file of
// its work-around.
func TestUpstreamFaults_NamesExist(t *testing.T) {
	root := filepath.Join("..", "..")
	entries := faultEntries(read(t, filepath.Join(root, "docs", "upstream-faults.md")))
	sources := goSources(t, root, "cmd", "config", "internal", "pinsvcapi", "test")
	var tests strings.Builder
	for path, source := range sources {
		if strings.HasSuffix(path, "_test.go") {
			tests.WriteString(source)
			continue
		}
		for _, number := range namedFaults(source) {
			if _, ok := entries[number]; !ok {
				t.Errorf("%s refers to %s, which the document does not have", path, number)
			}
		}
	}
	for number, entry := range entries {
		field := workAroundField.FindStringSubmatch(entry)
		named := faultTest.FindAllStringSubmatch(entry, -1)
		if field == nil || len(named) == 0 {
			t.Errorf("%s has no work-around or no test", number)
			continue
		}
		files := workAroundFile.FindAllStringSubmatch(field[1], -1)
		if len(files) == 0 {
			t.Errorf("the work-around of %s is in no file", number)
		}
		for _, file := range files {
			if source, ok := sources[file[1]]; !ok {
				t.Errorf("%s lists %s, which does not exist", number, file[1])
			} else if !slices.Contains(namedFaults(source), number) {
				t.Errorf("no comment in %s names %s", file[1], number)
			}
		}
		for _, name := range named {
			if !strings.Contains(tests.String(), "func "+name[1]+"(") {
				t.Errorf("%s lists %s, which does not exist", number, name[1])
			}
		}
	}
	if len(entries) < 20 {
		t.Errorf("only the entries %v were recognised", slices.Sorted(maps.Keys(entries)))
	}
}
