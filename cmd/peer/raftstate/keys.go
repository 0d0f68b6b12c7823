package raftstate

import (
	"context"
	"sync"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
)

// keys are the pins that are being written at this peer: each by any number of writes, or by one that
// has a condition. It is safe for concurrent use.
type keys struct {
	mu    sync.Mutex
	inUse map[cid.Cid]*keyUse
}

type keyUse struct {
	writes int
	held   chan struct{} // Closed when the write with a condition has ended; nil: there is none.
}

func newKeys() *keys { return &keys{inUse: make(map[cid.Cid]*keyUse)} }

// begin enters a write, and waits for one with a condition.
func (k *keys) begin(ctx context.Context, key api.Cid) (end func(), err error) {
	for {
		held := k.enter(key)
		if held == nil {
			return func() { k.leave(key) }, nil
		}
		select {
		case <-held:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (k *keys) enter(key api.Cid) (held <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	use := k.inUse[key.Cid]
	switch {
	case use == nil:
		k.inUse[key.Cid] = &keyUse{writes: 1}
	case use.held != nil:
		return use.held
	default:
		use.writes++
	}
	return nil
}

func (k *keys) leave(key api.Cid) {
	k.mu.Lock()
	defer k.mu.Unlock()
	use := k.inUse[key.Cid]
	if use.writes--; use.writes == 0 {
		delete(k.inUse, key.Cid)
	}
}

// hold enters a write with a condition if there is no other write to the key. Others wait until release
// is called.
func (k *keys) hold(key api.Cid) (release func(), free bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.inUse[key.Cid] != nil {
		return nil, false
	}
	held := make(chan struct{})
	k.inUse[key.Cid] = &keyUse{held: held}
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.inUse, key.Cid)
		close(held)
	}, true
}
