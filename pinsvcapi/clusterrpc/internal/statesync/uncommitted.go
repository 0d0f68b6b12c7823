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
)

// Uncommitted has the writes that the cluster accepted from this peer and that its
// state does not show yet. It is safe for concurrent use.
type Uncommitted struct {
	now func() time.Time
	// commitTime is how long the state may take to show a write.
	commitTime time.Duration
	// durable: an accepted write is never lost, so none is submitted again. See
	// Config.Durable.
	durable bool

	mu     sync.Mutex
	writes map[cid.Cid]*uncommittedWrite
	bytes  int
	seq    uint64
	size   atomic.Int64 // of writes, readable without the lock

	resubmissions atomic.Uint64
}

// uncommittedWrite is all that is uncommitted of one key, made one write.
type uncommittedWrite struct {
	after    Versioned
	form     uint64              // of after: what the state will show
	earlier  map[uint64]struct{} // forms that the state may show until then
	mutation Mutation
	// cleared: an uncommitted removal came before, so the mutation keeps nothing of the
	// record that the state may still have.
	cleared bool
	// repeats: form is among the earlier ones, because an earlier write undid the
	// same, so the state may show it before this write is committed.
	repeats bool
	seq     uint64
	// submitted is when the write was last submitted, and resubmitted how often
	// after the first time.
	submitted   time.Time
	resubmitted int
	readAt      time.Time // when the state was last read for it
	// announced: an event reported the write, so later events are of newer changes.
	announced bool
}

// NewUncommitted returns an empty table. commitTime is how long the state may take to
// show a write before it is submitted again; durable is as in Config.
func NewUncommitted(now func() time.Time, commitTime time.Duration, durable bool) *Uncommitted {
	return &Uncommitted{now: now, commitTime: commitTime, durable: durable, writes: make(map[cid.Cid]*uncommittedWrite)}
}

// CommitTime is how long the state may take to show a write.
func (u *Uncommitted) CommitTime() time.Duration { return u.commitTime }

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
func (u *Uncommitted) add(write Write) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.seq++
	now := u.now()
	last, ok := u.writes[write.Key]
	if !ok {
		last = &uncommittedWrite{earlier: make(map[uint64]struct{})}
	} else {
		last.earlier[last.form] = struct{}{}
		u.bytes -= last.after.size()
	}
	w := &uncommittedWrite{
		after: write.After, form: write.After.form(), earlier: last.earlier,
		mutation: write.Mutation.after(last.mutation), seq: u.seq, submitted: now, readAt: now,
	}
	for _, form := range write.Outstanding {
		w.earlier[form] = struct{}{}
	}
	w.earlier[write.Before.form()] = struct{}{}
	if ok {
		_, w.repeats = w.earlier[w.form]
		w.cleared = last.cleared || !last.after.Found
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
		w.announced = true
	case w.announced:
		u.drop(e.CID, w)
	}
}

// Resubmitted is how often the uncommitted write to a key was submitted again;
// pending is false when the state shows all writes to the key.
func (u *Uncommitted) Resubmitted(key cid.Cid) (times int, pending bool) {
	if !u.Any() {
		return 0, false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	w, ok := u.writes[key]
	if !ok {
		return 0, false
	}
	return w.resubmitted, true
}

// Any reports whether there is any uncommitted write.
func (u *Uncommitted) Any() bool { return u.size.Load() > 0 }

// Len is the number of keys with an uncommitted write.
func (u *Uncommitted) Len() int { return int(u.size.Load()) }

// Resubmissions is how many writes were submitted again since the start.
func (u *Uncommitted) Resubmissions() uint64 { return u.resubmissions.Load() }

// DueReads are the keys for which it is time to read the state.
func (u *Uncommitted) DueReads() []cid.Cid {
	if !u.Any() {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.now()
	var keys []cid.Cid
	for key, w := range u.writes {
		if now.Sub(w.readAt) >= max(now.Sub(w.submitted)/8, rereadInterval) {
			w.readAt = now
			keys = append(keys, key)
		}
	}
	return keys
}

// EndOverdue ends the writes of a durable cluster that its state has not shown for so
// long that it never will, and returns their keys: other peers have written since. The
// caller reads the state for them, because readers still have the writes.
func (u *Uncommitted) EndOverdue() (keys []cid.Cid) {
	if !u.durable || !u.Any() {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for key, w := range u.writes {
		// Raft applies a write before it is announced: this one was undone since.
		undone := w.announced && u.overdue(w)
		if undone || u.now().Sub(w.submitted) >= u.commitTime<<durableShift {
			u.drop(key, w)
			keys = append(keys, key)
		}
	}
	return keys
}

// durableShift makes the time after which a durable cluster's state shows a write or
// never will: 64 times the usual one.
const durableShift = 6

// Overdue are the keys whose write the state should have shown by now, none of a durable
// cluster. What to submit is decided by Resubmission, under the lock of the pin.
//
// A write that was announced may be among them: the hooks of a CRDT run before its commit,
// which may fail. If it was committed and undone since, an event has ended it.
func (u *Uncommitted) Overdue() (keys []cid.Cid) {
	if u.durable || !u.Any() {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for key, w := range u.writes {
		if u.overdue(w) {
			keys = append(keys, key)
		}
	}
	return keys
}

// overdue needs the lock. The time doubles with each resubmission.
func (u *Uncommitted) overdue(w *uncommittedWrite) bool {
	return u.now().Sub(w.submitted) >= u.commitTime<<min(w.resubmitted, 6)
}

// Resubmission returns the mutation to apply to the state for an overdue write; ok
// is false when nothing is overdue any more. id is for resubmitted. The caller has
// the lock of the pin, so nobody writes to the key meanwhile.
func (u *Uncommitted) Resubmission(key cid.Cid) (m Mutation, id uint64, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	w, found := u.writes[key]
	if !found || !u.overdue(w) {
		return Mutation{}, 0, false
	}
	w.repeats = false // Whatever was accepted before is committed by now.
	m = w.mutation
	if w.cleared {
		m.Apply = func(Versioned) Versioned { return w.mutation.Apply(Versioned{}) }
	}
	return m, w.seq, true
}

// Settled ends an overdue write for which there is nothing to submit: the state has
// what the mutation would make of it.
func (u *Uncommitted) Settled(key cid.Cid, id uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if w, ok := u.writes[key]; ok && w.seq == id {
		u.drop(key, w)
	}
}

// WasResubmitted enters that a write was submitted again, as after.
func (u *Uncommitted) WasResubmitted(key cid.Cid, id uint64, after Versioned) {
	u.resubmissions.Add(1)
	u.mu.Lock()
	defer u.mu.Unlock()
	w, ok := u.writes[key]
	if !ok || w.seq != id {
		return
	}
	u.seq++
	u.bytes += after.size() - w.after.size()
	w.earlier[w.form] = struct{}{}
	w.after, w.form, w.seq = after, after.form(), u.seq
	w.repeats, w.announced = false, false
	w.submitted = u.now()
	w.resubmitted++
}
