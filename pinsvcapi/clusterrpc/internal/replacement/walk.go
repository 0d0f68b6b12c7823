package replacement

import (
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
)

// walk goes over hidden pins. It is used under the lock.
type walk struct {
	index *Index
	// releases reports whether a visible pin needs nothing any more of what it has replaced.
	releases func(namer cid.Cid) bool
	due      map[pinrecord.Replaced]bool     // that were visited
	added    map[pinrecord.Replaced]struct{} // those of list, and those that are about to be
	list     []pinrecord.Replaced            // those that are due, in order
}

func (x *Index) walk(releases func(namer cid.Cid) bool) walk {
	return walk{
		index: x, releases: releases,
		due: make(map[pinrecord.Replaced]bool), added: make(map[pinrecord.Replaced]struct{}),
	}
}

// add visits a pin and, if it is due, those that its record names before it.
func (w *walk) add(r pinrecord.Replaced) {
	if _, added := w.added[r]; added || !w.index.live(r) || !w.isDue(r) {
		return
	}
	w.added[r] = struct{}{}
	for _, n := range w.index.named[r.Key] {
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
	any, covered := false, w.index.covered(r)
	for namer := range w.index.namers[r.Key] {
		if !w.index.claims(namer, r) {
			continue
		}
		if _, ok := covered[namer]; ok {
			any = true
			continue
		}
		if revision, hidden := w.index.hidden[namer]; hidden {
			if !w.isDue(pinrecord.Replaced{Key: namer, Revision: revision}) {
				return false
			}
			any = true
			continue
		}
		if _, visible := w.index.cfg.View.Lookup(namer); !visible {
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

// above calls visit with each pin from which names lead to r, as long as that returns
// true those from which names lead to it. It needs the lock.
func (x *Index) above(r pinrecord.Replaced, visit func(namer cid.Cid, hidden bool) (on bool)) {
	seen := make(map[cid.Cid]struct{})
	for queue := []pinrecord.Replaced{r}; len(queue) > 0; queue = queue[1:] {
		for namer := range x.namers[queue[0].Key] {
			if _, ok := seen[namer]; ok || !x.claims(namer, queue[0]) {
				continue
			}
			seen[namer] = struct{}{}
			revision, hidden := x.hidden[namer]
			if visit(namer, hidden) && hidden {
				queue = append(queue, pinrecord.Replaced{Key: namer, Revision: revision})
			}
		}
	}
}

// covered are the pins that keep a hidden one that is complete and has replaced r, and
// that one. They do not need r. It needs the lock.
func (x *Index) covered(r pinrecord.Replaced) map[cid.Cid]struct{} {
	if len(x.complete) == 0 {
		return nil
	}
	covered := make(map[cid.Cid]struct{})
	x.above(r, func(namer cid.Cid, hidden bool) bool {
		if !hidden || !x.isComplete(namer) {
			return true
		}
		covered[namer] = struct{}{}
		x.above(pinrecord.Replaced{Key: namer, Revision: x.hidden[namer]}, func(over cid.Cid, _ bool) bool {
			covered[over] = struct{}{}
			return true
		})
		return false
	})
	return covered
}

// isComplete needs the lock.
func (x *Index) isComplete(key cid.Cid) bool {
	revision, ok := x.complete[key]
	return ok && revision == x.hidden[key]
}

// Replacing are the pins for the sake of which a hidden one is not needed if it is due:
// hidden ones that are complete and have replaced it, and visible ones from which names
// lead to it past those.
func (x *Index) Replacing(r pinrecord.Replaced) []cid.Cid {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var keys []cid.Cid
	covered := x.covered(r)
	x.above(r, func(namer cid.Cid, hidden bool) bool {
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
	x.mu.RLock()
	defer x.mu.RUnlock()
	for key := range x.named {
		revision, hidden := x.hidden[key]
		if hidden && !x.isComplete(key) && len(x.kept(key)) > 0 {
			list = append(list, pinrecord.Replaced{Key: key, Revision: revision})
		}
	}
	return list
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
	for namer := range x.namers[r.Key] {
		if !x.claims(namer, r) {
			continue
		}
		for _, n := range kept {
			if !x.claims(namer, n) {
				return false
			}
		}
	}
	return true
}

// kept are the pins that the record of another names and that are hidden. It needs the
// lock.
func (x *Index) kept(key cid.Cid) (kept []pinrecord.Replaced) {
	for _, n := range x.named[key] {
		if x.live(n.Replaced) {
			kept = append(kept, n.Replaced)
		}
	}
	return kept
}
