package harness

import (
	"encoding/json"
	"os"
	"testing"
)

// Section is an object of a JSON file that a test reads or edits. What is
// missing or of another type fails the test.
type Section struct {
	t      testing.TB
	object map[string]any
}

func readJSON(t testing.TB, path string) Section {
	t.Helper()
	s := Section{t: t}
	if err := json.Unmarshal([]byte(readFile(t, path)), &s.object); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return s
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Section is the object below the keys; missing ones are made.
func (s Section) Section(keys ...string) Section {
	s.t.Helper()
	for _, key := range keys {
		if s.object[key] == nil {
			s.object[key] = map[string]any{}
		}
		below, ok := s.object[key].(map[string]any)
		if !ok {
			s.t.Fatalf("%q is %T, not an object", key, s.object[key])
		}
		s.object = below
	}
	return s
}

// Has reports whether the key is there.
func (s Section) Has(key string) bool { _, ok := s.object[key]; return ok }

// Set sets a key.
func (s Section) Set(key string, value any) { s.object[key] = value }

// String is the string at the key.
func (s Section) String(key string) string {
	s.t.Helper()
	v, ok := s.object[key].(string)
	if !ok {
		s.t.Fatalf("%q is %T, not a string", key, s.object[key])
	}
	return v
}

// Strings are the strings at the key, which may hold one or a list.
func (s Section) Strings(key string) []string {
	s.t.Helper()
	list, ok := s.object[key].([]any)
	if !ok {
		return []string{s.String(key)}
	}
	var out []string
	for _, v := range list {
		text, ok := v.(string)
		if !ok {
			s.t.Fatalf("%q holds %T, not a string", key, v)
		}
		out = append(out, text)
	}
	return out
}
