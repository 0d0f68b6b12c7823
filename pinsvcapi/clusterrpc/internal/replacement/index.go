package replacement

import (
	"slices"
	"sync"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
)

// graceTime is how long pins stay hidden after the record that named them was removed:
// news of their own removal may come later.
const graceTime = 10 * time.Second

// Config is what an Index needs. All fields but OnHidden are required.
type Config struct {
	Tracker *peerstatus.Tracker
	View    *pinset.View
	Now     func() time.Time
	// OnLost is called with the key of a record that does not name a pin any more that
	// it has to name: another tool, or a concurrent write at another peer, took the name
	// away. It must not call the index.
	OnLost func(cid.Cid)
	// OnHidden is called with each pin that becomes hidden. It must not call the index.
	OnHidden func(pinset.Pin)
}

// Index knows which pins others have replaced, and passes all other records on to a
// tracker. It is a statesync.Sink, and safe for concurrent use. Its lock is taken before
// that of the view.
type Index struct {
	cfg Config

	mu sync.RWMutex
	graph
	// reread are pins whose record has to be read again.
	reread map[cid.Cid]struct{}
}

// name is a pin that the record of another names as replaced.
type name struct {
	pinrecord.Replaced
	// orphaned is when the record was removed; zero: it is there.
	orphaned time.Time
	// over is when the named revision was first seen to be gone; zero: it is there.
	over time.Time
}

// New returns an index that knows of no record.
func New(cfg Config) *Index {
	if cfg.OnHidden == nil {
		cfg.OnHidden = func(pinset.Pin) {}
	}
	return &Index{
		cfg: cfg, graph: newGraph(), reread: make(map[cid.Cid]struct{}),
	}
}

// PutRecord implements statesync.Sink.
func (x *Index) PutRecord(rec api.Pin, rewritten bool) {
	names := pinrecord.ReplacedBy(rec)
	if len(names) == 0 && x.putUninvolved(rec, rewritten) {
		return
	}
	if x.put(rec, names, rewritten) {
		x.cfg.OnLost(rec.Cid.Cid)
	}
}

// putUninvolved passes a record on that no other names and that names none.
func (x *Index) putUninvolved(rec api.Pin, rewritten bool) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if len(x.named)+len(x.reread) > 0 {
		_, names := x.named[rec.Cid.Cid]
		_, hidden := x.hidden[rec.Cid.Cid]
		_, reread := x.reread[rec.Cid.Cid]
		if names || hidden || reread || x.isNamed(pinrecord.Replaced{Key: rec.Cid.Cid, Revision: pinrecord.RevisionOf(rec)}) {
			return false
		}
	}
	x.cfg.Tracker.PutRecord(rec, rewritten)
	return true
}

func (x *Index) put(rec api.Pin, names []pinrecord.Replaced, rewritten bool) (lost bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	key := rec.Cid.Cid
	lost = x.setNames(key, names)
	gone := x.toHide(key)
	delete(x.reread, key)
	if revision := pinrecord.RevisionOf(rec); x.isNamed(pinrecord.Replaced{Key: key, Revision: revision}) {
		x.hidden[key] = revision
		row := x.cfg.Tracker.Row(rec)
		x.cfg.Tracker.ObserveTimes(rec, row)
		x.cfg.OnHidden(row)
		for _, c := range append(gone, key) {
			x.cfg.Tracker.DeleteRecord(c)
		}
		return lost
	}
	x.show(key)
	x.cfg.Tracker.PutInPlaceOf(rec, rewritten, gone)
	return lost
}

// setNames enters what a record names. A pin that it named before, that is still there
// and not requested anew, stays named: the record has lost the name. It needs the lock.
func (x *Index) setNames(key cid.Cid, names []pinrecord.Replaced) (lost bool) {
	list := make([]name, 0, len(names))
	for _, r := range names {
		list = append(list, name{Replaced: r})
	}
	for _, n := range x.named[key] {
		i := slices.Index(names, n.Replaced)
		switch {
		case i >= 0:
			list[i].over = n.over
		case x.live(n.Replaced):
			list = append(list, n)
			lost = lost || n.orphaned.IsZero()
		}
	}
	x.setList(key, list)
	return lost
}

