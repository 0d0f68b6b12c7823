package replacement

import (
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
)

// walk goes over hidden pins. The graph does not change meanwhile.
type walk struct {
	coverage
	view *pinset.View
	// releases reports whether a visible pin needs nothing any more of what it has replaced.
	releases func(namer cid.Cid) bool
	due      map[pinrecord.Replaced]bool     // that were visited
	added    map[pinrecord.Replaced]struct{} // those of list, and those that are about to be
	list     []pinrecord.Replaced            // those that are due, in order
}

func (x *Index) walk(g *graph, releases func(namer cid.Cid) bool) walk {
	return walk{
		coverage: newCoverage(g), view: x.cfg.View, releases: releases,
		due: make(map[pinrecord.Replaced]bool), added: make(map[pinrecord.Replaced]struct{}),
	}
}

// add visits a pin and, if it is due, those that its record names before it.
func (w *walk) add(r pinrecord.Replaced) {
	if _, added := w.added[r]; added || !w.graph.live(r) || !w.isDue(r) {
		return
	}
	w.added[r] = struct{}{}
	for _, n := range w.graph.named[r.Key] {
		w.steps++
		w.add(n.Replaced)
	}
	w.list = append(w.list, r)
}

// isDue reports whether all visible pins from which names lead to r release it, or keep a
// newer content that is complete, and there is one.
func (w *walk) isDue(r pinrecord.Replaced) bool {
	if due, ok := w.due[r]; ok {
		return due
	}
	w.due[r] = false // Names lead in no circle; if they did, nothing of it would be due.
	any := false
	for namer, there := range w.graph.namers[r] {
		if w.steps++; !there {
			continue
		}
		if w.covers(r, namer) {
			any = true
			continue
		}
		if revision, hidden := w.graph.hidden[namer]; hidden {
			if !w.isDue(pinrecord.Replaced{Key: namer, Revision: revision}) {
				return false
			}
			any = true
			continue
		}
		if _, visible := w.view.Lookup(namer); !visible {
			continue // It was removed.
		}
		if !w.releases(namer) {
			return false
		}
		any = true
	}
	w.due[r] = any
	return any
}

// Replacing are the pins for the sake of which a hidden one is not needed if it is due:
// hidden ones that are complete and have replaced it, and visible ones from which names
// lead to it past those.
func (x *Index) Replacing(r pinrecord.Replaced) []cid.Cid {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var keys []cid.Cid
	covered := x.covered(r)
	x.above(r, make(map[cid.Cid]struct{}), func(namer cid.Cid, hidden bool) bool {
		_, without := covered[namer]
		switch {
		case hidden && x.isComplete(namer):
			keys = append(keys, namer)
			return false
		case hidden:
			return !without
		case without:
			return false
		}
		if _, ok := x.cfg.View.Lookup(namer); ok {
			keys = append(keys, namer)
		}
		return false
	})
	return keys
}

// Undecided are the hidden pins that have replaced others which are there, and
// of which it is not known whether they are complete. If one is, those are not needed; if
// it has failed, it is not needed itself.
func (x *Index) Undecided() (list []pinrecord.Replaced) {
	g := x.snapshot()
	for key := range g.named {
		revision, hidden := g.hidden[key]
		if hidden && !g.isComplete(key) && g.keepsAny(key) {
			list = append(list, pinrecord.Replaced{Key: key, Revision: revision})
		}
	}
	return list
}

// snapshot is the graph of now without its namers: what goes over all of it does so without the
// lock, for which requests wait.
func (x *Index) snapshot() graph {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.clone()
}

// Complete notes that a hidden pin is pinned.
func (x *Index) Complete(r pinrecord.Replaced) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.live(r) {
		x.complete[r.Key] = r.Revision
	}
}

// IsSpare reports whether a hidden pin can be unpinned without a loss if it has failed:
// it has replaced others that are there, and all that name it name those themselves.
func (x *Index) IsSpare(r pinrecord.Replaced) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	kept := x.kept(r.Key)
	if !x.live(r) || len(kept) == 0 {
		return false
	}
	for namer, there := range x.namers[r] {
		if !there {
			continue
		}
		for _, n := range kept {
			if !x.namers[n][namer] {
				return false
			}
		}
	}
	return true
}
