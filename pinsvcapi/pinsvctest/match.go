package pinsvctest

import (
	"slices"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// matches reports whether a pin passes every filter of q. It is written apart
// from the predicates of package pinsvc, the plainest way there is, so that
// the suite compares two opinions.
func matches(q pinsvc.Query, st pinsvc.PinStatus) bool {
	sameContent := func(c cid.Cid) bool { return stateKey(c) == stateKey(st.Pin.CID) }
	switch {
	case len(q.CIDs) > 0 && !slices.ContainsFunc(q.CIDs, sameContent):
	case q.Name != "" && !nameMatches(q.Match, q.Name, st.Pin.Name):
	case !q.Statuses.Has(st.Status):
	case !q.Before.IsZero() && !st.Created.Before(q.Before):
	case !q.After.IsZero() && !st.Created.After(q.After):
	case !metaMatches(q.Meta, st.Pin.Meta):
	default:
		return true
	}
	return false
}

func nameMatches(match pinsvc.TextMatchingStrategy, want, name string) bool {
	switch match {
	case pinsvc.MatchIExact:
		return strings.EqualFold(name, want)
	case pinsvc.MatchPartial:
		return strings.Contains(name, want)
	case pinsvc.MatchIPartial:
		return strings.Contains(strings.ToLower(name), strings.ToLower(want))
	default:
		return name == want
	}
}

// metaMatches needs every wanted key to be there: a missing one is not "".
func metaMatches(want, meta map[string]string) bool {
	for k, v := range want {
		if have, ok := meta[k]; !ok || have != v {
			return false
		}
	}
	return true
}