// toHide are the pins of the view that a record names; they are entered as hidden. A pin
// whose revision the view does not know is read again. It needs the lock.
func (x *Index) toHide(key cid.Cid) (gone []cid.Cid) {
	for _, n := range x.named[key] {
		row, ok := x.cfg.View.Get(n.Key)
		switch {
		case !ok || !row.CID.Equals(n.Key):
		case row.Revised:
			x.reread[n.Key] = struct{}{}
		case row.Created.UnixMilli() == n.Revision:
			x.hidden[n.Key] = n.Revision
			x.cfg.OnHidden(row)
			gone = append(gone, n.Key)
		}
	}
	return gone
}

// Hide hides the pin of a record that was read before another replaced it: of a pin that was revised
// the view does not have the whole revision, so that the record which names it did not hide it. It
// returns false when the view has another record of the pin by now, which is to be read.
func (x *Index) Hide(rec api.Pin) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	key, revision := rec.Cid.Cid, pinrecord.RevisionOf(rec)
	row, ok := x.cfg.View.Get(key)
	if !ok || !row.CID.Equals(key) {
		return true // It is hidden, or was removed.
	}
	read := x.cfg.Tracker.Row(rec)
	if row.Revision != read.Revision || row.Written != read.Written || !row.Created.Equal(read.Created) ||
		!x.isNamed(pinrecord.Replaced{Key: key, Revision: revision}) {
		return false
	}
	delete(x.reread, key)
	x.hidden[key] = revision
	x.cfg.OnHidden(row)
	x.cfg.Tracker.DeleteRecord(key)
	return true
}

// DeleteRecord implements statesync.Sink.
func (x *Index) DeleteRecord(key cid.Cid) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.show(key)
	delete(x.reread, key)
	if list, ok := x.named[key]; ok {
		now := x.cfg.Now()
		list = slices.DeleteFunc(slices.Clone(list), func(n name) bool { return !x.live(n.Replaced) })
		for i := range list {
			if list[i].orphaned.IsZero() {
				list[i].orphaned = now
			}
		}
		x.setList(key, list)
	}
	x.cfg.Tracker.DeleteRecord(key)
}

// show ends that a pin is hidden. It needs the lock.
func (x *Index) show(key cid.Cid) {
	delete(x.hidden, key)
	delete(x.complete, key)
}

// Keys implements statesync.Sink.
func (x *Index) Keys(each func(key string)) {
	x.mu.RLock()
	hidden := make([]string, 0, len(x.hidden))
	for key := range x.hidden {
		hidden = append(hidden, key.KeyString())
	}
	x.mu.RUnlock()
	for _, key := range hidden {
		each(key)
	}
	x.cfg.Tracker.Keys(each)
}

// Compact implements statesync.Sink.
func (x *Index) Compact() { x.cfg.Tracker.Compact() }

// Refresh enters what time does, and returns the pins whose record the caller has to read
// again. It is called again and again.
func (x *Index) Refresh() (reread []cid.Cid) {
	now := x.cfg.Now()
	aged := x.aged(now)
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, key := range aged {
		x.age(key, now)
	}
	for key := range x.reread {
		reread = append(reread, key)
	}
	return reread
}

// aged are the records of which time changes a name. There are few, and many names.
func (x *Index) aged(now time.Time) (keys []cid.Cid) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for key, list := range x.named {
		if slices.ContainsFunc(list, func(n name) bool { return n.expired(now) || x.live(n.Replaced) != n.over.IsZero() }) {
			keys = append(keys, key)
		}
	}
	return keys
}

// age enters what time does to the names of a record. It needs the lock.
func (x *Index) age(key cid.Cid, now time.Time) {
	before := x.named[key]
	list := slices.Clone(before)
	for i := range list {
		switch n := &list[i]; {
		case x.live(n.Replaced):
			n.over = time.Time{}
		case n.over.IsZero():
			n.over = now
		}
	}
	x.setList(key, slices.DeleteFunc(list, func(n name) bool { return n.expired(now) }))
	for _, n := range before {
		if x.live(n.Replaced) && !x.isNamed(n.Replaced) {
			x.show(n.Key)
			x.reread[n.Key] = struct{}{}
		}
	}
}

func (n name) expired(now time.Time) bool {
	return !n.orphaned.IsZero() && now.Sub(n.orphaned) >= graceTime
}
