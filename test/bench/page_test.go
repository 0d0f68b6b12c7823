package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestPage_ReplacesASection(t *testing.T) {
	part := sections[0]
	begin, end := part.begin(), part.end()
	for page, want := range map[string]string{
		"a\n" + begin + "old\n" + end + "\nb": "a\n" + begin + "new\n" + end + "\nb",
		"a":                                   "", begin: "", end + "\n" + begin: "",
	} {
		got, err := part.replace(page, "new\n")
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v", page, got, err)
		}
	}
}

// A run of a part must not replace the figures of another.
func TestPage_RunsWriteWhatTheyMeasured(t *testing.T) {
	growth := "-n 10000,100000,1000000,10000000 -posts 0 -peers none"
	for args, want := range map[string][]string{
		"":                    {"bench", "clusters"},
		"-peers none":         {"bench"},
		"-posts 200000":       {"bench", "clusters"},
		"-n none -posts 0":    {"clusters"},
		"-n 1000 -peers none": nil, "-posts 0 -peers none": nil, "-ops post -peers 1,3": nil, "-quick": nil,
		growth:                          {"growth"},
		growth + " -ops count":          nil,
		growth + " -ops " + growthOps:   {"growth"},
		growth + ",3 -ops " + growthOps: nil, // No such list of peers.
	} {
		path := filepath.Join(t.TempDir(), "page.md")
		var page string
		for _, part := range sections {
			page += part.begin() + "old " + part.name + "\n" + part.end() + "\n"
		}
		if err := os.WriteFile(path, []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := parse(append([]string{"-page", path}, strings.Fields(args)...))
		if err != nil {
			if want != nil {
				t.Errorf("%q: %v", args, err)
			}
			continue
		}
		if err := s.writePage(&result{}); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range sections {
			if written := !strings.Contains(string(raw), "old "+part.name); written != slices.Contains(want, part.name) {
				t.Errorf("%q: %s was written: %v", args, part.name, written)
			}
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
	for _, part := range sections {
		if _, err := part.replace(string(raw), ""); err != nil {
			t.Error(err)
		}
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
