package pinsvcapi

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestClipLeavesRunesWhole(t *testing.T) {
	for _, char := range []string{"a", "é", "…", "𝄞"} {
		for lead := range utf8.UTFMax {
			text := strings.Repeat("x", lead) + strings.Repeat(char, maxLogged+1)
			got := clip(text)
			if !utf8.ValidString(got) {
				t.Errorf("%q after %d: cut in half", char, lead)
			}
			kept, ok := strings.CutSuffix(got, "…")
			if !ok || !strings.HasPrefix(text, kept) || len(kept) > maxLogged || len(kept) <= maxLogged-utf8.UTFMax {
				t.Errorf("%q after %d: kept %d bytes", char, lead, len(kept))
			}
		}
	}
	for _, text := range []string{"", strings.Repeat("a", maxLogged)} {
		if got := clip(text); got != text {
			t.Errorf("%d bytes became %d", len(text), len(got))
		}
	}
	// What is no text is cut all the same.
	if got := clip(strings.Repeat("\x80", 2*maxLogged)); len(got) > maxLogged+len("…") {
		t.Errorf("%d bytes", len(got))
	}
}
