package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestPage_ReplaceMeasured(t *testing.T) {
	for page, want := range map[string]string{
		"a\n" + pageBegin + "old\n" + pageEnd + "\nb": "a\n" + pageBegin + "new\n" + pageEnd + "\nb",
		"a": "", pageBegin: "", pageEnd + "\n" + pageBegin: "",
	} {
		got, err := replaceMeasured(page, "new\n")
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v", page, got, err)
		}
	}
}

// A run of a part must not replace the figures of a complete one.
func TestPage_IsWrittenByCompleteRunsOnly(t *testing.T) {
	for args, complete := range map[string]bool{
		"": true, "-n 1000,10000,100000,1000000": true, "-posts 200000": true, "-n 1000,10000,100000,1000000,10000000": true,
		"-n 1000": false, "-posts 0": false, "-ops post": false, "-quick": false,
	} {
		path := filepath.Join(t.TempDir(), "page.md")
		if err := os.WriteFile(path, []byte(pageBegin+"old\n"+pageEnd), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := parse(append([]string{"-page", path}, strings.Fields(args)...))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.writePage(&result{}); err != nil {
			t.Fatal(err)
		}
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if written := !strings.Contains(string(page), "old"); written != complete {
			t.Errorf("%q: the page was written: %v", args, written)
		}
	}
}

// The page of the repository shows operations that are measured. It may lack
// new ones until the next complete run.
func TestPage_HasKnownOperations(t *testing.T) {
	raw, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := replaceMeasured(string(raw), ""); err != nil {
		t.Error(err)
	}
	known := make(map[string]bool)
	for _, o := range (&bench{}).ops(1000) {
		known[o.name] = true
	}
	rows := regexp.MustCompile(`(?m)^\| ([a-z]+_[a-z0-9_]+|post|delete) \|`).FindAllStringSubmatch(string(raw), -1)
	for _, row := range rows {
		if !known[row[1]] {
			t.Errorf("docs/performance.md has a row for %s, which is not measured", row[1])
		}
	}
	if len(rows) < 10 {
		t.Errorf("only %d rows were recognised", len(rows))
	}
}
