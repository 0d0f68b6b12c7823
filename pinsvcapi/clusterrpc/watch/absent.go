package watch

import (
	"context"
	"fmt"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
)

// UntrackAbsent has the inner tracker remove a pin, unless the state has it for this peer to hold or the
// tracker is pinning it: a record can be read a moment after its Track (U40 in
// docs/upstream-faults.md). begun reports whether it does. What the state shows later is followed, as after
// every removal. It does not wait for the IPFS node.
func (t *Tracker) UntrackAbsent(ctx context.Context, c api.Cid) (begun bool, err error) {
	unlock, err := t.keys.Lock(ctx, c.KeyString())
	if err != nil {
		return false, err
	}
	defer unlock()
	// First, because the IPFS node is asked for the status of what this peer is to hold.
	if _, wanted, err := t.read(ctx, c.Cid); err != nil || wanted {
		return false, err
	}
	switch t.PinTracker.Status(ctx, c).Status {
	case api.TrackerStatusPinQueued, api.TrackerStatusPinning:
		return false, nil
	}
	// And last, so that nothing is between this and the removal.
	if _, wanted, err := t.read(ctx, c.Cid); err != nil || wanted {
		return false, err
	}
	if err := t.PinTracker.Untrack(ctx, c); err != nil {
		return false, fmt.Errorf("unpin %s: %w", c, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watchRemoval(&removal{key: c.Cid, since: time.Now()})
	return true, nil
}
