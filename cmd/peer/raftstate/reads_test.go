//go:build !race || nocheckptr

package raftstate

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// U118: while Raft makes a snapshot, which takes seconds with many pins, nobody could read.
func TestConsensus_ReadsDoNotWaitForASnapshot(t *testing.T) {
	t.Parallel()
	const trailing = 32
	m := members(t, 1, 0, smallLog(trailing))[0]
	noError(t, m.ours.LogPin(t.Context(), version(1, "read")))
	noError(t, m.named(1, "read"))
	gate := newHold()
	m.disk.listed.Store(gate)
	defer gate.end(nil)
	for n := 2; n < trailing; n++ {
		noError(t, m.ours.LogPin(t.Context(), version(n, "")))
	}
	await.Closed(t, "a snapshot", gate.reached)
	for range 3 {
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		st, err := m.ours.State(ctx)
		cancel()
		noError(t, err)
		t.Logf("the state was there after %s", time.Since(began).Round(time.Millisecond))
		pin, err := st.Get(t.Context(), cidOf(1))
		noError(t, err)
		if pin.Name != "read" {
			t.Errorf("the pin is %q", pin.Name)
		}
	}
}

// The state is not complete while a snapshot is restored.
func TestConsensus_ReadsWaitForARestore(t *testing.T) {
	t.Parallel()
	m := members(t, 1, 0, nil)[0]
	noError(t, m.ours.LogPin(t.Context(), version(1, "read")))
	noError(t, m.named(1, "read"))
	m.ours.reads.mu.Lock()
	m.ours.reads.pending = &stateRead{done: make(chan struct{})} // One that upstream does not answer.
	m.ours.reads.mu.Unlock()
	noError(t, m.named(1, "read"))
	m.ours.store.beginRestore()
	ctx, cancel := context.WithTimeout(t.Context(), 10*stateWait)
	defer cancel()
	if _, err := m.ours.State(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a read during a restore: %v", err)
	}
	m.ours.store.abandonRestore()
	noError(t, m.named(1, "read"))
}
