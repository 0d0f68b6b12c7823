package clusterrpc

import (
	"context"
	"sync"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// recoverAgain is the shortest time between two requests to one peer to
	// recover one pin.
	recoverAgain = 30 * time.Second
	// maxRecoveries bounds the requests under way and those remembered.
	maxRecoveries, maxRecovered = 8, 4096
)

// recovery asks peers to try again pins that their IPFS node lost, or that
// failed while it was away. It is best effort and in the background: whatever
// finds no room is asked for when the pin is looked at again, and the
// cluster's own round does the rest.
type recovery struct {
	cluster cluster
	now     func() time.Time
	timeout time.Duration
	tasks   *tasks
	slots   chan struct{}

	mu    sync.Mutex
	asked map[bookKey]time.Time
}

// ask has a peer recover a pin, unless that was asked for just now.
func (r *recovery) ask(p peer.ID, key api.Cid) {
	if !r.due(bookKey{key.Cid, p}) {
		return
	}
	select {
	case r.slots <- struct{}{}:
	default:
		return
	}
	r.tasks.start(func(ctx context.Context) {
		defer func() { <-r.slots }()
		ctx, cancel := context.WithTimeout(ctx, r.timeout)
		defer cancel()
		if err := r.cluster.recover(ctx, p, key); err != nil {
			log.Debugf("ask peer %s to recover %s: %s", p, key, err)
		}
	})
}

// due reports whether it is time to ask again, and takes it that it is done.
func (r *recovery) due(key bookKey) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if at, ok := r.asked[key]; ok && now.Sub(at) < recoverAgain {
		return false
	}
	if len(r.asked) >= maxRecovered {
		for key, at := range r.asked {
			if now.Sub(at) >= recoverAgain {
				delete(r.asked, key)
			}
		}
		if len(r.asked) >= maxRecovered {
			return false
		}
	}
	r.asked[key] = now
	return true
}
