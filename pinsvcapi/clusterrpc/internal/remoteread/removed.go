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

// Removed are the pins that this peer saw removed not long ago, with the second in which
// their records were written last. A peer that still has one of them is behind; one that
// has a newer record, or a pin made anew of the same content, is not. It is safe for
// concurrent use.
type Removed struct {
	mu      sync.Mutex
	written *simplelru.LRU[removedPin, uint32]
}

// removedPin is one pin of a content: made anew, it has another creation time.
type removedPin struct {
	key     string
	created int64 // Unix milliseconds
}

// NewRemoved returns an empty table.
func NewRemoved() *Removed {
	written, err := simplelru.NewLRU[removedPin, uint32](maxRemoved, nil)
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
	if before, ok := r.written.Get(key); ok {
		pin.Written = max(pin.Written, before)
	}
	r.written.Add(key, pin.Written)
}

// has reports whether a record of another peer is one that this peer saw removed.
func (r *Removed) has(rec api.Pin) bool {
	created, _ := pinrecord.CreatedOf(rec)
	r.mu.Lock()
	defer r.mu.Unlock()
	written, ok := r.written.Peek(removedPin{rec.Cid.KeyString(), created.UnixMilli()})
	return ok && rec.Timestamp.Unix() <= int64(written)
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
