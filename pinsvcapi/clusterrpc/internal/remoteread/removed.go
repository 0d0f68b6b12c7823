package remoteread

import (
	"context"
	"slices"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
)

// maxRemoved bounds the removals that are remembered; those of the longest ago are
// forgotten. They take about 200 bytes each.
const maxRemoved = 1 << 14

// Removed are the pins that this peer saw removed not long ago, with when their records were
// written last. A peer that still has one of them is behind; one that
// has a newer record, or a pin made anew of the same content, is not. It is safe for
// concurrent use.
type Removed struct {
	mu      sync.Mutex
	written *simplelru.LRU[removedPin, writing]
}

// removedPin is one pin of a content: made anew, it has another creation time.
type removedPin struct {
	key     string
	created int64 // Unix milliseconds
}

// writing is when a record was written: in which second, and by which request (pinset.Pin.Revision).
type writing struct {
	second   int64
	revision uint16
}

// after reports whether a record was written later than another. The requests of one second are less
// than half of all revisions apart, which begin anew each minute.
func (w writing) after(other writing) bool {
	return w.second > other.second || w.second == other.second && int16(w.revision-other.revision) > 0
}

// NewRemoved returns an empty table.
func NewRemoved() *Removed {
	written, err := simplelru.NewLRU[removedPin, writing](maxRemoved, nil)
	if err != nil {
		panic(err) // The size is positive.
	}
	return &Removed{written: written}
}

// Add notes that a pin was removed.
func (r *Removed) Add(pin pinset.Pin) {
	key := removedPin{pin.CID.KeyString(), pin.Created.UnixMilli()}
	r.mu.Lock()
	defer r.mu.Unlock()
	last := writing{int64(pin.Written), pin.Revision}
	if before, ok := r.written.Get(key); ok && before.after(last) {
		last = before
	}
	r.written.Add(key, last)
}

// has reports whether a record of another peer is one that this peer saw removed.
func (r *Removed) has(rec api.Pin) bool {
	created, _ := pinrecord.CreatedOf(rec)
	r.mu.Lock()
	defer r.mu.Unlock()
	written, ok := r.written.Peek(removedPin{rec.Cid.KeyString(), created.UnixMilli()})
	return ok && !writing{rec.Timestamp.Unix(), uint16(pinrecord.RevisionOf(rec))}.after(written)
}

// removed reports whether a record of another peer is one that this peer knows to be removed: it
// has seen that, or its state says so.
func (r *Reader) removed(ctx context.Context, by peer.ID, rec api.Pin) bool {
	if r.cfg.Removed.has(rec) {
		return true
	}
	buried, err := r.cfg.Buried(ctx, rec.Cid)
	if err != nil {
		return false // A state that cannot be read contradicts nobody.
	}
	return slices.ContainsFunc(buried, func(old api.Pin) bool { return r.same(by, rec, old) })
}
