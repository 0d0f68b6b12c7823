package pinsvc

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestMatches_ComparesNames(t *testing.T) {
	tests := []struct {
		name, filter                     string
		exact, iexact, partial, ipartial bool
	}{
		{"Report", "", true, true, true, true},
		{"", "", true, true, true, true},
		{"", "x", false, false, false, false},
		{"Report", "Report", true, true, true, true},
		{"Report", "rEPORT", false, true, false, true},
		{"Report", "epo", false, false, true, true},
		{"Report", "EPO", false, false, false, true},
		{"Report", "Reports", false, false, false, false},
		{"ÄRGER", "ärger", false, true, false, true},
		{"ΣΊΣΥΦΟΣ", "σίσυφος", false, true, false, true},
		{"K2 (Kelvin)", "\u212a2", false, false, false, true},
		{"straße", "STRASSE", false, false, false, false},
		{"a%b_c*", "%", false, false, true, true},
		{"é", "e\u0301", false, false, false, false},
	}
	for _, test := range tests {
		for match, want := range map[TextMatchingStrategy]bool{
			MatchExact: test.exact, MatchIExact: test.iexact, MatchPartial: test.partial, MatchIPartial: test.ipartial,
			MatchIPartial + 1: test.filter == "",
		} {
			if got := match.Matches(test.name, test.filter); got != want {
				t.Errorf("%q, filter %q, %v: %v", test.name, test.filter, match, got)
			}
		}
	}
}

func TestFold_IsEqualFold(t *testing.T) {
	letters := rapid.SampledFrom([]rune("aAkK\u212asSſßẞǅǆǄσςΣİıIiéÉ日"))
	text := rapid.Custom(func(t *rapid.T) string { return string(rapid.SliceOfN(letters, 0, 4).Draw(t, "letters")) })
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.OneOf(text, rapid.String()).Draw(t, "a")
		b := rapid.OneOf(text, rapid.Just(strings.ToUpper(a)), rapid.Just(strings.ToLower(a))).Draw(t, "b")
		if got, want := Fold(a) == Fold(b), strings.EqualFold(a, b); got != want {
			t.Fatalf("%q and %q: %v, strings.EqualFold says %v", a, b, got, want)
		}
		if Fold(Fold(a)) != Fold(a) || utf8.RuneCountInString(Fold(a)) != utf8.RuneCountInString(a) {
			t.Fatalf("Fold(%q) is %q", a, Fold(a))
		}
	})
}
