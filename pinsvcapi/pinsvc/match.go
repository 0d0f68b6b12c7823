package pinsvc

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// TextMatchingStrategy is the spec's: how the name of a pin is compared with the
// name in a query. Names are not normalised: the composed and the decomposed
// form of a character are different.
type TextMatchingStrategy uint8

// The four strategies of the specification; MatchExact is the default.
const (
	// MatchExact wants the whole name, code point by code point.
	MatchExact TextMatchingStrategy = iota
	// MatchIExact wants the whole name under Fold.
	MatchIExact
	// MatchPartial wants the query's name somewhere within the pin's.
	MatchPartial
	// MatchIPartial wants it within the pin's, both under Fold.
	MatchIPartial
)

// ParseMatch reads the wire form of a strategy.
func ParseMatch(s string) (TextMatchingStrategy, error) {
	switch s {
	case "exact":
		return MatchExact, nil
	case "iexact":
		return MatchIExact, nil
	case "partial":
		return MatchPartial, nil
	case "ipartial":
		return MatchIPartial, nil
	default:
		return 0, fmt.Errorf("%s is none of exact, iexact, partial, ipartial", quote(s))
	}
}

// String is the wire form of the strategy, or "undefined" for what is none.
func (m TextMatchingStrategy) String() string {
	switch m {
	case MatchExact:
		return "exact"
	case MatchIExact:
		return "iexact"
	case MatchPartial:
		return "partial"
	case MatchIPartial:
		return "ipartial"
	default:
		return "undefined"
	}
}

// MarshalText gives the wire form, in JSON a string. It fails for a value
// that is no strategy.
func (m TextMatchingStrategy) MarshalText() ([]byte, error) {
	if m > MatchIPartial {
		return nil, fmt.Errorf("matching strategy %d has no wire form", uint8(m))
	}
	return []byte(m.String()), nil
}

// UnmarshalText is ParseMatch for JSON.
func (m *TextMatchingStrategy) UnmarshalText(text []byte) error {
	parsed, err := ParseMatch(string(text))
	if err != nil {
		return err
	}
	*m = parsed
	return nil
}

// Matches reports whether the name passes the filter. An empty filter lets every
// name pass.
func (m TextMatchingStrategy) Matches(name, filter string) bool {
	if filter == "" {
		return true
	}
	switch m {
	case MatchExact:
		return name == filter
	case MatchIExact:
		return Fold(name) == Fold(filter)
	case MatchPartial:
		return strings.Contains(name, filter)
	case MatchIPartial:
		return strings.Contains(Fold(name), Fold(filter))
	default:
		return false
	}
}

// Fold maps every code point to the smallest one that differs from it only in
// case (Unicode simple case folding, as strings.EqualFold): two names differ
// only in case exactly when their folded forms are equal. No code point becomes
// two, so "ß" and "SS" stay different.
func Fold(name string) string { return strings.Map(foldRune, name) }

func foldRune(r rune) rune {
	if r < utf8.RuneSelf {
		// Capital letters are the smallest of their orbits: the orbit of k
		// has the Kelvin sign too, that of s the long s, both larger.
		if 'a' <= r && r <= 'z' {
			return r - ('a' - 'A')
		}
		return r
	}
	smallest := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		smallest = min(smallest, next)
	}
	return smallest
}

// hasMeta reports whether meta has every pair of want. A missing key is not the
// same as a key with an empty value.
func hasMeta(meta, want map[string]string) bool {
	for key, value := range want {
		if have, ok := meta[key]; !ok || have != value {
			return false
		}
	}
	return true
}
