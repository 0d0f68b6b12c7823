package peerstatus

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/ipfs/go-cid"
)

// maxRewrites bounds the pins of which is known when they were rewritten.
const maxRewrites = 1 << 13

// rewrites are the pins whose records were seen to be rewritten a moment ago, by this peer's
// monotonic clock: the time in a record is that of the wall clock of the peer that wrote it.
type rewrites struct {
	mu   sync.Mutex
	seen *simplelru.LRU[cid.Cid, time.Time]
}

func newRewrites() *rewrites {
	seen, err := simplelru.NewLRU[cid.Cid, time.Time](maxRewrites, nil)
	if err != nil {
		panic(err) // The size is positive.
	}
	return &rewrites{seen: seen}
}

func (r *rewrites) add(key cid.Cid, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen.Add(key, now)
}

// fresh reports whether a record was rewritten less than trackerLag ago.
func (r *rewrites) fresh(key cid.Cid, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.seen.Peek(key)
	if !ok {
		return false
	}
	if now.Sub(at).Abs() >= trackerLag {
		r.seen.Remove(key)
		return false
	}
	return true
}
