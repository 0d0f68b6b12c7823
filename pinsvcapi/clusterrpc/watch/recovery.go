package watch

import (
	"context"
	"sync"

	"github.com/ipfs-cluster/ipfs-cluster/api"
)

// HoldRecovery has RecoverAll wait until release is called, by everybody who holds it. The
// Pinning Service API reads the whole shared state at its start, and so does the recovery with
// which the cluster begins.
func (t *Tracker) HoldRecovery() (release func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.holds++; t.holds == 1 {
		t.released = make(chan struct{})
	}
	return sync.OnceFunc(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.holds--; t.holds == 0 {
			close(t.released)
		}
	})
}

// RecoverAll implements ipfscluster.PinTracker.
func (t *Tracker) RecoverAll(ctx context.Context, out chan<- api.PinInfo) error {
	if err := t.awaitRelease(ctx); err != nil {
		close(out)
		return err
	}
	return t.PinTracker.RecoverAll(ctx, out)
}

// awaitRelease waits while recoveries are held.
func (t *Tracker) awaitRelease(ctx context.Context) error {
	for {
		t.mu.Lock()
		held, released := t.holds > 0, t.released
		t.mu.Unlock()
		if !held {
			return nil
		}
		select {
		case <-released:
		case <-ctx.Done():
			return ctx.Err()
		case <-t.ctx.Done():
			return t.ctx.Err()
		}
	}
}
