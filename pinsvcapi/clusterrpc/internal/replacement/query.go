package replacement

import (
	"slices"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// overTime is after how long a name whose pin is gone may be left out of a record: the
// pin may come later than the record that names it.
const overTime = 10 * time.Minute

// Hidden reports whether a record is of a pin that another has replaced.
func (x *Index) Hidden(rec api.Pin) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.isNamed(pinrecord.Replaced{Key: rec.Cid.Cid, Revision: pinrecord.RevisionOf(rec)})
}

// HasHidden reports whether there is any hidden pin.
func (x *Index) HasHidden() bool { return x.Len() > 0 }

// Len is the number of hidden pins.
func (x *Index) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.hidden)
}

// Replaces reports whether the record of a pin names any other, which may be gone.
func (x *Index) Replaces(key cid.Cid) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.named[key]) > 0
}

// Kept are the hidden pins that names lead to from a pin, those that it names first.
func (x *Index) Kept(key cid.Cid) []cid.Cid {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var kept []cid.Cid
	seen := map[cid.Cid]struct{}{key: {}}
	for queue := []cid.Cid{key}; len(queue) > 0; queue = queue[1:] {
		for _, n := range x.named[queue[0]] {
			if _, ok := seen[n.Key]; ok || !x.live(n.Replaced) {
				continue
			}
			seen[n.Key] = struct{}{}
			kept, queue = append(kept, n.Key), append(queue, n.Key)
		}
	}
	return kept
}

// KeptOnlyBy are the pins of Kept to which names lead from no other visible pin. A pin
// comes after those that its record names.
func (x *Index) KeptOnlyBy(key cid.Cid) []pinrecord.Replaced {
	x.mu.RLock()
	defer x.mu.RUnlock()
	// Every other visible pin holds on to what it has replaced.
	w := x.walk(func(namer cid.Cid) bool { return namer.Equals(key) })
	for _, n := range x.named[key] {
		w.add(n.Replaced, -1)
	}
	return w.list
}

// Names are what a new version of the record of a pin has to name, beside what it
// replaces now: all that it names and that is not over for good.
func (x *Index) Names(rec api.Pin) []pinrecord.Replaced {
	names := pinrecord.ReplacedBy(rec)
	x.mu.RLock()
	defer x.mu.RUnlock()
	now := x.cfg.Now()
	for _, n := range x.named[rec.Cid.Cid] {
		over := !n.over.IsZero() && now.Sub(n.over) >= overTime
		i := slices.Index(names, n.Replaced)
		switch {
		case over && i >= 0:
			names = slices.Delete(names, i, i+1)
		case i < 0 && n.orphaned.IsZero() && x.live(n.Replaced):
			names = append(names, n.Replaced)
		}
	}
	return names
}

// Due returns at most limit hidden pins that are due to be unpinned: every visible pin
// from which names lead to it is pinned. A pin comes after those that its record names.
func (x *Index) Due(limit int) []pinrecord.Replaced {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if len(x.hidden) == 0 {
		return nil
	}
	w := x.walk(x.pinned)
	for key, revision := range x.hidden {
		if w.add(pinrecord.Replaced{Key: key, Revision: revision}, limit); len(w.list) == limit {
			break
		}
	}
	return w.list
}

// IsDue reports whether a pin is hidden and due now, and the pins that its record names
// are not.
func (x *Index) IsDue(r pinrecord.Replaced) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	w := x.walk(x.pinned)
	w.add(r, -1)
	return len(w.list) > 0 && w.list[0] == r
}

// pinned reports whether a visible pin is pinned.
func (x *Index) pinned(key cid.Cid) bool {
	m, ok := x.cfg.View.Lookup(key)
	return ok && m.Status == pinsvc.StatusPinned
}

// Replacing are the visible pins from which names lead to a hidden one.
func (x *Index) Replacing(r pinrecord.Replaced) []cid.Cid {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var visible []cid.Cid
	seen := make(map[cid.Cid]struct{})
	for queue := []pinrecord.Replaced{r}; len(queue) > 0; queue = queue[1:] {
		for namer := range x.namers[queue[0].Key] {
			if _, ok := seen[namer]; ok || !x.names(namer, queue[0]) {
				continue
			}
			seen[namer] = struct{}{}
			if revision, hidden := x.hidden[namer]; hidden {
				queue = append(queue, pinrecord.Replaced{Key: namer, Revision: revision})
			} else if _, ok := x.cfg.View.Lookup(namer); ok {
				visible = append(visible, namer)
			}
		}
	}
	return visible
}

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

// add visits a pin and, if it is due, those that its record names before it. It appends
// to the list as long as that is shorter than limit; -1: always.
func (w *walk) add(r pinrecord.Replaced, limit int) {
	if _, added := w.added[r]; added || !w.index.live(r) || !w.isDue(r) {
		return
	}
	w.added[r] = struct{}{}
	for _, n := range w.index.named[r.Key] {
		w.add(n.Replaced, limit)
	}
	if len(w.list) != limit {
		w.list = append(w.list, r)
	}
}

// isDue reports whether all visible pins from which names lead to r release it, and there
// is one.
func (w *walk) isDue(r pinrecord.Replaced) bool {
	if due, ok := w.due[r]; ok {
		return due
	}
	w.due[r] = false // Names lead in no circle; if they did, nothing of it would be due.
	any := false
	for namer := range w.index.namers[r.Key] {
		if !w.index.names(namer, r) {
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
