package pinset

import (
	"hash/maphash"
	"slices"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// statuses are the groups of one name, or of all pins, in key order.
var statuses = [...]pinsvc.Status{
	pinsvc.StatusQueued, pinsvc.StatusPinning, pinsvc.StatusPinned, pinsvc.StatusFailed,
}

// index keeps three orders of the same pins: all of them, by name, and by the
// case-folded name. A name that folding does not change has no key in the third.
//
// Groups of names are keyed hashes of 61 bits. A page checks every pin that it
// shows, so a collision (probability 10^-7 for a million different names) could
// only make a count too large.
type index struct {
	all, named, folded *rankTree
	seed               maphash.Seed
}

func newIndex(seed maphash.Seed, less func(a, b key) bool) *index {
	return &index{all: newRankTree(less), named: newRankTree(less), folded: newRankTree(less), seed: seed}
}

func (x *index) trees() []*rankTree { return []*rankTree{x.all, x.named, x.folded} }

func (x *index) nameGroup(name string, s pinsvc.Status) uint64 {
	return maphash.String(x.seed, name)<<3 | uint64(s)
}

// add inserts the keys of the row in that slot.
func (x *index) add(slot uint32, r *row) {
	x.keysOf(slot, r, func(t *rankTree, k key) { t.insert(k) })
}

// remove takes out the keys of the row in that slot. It returns false when one
// of them was missing: the index is damaged, and counts would be wrong from now
// on.
func (x *index) remove(slot uint32, r *row) (intact bool) {
	intact = true
	x.keysOf(slot, r, func(t *rankTree, k key) { intact = t.remove(k) && intact })
	return intact
}

// keysOf calls visit for every key that the row in that slot should have.
func (x *index) keysOf(slot uint32, r *row, visit func(*rankTree, key)) {
	k := key{group: uint64(r.status), created: r.created, slot: slot}
	visit(x.all, k)
	name := r.name()
	if name == "" {
		return
	}
	k.group = x.nameGroup(name, r.status)
	visit(x.named, k)
	if folded := pinsvc.Fold(name); folded != name {
		k.group = x.nameGroup(folded, r.status)
		visit(x.folded, k)
	}
}

// span is a run of ranks in one tree.
type span struct {
	tree     *rankTree
	from, to int
}

// spans returns the runs that together hold the pins of those statuses, times
// and whole name. They are disjoint.
func (x *index) spans(q *predicate) []span {
	spans := make([]span, 0, 2*len(statuses))
	for _, s := range statuses {
		if !q.statuses.Has(s) {
			continue
		}
		switch {
		case q.name == "":
			spans = x.all.appendSpan(spans, uint64(s), q.window)
		case q.strategy == pinsvc.MatchExact:
			spans = x.named.appendSpan(spans, x.nameGroup(q.name, s), q.window)
		default:
			group := x.nameGroup(q.folded, s)
			spans = x.named.appendSpan(spans, group, q.window)
			spans = x.folded.appendSpan(spans, group, q.window)
		}
	}
	return spans
}

func (t *rankTree) appendSpan(spans []span, group uint64, w window) []span {
	// The two special slots make keys before and after all rows of one
	// creation time; see View.compare.
	from := t.rank(key{group: group, created: w.newest, slot: slotFirst})
	to := t.rank(key{group: group, created: w.oldest, slot: slotLast})
	if from >= to {
		return spans
	}
	return append(spans, span{tree: t, from: from, to: to})
}

// count is the number of keys in all the spans.
func count(spans []span) int {
	n := 0
	for _, s := range spans {
		n += s.to - s.from
	}
	return n
}

// first appends the first n keys of the spans together, in list order.
func first(keys []key, spans []span, n int, compare func(a, b key) int) []key {
	for _, s := range spans {
		keys = s.tree.appendRange(keys, s.from, min(s.to, s.from+n))
	}
	if len(spans) > 1 {
		slices.SortFunc(keys, compare)
	}
	return keys[:min(n, len(keys))]
}
