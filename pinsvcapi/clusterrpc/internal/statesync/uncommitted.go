package statesync

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

const (
	// maxUncommitted and maxUncommittedBytes bound the uncommitted writes, and
	// maxEarlier those to one key.
	maxUncommitted      = 1 << 16
	maxUncommittedBytes = 128 << 20
	maxEarlier          = 1 << 12
	// rereadInterval is the shortest time between two reads of the state for one
	// write. An old write is checked more rarely.
	rereadInterval = 500 * time.Millisecond
	// giveUpShift makes the time after which the state shows a write or never will:
	// 64 times the usual one. A Raft follower may be that far behind.
	giveUpShift = 6
	// maxStep bounds the time that counts between two calls of Age. A process that
	// was frozen has not waited: the cluster has not had that time either.
	maxStep = 5 * time.Second
)

// Uncommitted has the writes that the cluster accepted from this peer and that its
// state does not show yet. It is safe for concurrent use.
type Uncommitted struct {
	now func() time.Time
	// commitTime is how long the state usually takes to show a write, at most.
	commitTime time.Duration

	mu     sync.Mutex
	writes map[cid.Cid]*uncommittedWrite
	bytes  int
	seq    uint64
	size   atomic.Int64 // of writes, readable without the lock
	aged   time.Time    // when Age was last called

	lost atomic.Uint64
}

// uncommittedWrite is all that is uncommitted of one key, made one write.
type uncommittedWrite struct {
	after   Versioned
	form    uint64              // of after: what the state will show
	earlier map[uint64]struct{} // forms that the state may show until then
	// repeats: form is among the earlier ones, because an earlier write undid the
	// same, so the state may show it before this write is committed.
	repeats bool
	seq     uint64
	waited  time.Duration // while this process ran
	readAt  time.Duration // of waited: when the state was last read for it
	// announced: an event reported the write, so later events are of newer changes. The
	// state may not show it yet. announcedAt is the time of waited at which it came.
	announced   bool
	announcedAt time.Duration
}

// undone reports whether a write was announced so long ago that the state had it, and was
// undone since. The announcement comes before the commit, and may come long after the write
// was accepted.
func (w *uncommittedWrite) undone(commitTime time.Duration) bool {
	return w.announced && w.waited-w.announcedAt >= commitTime
}

// NewUncommitted returns an empty table. commitTime is how long the state usually takes
// to show a write, at most.
func NewUncommitted(now func() time.Time, commitTime time.Duration) *Uncommitted {
	return &Uncommitted{now: now, commitTime: commitTime, writes: make(map[cid.Cid]*uncommittedWrite), aged: now()}
}

// Room returns an error of KindUnavailable when the table has no room for another
// write to the key.
func (u *Uncommitted) Room(key cid.Cid) error {
	if !u.Any() {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	w, ok := u.writes[key]
	switch {
	case ok && len(w.earlier) >= maxEarlier:
		return pinsvc.Errorf(pinsvc.KindUnavailable,
			"%d changes of the pin wait for their commit (consensus.crdt.batching.max_batch_age); no more are taken until then", len(w.earlier))
	case !ok && (len(u.writes) >= maxUncommitted || u.bytes >= maxUncommittedBytes):
		return pinsvc.Errorf(pinsvc.KindUnavailable,
			"%d accepted writes wait for their commit (consensus.crdt.batching.max_batch_age); no more are taken until then", len(u.writes))
	}
	return nil
}

// Sequence is the number of the last write. It is taken before the state is read, for
// Resolve.
func (u *Uncommitted) Sequence() uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.seq
}

