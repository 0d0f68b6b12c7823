package replacement

import (
	"maps"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
)

// graph has the names of records and what they lead to.
type graph struct {
	// named has, by the key of a record, what it names. The lists are never changed in place.
	named map[cid.Cid][]name
	// namers has, by what they name, the keys of named, and whether their records are there: one
	// that was removed and made anew names nothing, although its old names hide pins for a while.
	namers map[pinrecord.Replaced]map[cid.Cid]bool
	// hidden has the revision that the state has of each pin that is hidden.
	hidden map[cid.Cid]int64
	// complete has the revision of each hidden pin that was found to be pinned.
	complete map[cid.Cid]int64
}

func newGraph() graph {
	return graph{
		named: make(map[cid.Cid][]name), namers: make(map[pinrecord.Replaced]map[cid.Cid]bool),
		hidden: make(map[cid.Cid]int64), complete: make(map[cid.Cid]int64),
	}
}

// clone is a copy without namers: link makes them, for which the original is not needed.
func (g *graph) clone() graph {
	return graph{named: maps.Clone(g.named), hidden: maps.Clone(g.hidden), complete: maps.Clone(g.complete)}
}

func (g *graph) link() {
	g.namers = make(map[pinrecord.Replaced]map[cid.Cid]bool, len(g.hidden))
	for key, list := range g.named {
		g.enter(key, list)
	}
}

// setList changes what a record names.
func (g *graph) setList(key cid.Cid, list []name) {
	for _, n := range g.named[key] {
		if namers := g.namers[n.Replaced]; namers != nil {
			if delete(namers, key); len(namers) == 0 {
				delete(g.namers, n.Replaced)
			}
		}
	}
	if len(list) == 0 {
		delete(g.named, key)
		return
	}
	g.named[key] = list
	g.enter(key, list)
}

func (g *graph) enter(key cid.Cid, list []name) {
	for _, n := range list {
		if g.namers[n.Replaced] == nil {
			g.namers[n.Replaced] = make(map[cid.Cid]bool, 1)
		}
		g.namers[n.Replaced][key] = n.orphaned.IsZero()
	}
}

// live reports whether a named pin is there and hidden.
func (g *graph) live(r pinrecord.Replaced) bool {
	revision, ok := g.hidden[r.Key]
	return ok && revision == r.Revision
}

// isNamed reports whether a record names a pin, or did before it was removed.
func (g *graph) isNamed(r pinrecord.Replaced) bool { return len(g.namers[r]) > 0 }

func (g *graph) isComplete(key cid.Cid) bool {
	revision, ok := g.complete[key]
	return ok && revision == g.hidden[key]
}

// keepsAny reports whether the record of a pin names any that is hidden.
func (g *graph) keepsAny(key cid.Cid) bool {
	return slices.ContainsFunc(g.named[key], func(n name) bool { return g.live(n.Replaced) })
}

// kept are the pins that the record of another names and that are hidden.
func (g *graph) kept(key cid.Cid) (kept []pinrecord.Replaced) {
	for _, n := range g.named[key] {
		if g.live(n.Replaced) {
			kept = append(kept, n.Replaced)
		}
	}
	return kept
}

// above calls visit, once, with each pin not yet seen from which names lead to r, as long as that
// returns true those from which names lead to it.
func (g *graph) above(r pinrecord.Replaced, seen map[cid.Cid]struct{}, visit func(namer cid.Cid, hidden bool) (on bool)) {
	for queue := []pinrecord.Replaced{r}; len(queue) > 0; queue = queue[1:] {
		for namer, there := range g.namers[queue[0]] {
			if _, ok := seen[namer]; ok || !there {
				continue
			}
			seen[namer] = struct{}{}
			revision, hidden := g.hidden[namer]
			if visit(namer, hidden) && hidden {
				queue = append(queue, pinrecord.Replaced{Key: namer, Revision: revision})
			}
		}
	}
}

// covered are the pins that keep a hidden one that is complete and has replaced r, and
// that one. They do not need r.
func (g *graph) covered(r pinrecord.Replaced) map[cid.Cid]struct{} {
	if len(g.complete) == 0 {
		return nil
	}
	var complete []cid.Cid
	g.above(r, make(map[cid.Cid]struct{}), func(namer cid.Cid, hidden bool) bool {
		if !hidden || !g.isComplete(namer) {
			return true
		}
		complete = append(complete, namer)
		return false
	})
	covered := make(map[cid.Cid]struct{})
	for _, key := range complete {
		covered[key] = struct{}{}
		g.above(pinrecord.Replaced{Key: key, Revision: g.hidden[key]}, covered, func(cid.Cid, bool) bool { return true })
	}
	return covered
}
