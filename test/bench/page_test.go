package main

import (
	"os"
	"path/filepath"
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
		"": true, "-n 1000,10000,100000,1000000": true, "-posts 100000": true,
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

// The page of the repository has a row for each operation.
func TestPage_HasEveryOperation(t *testing.T) {
	raw, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := replaceMeasured(string(raw), ""); err != nil {
		t.Error(err)
	}
	for _, o := range (&bench{}).ops(1000) {
		if !strings.Contains(string(raw), "\n| "+o.name+" | ") {
			t.Errorf("docs/performance.md has no row for %s", o.name)
		}
	}
}
