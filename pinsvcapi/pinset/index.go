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

// index keeps three orders of the same pins: all of them, those of a name and
// those of a name as case folding leaves it. A name that folding does not
// change needs no entry in the third.
//
// Groups of names are 61-bit keyed hashes. A page verifies every pin that it
// shows, so a collision (about 10^-7 for a million different names) could
// only make a count too large.
type index struct {
	all, named, folded *tree
	seed               maphash.Seed
}

func newIndex(less func(a, b key) bool) *index {
	return &index{all: newTree(less), named: newTree(less), folded: newTree(less), seed: maphash.MakeSeed()}
}

func (x *index) nameGroup(name string, s pinsvc.Status) uint64 {
	return maphash.String(x.seed, name)<<3 | uint64(s)
}

// add and drop take a record as it is in the slot.
func (x *index) add(slot uint32, r *record) {
	x.each(slot, r, func(t *tree, k key) { t.insert(k) })
}

func (x *index) drop(slot uint32, r *record) {
	x.each(slot, r, func(t *tree, k key) { t.remove(k) })
}

func (x *index) each(slot uint32, r *record, do func(*tree, key)) {
	k := key{group: uint64(r.status), created: r.created, slot: slot}
	do(x.all, k)
	name := r.name()
	if name == "" {
		return
	}
	k.group = x.nameGroup(name, r.status)
	do(x.named, k)
	if folded := pinsvc.Fold(name); folded != name {
		k.group = x.nameGroup(folded, r.status)
		do(x.folded, k)
	}
}

// span is a run of ranks in one tree.
type span struct {
	tree     *tree
	from, to int
}

// spans returns the runs that hold all pins that match the statuses, the times
// and the whole name. They are disjoint.
func (x *index) spans(q *predicate) []span {
	spans := make([]span, 0, 2*len(statuses))
	for _, s := range statuses {
		if !q.statuses.Has(s) {
			continue
		}
		switch {
		case q.name == "":
			spans = x.all.appendSpan(spans, uint64(s), q.window)
		case q.match == pinsvc.MatchExact:
			spans = x.named.appendSpan(spans, x.nameGroup(q.name, s), q.window)
		default:
			group := x.nameGroup(q.folded, s)
			spans = x.named.appendSpan(spans, group, q.window)
			spans = x.folded.appendSpan(spans, group, q.window)
		}
	}
	return spans
}

func (t *tree) appendSpan(spans []span, group uint64, w window) []span {
	// Slots above every real one make keys that sort before or after all of
	// one creation time; see View.less.
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
