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

// Withholds reports whether the state may have a record under a key that the view does not show: of a
// pin that is hidden, or is to be read again because it was.
func (x *Index) Withholds(key cid.Cid) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	_, hidden := x.hidden[key]
	_, reread := x.reread[key]
	return hidden || reread
}

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

// IsKept reports whether a pin is hidden, in that revision.
func (x *Index) IsKept(r pinrecord.Replaced) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.live(r)
}

// Kept are the hidden pins that names lead to from a pin, those that it names first.
func (x *Index) Kept(key cid.Cid) []cid.Cid {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var kept []cid.Cid
	seen := map[cid.Cid]struct{}{key: {}}
	for queue := []cid.Cid{key}; len(queue) > 0; queue = queue[1:] {
		for _, n := range x.named[queue[0]] {
			if _, ok := seen[n.Key]; ok || !n.orphaned.IsZero() || !x.live(n.Replaced) {
				continue
			}
			seen[n.Key] = struct{}{}
			kept, queue = append(kept, n.Key), append(queue, n.Key)
		}
	}
	return kept
}

// Unread is a pin whose record has to be read before it is known whether another keeps it.
type Unread struct {
	Key cid.Cid
	// Behind says that this peer has an older revision than the one that was replaced.
	Behind bool
}

// Unread are the pins to which names lead from a pin, of which it is not known whether they are there
// in the revision that was replaced. There may be more when these have been read.
func (x *Index) Unread(key cid.Cid) (unread []Unread) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	seen := map[cid.Cid]struct{}{key: {}}
	for queue := []cid.Cid{key}; len(queue) > 0; queue = queue[1:] {
		for _, n := range x.named[queue[0]] {
			if _, ok := seen[n.Key]; ok {
				continue
			}
			seen[n.Key] = struct{}{}
			if x.live(n.Replaced) {
				queue = append(queue, n.Key)
				continue
			}
			_, again := x.reread[n.Key]
			row, ok := x.cfg.View.Get(n.Key)
			behind := ok && row.CID.Equals(n.Key) && !row.Revised && row.Created.UnixMilli() < n.Revision
			if again || behind {
				unread = append(unread, Unread{n.Key, behind})
			}
		}
	}
	return unread
}

// KeptOnlyBy are the pins of Kept to which names lead from no other visible pin. A pin
// comes after those that its record names.
func (x *Index) KeptOnlyBy(key cid.Cid) []pinrecord.Replaced {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if len(x.named[key]) == 0 {
		return nil
	}
	// Every other visible pin holds on to what it has replaced.
	w := x.walk(&x.graph, func(namer cid.Cid) bool { return namer.Equals(key) })
	for _, n := range x.named[key] {
		w.add(n.Replaced)
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

// Due returns the hidden pins that are due to be unpinned: every visible pin from which
// names lead to it is pinned, or keeps a newer hidden one that is. A pin comes after those
// that its record names. They are all there: from a part of them nobody could tell how long
// one is due.
func (x *Index) Due() []pinrecord.Replaced {
	if !x.HasHidden() {
		return nil
	}
	g := x.snapshot()
	g.link()
	w := x.walk(&g, x.pinned)
	for key, revision := range g.hidden {
		w.add(pinrecord.Replaced{Key: key, Revision: revision})
	}
	return w.list
}

// IsDue reports whether a pin is hidden and due now, and the pins that its record names
// are not.
func (x *Index) IsDue(r pinrecord.Replaced) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	w := x.walk(&x.graph, x.pinned)
	w.add(r)
	return len(w.list) > 0 && w.list[0] == r
}

// pinned reports whether a visible pin is pinned.
func (x *Index) pinned(key cid.Cid) bool {
	m, ok := x.cfg.View.Lookup(key)
	return ok && m.Status == pinsvc.StatusPinned
}
