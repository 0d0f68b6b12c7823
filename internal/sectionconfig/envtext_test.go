package sectionconfig

import (
	"strings"
	"testing"
)

// Whatever the variable holds, the map is what one reader would read: every
// pair is there as written, and nothing else.
func FuzzParseMap(f *testing.F) {
	for _, seed := range []string{"me:pw", "me:a, bob:b", "me:pa,ss:wd", `{"me":"pw"}`, "me:a\nbob:b", "", " ", "a:b,c", ": ,:", "\n:\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var c example
		field := lenient().fields(&c)[7]
		if field.typ.parse(field.value, text) != nil || strings.HasPrefix(strings.TrimSpace(text), "{") {
			return
		}
		for name, value := range c.Users {
			if name != strings.TrimSpace(name) || strings.ContainsAny(name, ":,\n") || value != strings.TrimSpace(value) {
				t.Fatalf("%q: %q has %q", text, name, value)
			}
			if !strings.Contains(text, name) || !strings.Contains(text, ":"+value) {
				t.Fatalf("%q: made %q with %q", text, name, value)
			}
		}
		if pairs := strings.Count(text, ":"); len(c.Users) > pairs {
			t.Fatalf("%q: %d pairs of %d colons", text, len(c.Users), pairs)
		}
	})
}
