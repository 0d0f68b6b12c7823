package clusterrpc

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
)

// pending knows the writes that the cluster accepted from this peer and that
// its own state does not show yet: with CRDT batching until the batch is
// committed, on a Raft follower until the log has come back. Who wrote
// through this peer reads what was written.
//
// An entry goes when the state shows it, when the state shows something that
// is newer (a write of another peer), or when it is too old.
type pending struct {
	now func() time.Time

	mu     sync.Mutex
	writes map[cid.Cid]*pendingWrite
	seq    uint64
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
	since  time.Time
}

// absent is the form of a state key that has no record.
const absent = ""

func newPending(now func() time.Time) *pending {
	return &pending{now: now, writes: make(map[cid.Cid]*pendingWrite)}
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
		return rec, found
	}
	return w.rec, !w.gone
}

// wrote tells of an accepted write: after is the record as submitted, or
// gone; before is what the state had when it was submitted.
func (p *pending) wrote(key cid.Cid, before string, after api.Pin, gone bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seq++
	w := &pendingWrite{
		rec: after, gone: gone, want: form(after, !gone), seq: p.seq, since: p.now(),
		stale: map[string]struct{}{before: {}},
	}
	if last, ok := p.writes[key]; ok {
		maps.Copy(w.stale, last.stale)
		w.stale[last.want] = struct{}{}
		_, w.cyclic = w.stale[w.want]
	}
	p.writes[key] = w
}

// snapshot are the writes of this moment, by state key, for a walk over the
// whole state. The entries must not be changed.
func (p *pending) snapshot() map[cid.Cid]*pendingWrite {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.writes) == 0 {
		return nil
	}
	return maps.Clone(p.writes)
}

// has reports whether a write to the key is pending.
func (p *pending) has(key cid.Cid) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.writes[key]
	return ok
}

// expire forgets entries older than age and returns those that the state
// never showed.
func (p *pending) expire(age time.Duration) []cid.Cid {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lost []cid.Cid
	for key, w := range p.writes {
		if p.now().Sub(w.since) <= age {
			continue
		}
		delete(p.writes, key)
		if !w.cyclic {
			lost = append(lost, key)
		}
	}
	return lost
}

// settle reads the state of every pending key, which ends those that it
// shows, and forgets those that are too old.
func (b *Backend) settle(ctx context.Context) {
	for key := range b.pending.snapshot() {
		if _, _, err := b.record(ctx, api.NewCid(key)); err != nil {
			return // The state is away; so it shows nothing.
		}
	}
	for _, key := range b.pending.expire(b.opts.PendingTimeout) {
		log.Warnf("the cluster accepted a change of pin %s and did not make it within %s", key, b.opts.PendingTimeout)
	}
}
