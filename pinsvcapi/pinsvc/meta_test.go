package pinsvc

import (
	"fmt"
	"net/url"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// TestParseGoMap_ReadsWhatFmtPrints reads what boxo sends for any map whose text is not ambiguous.
func TestParseGoMap_ReadsWhatFmtPrints(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.StringMatching(`[^ :]{0,5}`)
		want := rapid.MapOfN(words, rapid.StringMatching(`[^:]{0,12}`), 1, 5).Draw(t, "map")
		got, err := ParseQuery(url.Values{"meta": {fmt.Sprint(want)}})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got.Meta, want) {
			t.Fatalf("%q read as %q", fmt.Sprint(want), got.Meta)
		}
	})
}
