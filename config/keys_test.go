package config

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/sectionconfig/keydoc"
)

const (
	tableBegin = "<!-- config table begin -->\n"
	tableEnd   = "<!-- config table end -->"
)

// keyTable returns the table of keys for the documentation.
func keyTable(t *testing.T) string {
	t.Helper()
	table, err := keydoc.Table(".", Keys())
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestKeys_Table(t *testing.T) {
	golden(t, "testdata/keys.md", keyTable(t))
}

// The README's table is the one that the code makes. With -update the test
// writes it between the markers.
func TestReadmeHasTheKeyTable(t *testing.T) {
	const path = "../README.md"
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return // Nothing claims anything about the keys yet.
	}
	if err != nil {
		t.Fatal(err)
	}
	got, err := replaceTable(string(raw), keyTable(t))
	if err != nil {
		t.Fatal(err)
	}
	if got == string(raw) {
		return
	}
	if !*update {
		t.Fatalf("the table of keys in %s is out of date; run: go test ./config -update", path)
	}
	if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
		t.Fatal(err)
	}
}

// replaceTable returns text with the table between the markers, which it must
// have, once and in order.
func replaceTable(text, table string) (string, error) {
	before, rest, found := strings.Cut(text, tableBegin)
	_, after, ended := strings.Cut(rest, tableEnd)
	if !found || !ended || strings.Contains(after, tableBegin) {
		return "", errors.New("README.md needs the markers " + strings.TrimSpace(tableBegin) + " and " + tableEnd + ", each on a line of its own")
	}
	return before + tableBegin + table + tableEnd + after, nil
}

func TestReplaceTable(t *testing.T) {
	for text, want := range map[string]string{
		"a\n" + tableBegin + "old\n" + tableEnd + "\nb": "a\n" + tableBegin + "new\n" + tableEnd + "\nb",
		"a\n" + tableBegin + tableEnd:                   "a\n" + tableBegin + "new\n" + tableEnd,
		"a":                                             "",
		tableBegin:                                      "",
		tableEnd + "\n" + tableBegin:                    "",
	} {
		got, err := replaceTable(text, "new\n")
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
}

func TestKeys_AreProper(t *testing.T) {
	names := map[string]bool{}
	for _, k := range Keys() {
		if names[k.Name] || k.Name == "" || !strings.HasPrefix(k.Env, "CLUSTER_PINSVCAPI_") {
			t.Errorf("%q (%q) is no proper key", k.Name, k.Env)
		}
		names[k.Name] = true
	}
}

// What the table gives as default is what leaving a key out gives.
func TestKeys_DefaultsAreThoseOfALoad(t *testing.T) {
	for _, k := range Keys() {
		t.Run(k.Name, func(t *testing.T) {
			mustEqual(t, load(t, `{"`+k.Name+`": `+k.Default+`}`), defaults(t))
		})
	}
}
