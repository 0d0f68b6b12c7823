package pinset

import (
	"strings"
	"unicode/utf8"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// predicate is a query made ready to be asked of many records. It means what
// pinsvc.Query.Matches means, CIDs apart, without allocating for each name.
type predicate struct {
	statuses pinsvc.StatusSet
	window   window
	name     string
	match    pinsvc.TextMatchingStrategy
	folded   string // of name, when the match ignores case
	meta     []pair
}

func predicateOf(q *pinsvc.Query) predicate {
	p := predicate{
		statuses: q.Statuses, window: windowOf(q), name: q.Name, match: q.Match,
	}
	for k, v := range q.Meta {
		p.meta = append(p.meta, pair{k, v})
	}
	if p.match == pinsvc.MatchIExact || p.match == pinsvc.MatchIPartial {
		p.folded = pinsvc.Fold(q.Name)
	}
	return p
}

func (p *predicate) matches(r *record) bool {
	return p.statuses.Has(r.status) && p.window.has(r.created) &&
		(p.name == "" || p.matchesName(r.name())) &&
		(len(p.meta) == 0 || r.matchesMeta(p.meta))
}

func (p *predicate) matchesName(name string) bool {
	switch p.match {
	case pinsvc.MatchIExact:
		return strings.EqualFold(name, p.name)
	case pinsvc.MatchIPartial:
		return containsFolded(name, p.folded)
	default:
		return p.match.Matches(name, p.name)
	}
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
