package pinsvc

import (
	"bytes"
	"maps"
	"testing"

	"pgregory.net/rapid"
)

func TestPairs_AreAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "pairs")
		packed := packPairs(want)
		if got := packed.Map(); !maps.Equal(got, want) || (got == nil) != (len(want) == 0) {
			t.Fatalf("got %q, want %q", got, want)
		}
		if got, plain := packed.appendJSON(nil), appendStringMap(nil, want); !bytes.Equal(got, plain) {
			t.Fatalf("wrote %s, want %s", got, plain)
		}
		for range packed.All() {
			break // Stopping early is fine.
		}
	})
}