// Resolve lays the uncommitted write to a key over what the state showed when it
// was read after the write number seq. A write that the state shows, or something newer, is over.
func (u *Uncommitted) Resolve(key cid.Cid, seq uint64, current Versioned) Versioned {
	if !u.Any() {
		return current
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	w, ok := u.writes[key]
	if !ok {
		return current
	}
	form := current.form()
	if _, earlier := w.earlier[form]; earlier && (form != w.form || w.repeats) {
		return w.after
	}
	if w.seq > seq {
		return w.after // The state was read before the write was known.
	}
	u.drop(key, w)
	return current
}

// drop needs the lock.
func (u *Uncommitted) drop(key cid.Cid, w *uncommittedWrite) {
	delete(u.writes, key)
	u.bytes -= w.after.size()
	u.size.Store(int64(len(u.writes)))
}

// Outstanding are the forms that the state may show, now or later, because of
// uncommitted writes to the key; none when it shows all of them.
func (u *Uncommitted) Outstanding(key cid.Cid) []uint64 {
	if !u.Any() {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	w, ok := u.writes[key]
	if !ok {
		return nil
	}
	return append(slices.Collect(maps.Keys(w.earlier)), w.form)
}

// add enters an accepted write.
func (u *Uncommitted) add(write Write, outstanding []uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.seq++
	last, ok := u.writes[write.Key]
	if !ok {
		last = &uncommittedWrite{earlier: make(map[uint64]struct{})}
	} else {
		last.earlier[last.form] = struct{}{}
		u.bytes -= last.after.size()
	}
	w := &uncommittedWrite{after: write.After, form: write.After.form(), earlier: last.earlier, seq: u.seq}
	for _, form := range outstanding {
		w.earlier[form] = struct{}{}
	}
	w.earlier[write.Before.form()] = struct{}{}
	if ok {
		_, w.repeats = w.earlier[w.form]
	}
	u.writes[write.Key] = w
	u.bytes += w.after.size()
	u.size.Store(int64(len(u.writes)))
}

// announced enters an event. Once a write was announced, another change is someone
// else's and newer; the state alone does not distinguish such a change from one
// before the write.
func (u *Uncommitted) announced(e Event) {
	if !u.Any() {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	w, ok := u.writes[e.CID]
	switch {
	case !ok:
	case w.repeats: // The event may be that of the earlier write that did the same.
	case e.Removed && !w.after.Found, !e.Removed && w.after.Found && e.Form == w.form:
		if !w.announced {
			w.announced, w.announcedAt = true, w.waited
		}
	case w.announced:
		u.drop(e.CID, w)
	}
}

// Pending reports whether the state does not show all writes to the key yet.
func (u *Uncommitted) Pending(key cid.Cid) bool {
	if !u.Any() {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	_, ok := u.writes[key]
	return ok
}

// Any reports whether there is any uncommitted write.
func (u *Uncommitted) Any() bool { return u.size.Load() > 0 }

// Len is the number of keys with an uncommitted write.
func (u *Uncommitted) Len() int { return int(u.size.Load()) }

// Lost is how many accepted writes the state never showed, since the start.
func (u *Uncommitted) Lost() uint64 { return u.lost.Load() }

// Age counts the time since its last call, which a loop makes about once a second. due
// are the keys for which it is time to read the state; over are those whose write has
// ended because the state has not shown it for so long that it never will. The caller
// reads the state for the latter too, because readers still have the writes.
//
// A write is never submitted again: how much time passed is no evidence that the
// cluster lost it, and a second copy would undo what others wrote after the first.
func (u *Uncommitted) Age() (due, over []cid.Cid) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.now()
	step := min(max(now.Sub(u.aged), 0), maxStep)
	u.aged = now
	for key, w := range u.writes {
		w.waited += step
		if w.waited >= u.commitTime {
			w.repeats = false // The earlier write is committed by now.
		}
		switch {
		case w.waited >= u.commitTime<<giveUpShift, w.undone(u.commitTime):
			if !w.announced {
				u.lost.Add(1)
			}
			u.drop(key, w)
			over = append(over, key)
		case w.waited-w.readAt >= max(w.waited/8, rereadInterval):
			w.readAt = w.waited
			due = append(due, key)
		}
	}
	return due, over
}
