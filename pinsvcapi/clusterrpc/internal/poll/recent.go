package poll

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
)

const recentShards, recentSlots = 64, 1024

// recent remembers when something happened last to pins at peers, of 65,536 of them in
// 1 MiB. One that needs the place of another takes it: to forget costs a question, no
// more. It is safe for concurrent use.
type recent struct {
	now    func() time.Time
	epoch  time.Time
	seed   maphash.Seed
	shards [recentShards]struct {
		mu    sync.Mutex
		slots []recentSlot
	}
}

type recentSlot struct {
	id uint64
	at time.Duration // since epoch
}

func newRecent(now func() time.Time) *recent {
	return &recent{now: now, epoch: now(), seed: maphash.MakeSeed()}
}

// id identifies a pin at a peer.
func (r *recent) id(key cid.Cid, p peer.ID) uint64 {
	var h maphash.Hash
	h.SetSeed(r.seed)
	h.WriteString(string(p))
	h.WriteString(key.KeyString())
	return max(h.Sum64(), 1) // 0 is an empty slot.
}

// slot needs the lock of the shard.
func (r *recent) slot(id uint64) *recentSlot {
	shard := &r.shards[id%recentShards]
	if shard.slots == nil {
		shard.slots = make([]recentSlot, recentSlots)
	}
	return &shard.slots[id/recentShards%recentSlots]
}

// note notes that it happens now, or happened at a time.
func (r *recent) note(id uint64, at time.Time) {
	mu := &r.shards[id%recentShards].mu
	mu.Lock()
	defer mu.Unlock()
	*r.slot(id) = recentSlot{id, at.Sub(r.epoch)}
}

// within reports whether it happened less than d ago. A clock that was set back makes
// that false.
func (r *recent) within(id uint64, d time.Duration) bool {
	mu := &r.shards[id%recentShards].mu
	mu.Lock()
	defer mu.Unlock()
	s := r.slot(id)
	age := r.now().Sub(r.epoch) - s.at
	return s.id == id && age >= 0 && age < d
}

// take reports whether it did not happen within d, and if so notes that it does now: of
// several callers one gets the turn.
func (r *recent) take(id uint64, d time.Duration) bool {
	mu := &r.shards[id%recentShards].mu
	mu.Lock()
	defer mu.Unlock()
	s, now := r.slot(id), r.now().Sub(r.epoch)
	if age := now - s.at; s.id == id && age >= 0 && age < d {
		return false
	}
	*s = recentSlot{id, now}
	return true
}
