package clusterrpc

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
)

// pending knows the writes that the cluster accepted from this peer and that
// its own state does not show yet: with CRDT batching until the batch is
// committed, on a Raft follower until the log has come back. Who wrote
// through this peer reads what was written.
//
// An entry goes when the state shows it, or something that is newer (a write
// of another peer). What the state does not show in time is submitted again:
// what was accepted never vanishes.
type pending struct {
	now func() time.Time
	// patience is how long the state may take to show a write.
	patience time.Duration

	mu     sync.Mutex
	writes map[cid.Cid]*pendingWrite
	seq    uint64
	size   atomic.Int64 // of writes, for those who only want to know whether
}

// pendingWrite is the last write to a state key.
type pendingWrite struct {
	rec   api.Pin
	gone  bool                // the write was a removal
	want  string              // what the state will show
	stale map[string]struct{} // what it may show until then
	// cyclic says that the state may show what is wanted before the write
	// has got there, because an earlier write undid the same.
	cyclic bool
	seq    uint64
	// submitted is when it was last, and again how often after the first.
	submitted time.Time
	again     int
	looked    time.Time // when the state was last read for it
	// announced says that a hint told of the write: the cluster has made it.
	announced bool
}

// held is what the state had under a key.
type held struct {
	rec   api.Pin
	found bool
}

// absent is the form of a state key that has no record.
const absent = ""

func newPending(now func() time.Time, patience time.Duration) *pending {
	return &pending{now: now, patience: patience, writes: make(map[cid.Cid]*pendingWrite)}
}

// form is a record as the state keeps it, so that two can be compared.
func form(rec api.Pin, found bool) string {
	if !found {
		return absent
	}
	data, err := rec.ProtoMarshal()
	if err != nil {
		// Only a peer ID that cannot be marshalled fails, and it would
		// have failed in the cluster before.
		return "unreadable"
	}
	return string(data)
}

// mark is taken before the state is read, for resolve.
func (p *pending) mark() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seq
}

// resolve turns what the state said, when it was read after mark, into what
// holds.
func (p *pending) resolve(key cid.Cid, mark uint64, rec api.Pin, found bool) (api.Pin, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w, ok := p.writes[key]
	if !ok {
		return rec, found
	}
	now := form(rec, found)
	if _, stale := w.stale[now]; !stale || now == w.want && !w.cyclic {
		if w.seq > mark {
			// The state was read before this write was known, so what it
			// said tells nothing of the write.
			return w.rec, !w.gone
		}
		delete(p.writes, key)
		p.size.Add(-1)
		return rec, found
	}
	return w.rec, !w.gone
}

// underway are the forms that the state may show, now or later, because of
// writes before the next one; none when it shows all of them.
func (p *pending) underway(key cid.Cid) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	w, ok := p.writes[key]
	if !ok {
		return nil
	}
	return append(slices.Collect(maps.Keys(w.stale)), w.want)
}

// wrote tells of an accepted write: after is the record as submitted, or
// gone; before is what the state had when it was submitted, and underway what
// underway said then: what was under way may have got there since, and be
// forgotten, before the state shows this write.
func (p *pending) wrote(key cid.Cid, before held, after api.Pin, gone bool, underway ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seq++
	now := p.now()
	w := &pendingWrite{
		rec: after, gone: gone, want: form(after, !gone), seq: p.seq, submitted: now, looked: now,
		stale: map[string]struct{}{form(before.rec, before.found): {}},
	}
	for _, form := range underway {
		w.stale[form] = struct{}{}
	}
	if last, ok := p.writes[key]; ok {
		maps.Copy(w.stale, last.stale)
		w.stale[last.want] = struct{}{}
		_, w.cyclic = w.stale[w.want]
	} else {
		p.size.Add(1)
	}
	p.writes[key] = w
}

// resubmitted tells that a write was submitted once more, as that record.
func (p *pending) resubmitted(key cid.Cid, seq uint64, rec api.Pin) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w, ok := p.writes[key]
	if !ok || w.seq != seq {
		return
	}
	p.seq++
	again := *w
	again.rec, again.want, again.seq = rec, form(rec, !w.gone), p.seq
	again.stale = maps.Clone(w.stale)
	again.stale[w.want] = struct{}{}
	again.cyclic, again.announced = false, false
	again.submitted, again.again = p.now(), w.again+1
	p.writes[key] = &again
}

