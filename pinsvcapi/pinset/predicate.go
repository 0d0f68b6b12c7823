package pinset

import (
	"strings"
	"unicode/utf8"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// predicate is a query prepared for many rows. It means the same as
// pinsvc.Query.Matches, CIDs apart, and allocates nothing for a name.
type predicate struct {
	statuses pinsvc.StatusSet
	window   window
	name     string
	strategy pinsvc.TextMatchingStrategy
	folded   string // of name, when the strategy ignores case
	meta     []pair
}

// pair is one wanted pair of metadata.
type pair struct{ key, value string }

func predicateOf(q *pinsvc.Query) predicate {
	p := predicate{
		statuses: q.Statuses, window: windowOf(q), name: q.Name, strategy: q.Match,
	}
	for k, v := range q.Meta {
		p.meta = append(p.meta, pair{k, v})
	}
	if p.strategy == pinsvc.MatchIExact || p.strategy == pinsvc.MatchIPartial {
		p.folded = pinsvc.Fold(q.Name)
	}
	return p
}

func (p *predicate) accepts(r *row) bool {
	return p.statuses.Has(r.status) && p.window.has(r.created) &&
		(p.name == "" || p.acceptsName(r.name())) &&
		(len(p.meta) == 0 || r.hasMeta(p.meta))
}

func (p *predicate) acceptsName(name string) bool {
	switch p.strategy {
	case pinsvc.MatchIExact:
		return strings.EqualFold(name, p.name)
	case pinsvc.MatchIPartial:
		return containsFolded(name, p.folded)
	default:
		return p.strategy.Matches(name, p.name)
	}
}

// hasMeta reports whether the pin has every wanted pair. Both sides have few
// pairs, so comparing is faster than hashing.
func (r *row) hasMeta(want []pair) bool {
	_, _, rest, _ := r.fields()
	found := 0
	for rest != "" && found < len(want) {
		var have pair
		have.key, rest = pinsvc.CutField(rest)
		have.value, rest = pinsvc.CutField(rest)
		for i := range want {
			if want[i] == have {
				found++
			}
		}
	}
	return found == len(want)
}

// containsFolded reports whether the folded form of s contains folded.
func containsFolded(s, folded string) bool {
	if !ascii(s) {
		return strings.Contains(pinsvc.Fold(s), folded)
	}
	for i := 0; i+len(folded) <= len(s); i++ {
		j := 0
		for j < len(folded) && upper(s[i+j]) == folded[j] {
			j++
		}
		if j == len(folded) {
			return true
		}
	}
	return false
}

func ascii(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// upper is pinsvc.Fold for one ASCII letter.
func upper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		c -= 'a' - 'A'
	}
	return c
}
