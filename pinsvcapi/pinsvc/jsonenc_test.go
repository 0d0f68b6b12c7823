package pinsvc

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// Wherever a byte stands in a string, it is written as encoding/json writes
// it: eight bytes are looked at together, and none may hide behind another.
func TestStringsAreEscapedAtEveryPosition(t *testing.T) {
	for _, pair := range []string{"aa", "a\x1f", " !", "\u00e9", "\xff\x01"} {
		for b := range 256 {
			for at := range 20 {
				s := strings.Repeat("x", at) + string([]byte{byte(b)}) + pair + strings.Repeat("y", 9)
				var want bytes.Buffer
				enc := json.NewEncoder(&want)
				enc.SetEscapeHTML(false)
				if err := enc.Encode(s); err != nil {
					t.Fatal(err)
				}
				if got := string(appendString(nil, s)) + "\n"; got != want.String() {
					t.Fatalf("%q: got %s, want %s", s, got, want.String())
				}
			}
		}
	}
}