// announced takes what a hint says of a write. Once the cluster has made it,
// another change is of someone else, who comes after, and ends it; the state
// alone does not tell that from a state that does not show the write yet.
func (p *pending) announced(h Hint) {
	if !p.some() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	w, ok := p.writes[h.CID]
	switch {
	case !ok:
	case h.Removed && w.gone, !h.Removed && !w.gone && h.Record == w.want:
		w.announced = true
	case w.announced:
		delete(p.writes, h.CID)
		p.size.Add(-1)
	}
}

// waits says how often a write that the state does not show was submitted
// again; ok is false when the state shows all of this peer's writes to the pin.
func (p *pending) waits(key cid.Cid) (again int, ok bool) {
	if !p.some() {
		return 0, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	w, ok := p.writes[key]
	if !ok {
		return 0, false
	}
	return w.again, true
}

// some reports whether any write is pending.
func (p *pending) some() bool { return p.size.Load() > 0 }

// look returns the keys of writes that the state is to be read for, each
// rarely when it is old.
func (p *pending) look() []cid.Cid {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	var keys []cid.Cid
	for key, w := range p.writes {
		if now.Sub(w.looked) >= max(now.Sub(w.submitted)/8, lookAgain) {
			w.looked = now
			keys = append(keys, key)
		}
	}
	return keys
}

// lookAgain is the shortest time between two looks for one write.
const lookAgain = 500 * time.Millisecond

// late returns the writes that it is time to submit again: after the patience
// at first, then after longer and longer. The entries must not be changed.
func (p *pending) late() map[cid.Cid]*pendingWrite {
	p.mu.Lock()
	defer p.mu.Unlock()
	var late map[cid.Cid]*pendingWrite
	now := p.now()
	for key, w := range p.writes {
		if now.Sub(w.submitted) >= p.patience<<min(w.again, 6) {
			if w.announced {
				// It was made, and undone since.
				delete(p.writes, key)
				p.size.Add(-1)
				continue
			}
			if late == nil {
				late = make(map[cid.Cid]*pendingWrite)
			}
			w.cyclic = false // By now all that was accepted before is made.
			late[key] = w
		}
	}
	return late
}

// has reports whether a write to the key is pending.
func (p *pending) has(key cid.Cid) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.writes[key]
	return ok
}

// settle reads the state for pending writes, which ends those that it shows,
// and submits again those that it should have shown by now.
func (b *Backend) settle(ctx context.Context) {
	for _, key := range b.pending.look() {
		if _, _, err := b.feed.refresh(ctx, api.NewCid(key)); err != nil {
			return // The state is away; so it shows nothing.
		}
	}
	for key, w := range b.pending.late() {
		if ctx.Err() != nil {
			return
		}
		if err := b.submitAgain(ctx, key, w); err != nil {
			log.Warnf("submit the change of pin %s again: %s", key, err)
		}
	}
}

// submitAgain submits a write that the state does not show, unless it does by
// now.
func (b *Backend) submitAgain(ctx context.Context, key cid.Cid, w *pendingWrite) error {
	unlock, err := b.locks.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	if _, _, err := b.feed.refresh(ctx, api.NewCid(key)); err != nil {
		return err
	}
	if _, ok := b.pending.waits(key); !ok {
		return nil
	}
	log.Warnf("the cluster accepted a change of pin %s and has not made it within %s: it is submitted again", key, b.pending.patience)
	ctx, cancel := b.writing(ctx)
	defer cancel()
	rec := w.rec
	if w.gone {
		if err = b.cluster.logUnpin(ctx, rec.Cid); isNotFound(err) {
			err = nil
		}
	} else {
		rec, err = b.cluster.pin(ctx, rec)
	}
	// A failure is tried again no sooner than a loss.
	b.pending.resubmitted(key, w.seq, rec)
	return err
}
