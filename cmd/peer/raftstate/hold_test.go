//go:build !race || nocheckptr

// Raft keeps its log in github.com/boltdb/bolt, whose pointer arithmetic the race detector takes
// for a fault; see cmd/peer/raft_test.go.

package raftstate

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	rpc "github.com/libp2p/go-libp2p-gorpc"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// awaitEntry creates a stopped member and returns when an entry of its log is about to be applied.
func (m *member) awaitEntry(all []*member) {
	m.t.Helper()
	m.listen()
	m.create(all)
	select {
	case <-m.ours.store.hold.reached:
	case <-time.After(deadline):
		m.t.Fatal("no entry came")
	}
}

// U55: a peer that applied its log before it had its RPC client panicked, at every start.
func TestConsensus_AppliesNothingBeforeItHasItsClient(t *testing.T) {
	t.Parallel()
	const pins = 2000
	// One peer waits for an election each time.
	for n, restarts := range map[int]int{1: 3, 3: 20} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			all := members(t, n, 0, nil)
			m := all[0]
			want := write(t, m, 0, pins)
			await.Success(t, "all pins", func() error { return m.expect(want) })
			for range restarts {
				m.kill()
				m.awaitEntry(all)
				m.connect()
				m.awaitSync()
				if err := m.expect(want); err != nil {
					t.Fatal(err)
				}
			}
			await.Success(t, "the tracker", func() error { return m.follows(pins) })
			m.clean()
		})
	}
}

// U55: a peer that is stopped before it had its client ends, and keeps its log and its snapshots.
func TestConsensus_IsStoppedBeforeItHasItsClient(t *testing.T) {
	t.Parallel()
	all := members(t, 1, 0, nil)
	m := all[0]
	want := write(t, m, 0, 1000)
	m.kill()
	m.awaitEntry(all)
	m.stop()
	m.restart(all)
	m.awaitSync()
	if err := m.expect(want); err != nil {
		t.Fatal(err)
	}
}

// lateTracker fails when it is told of a pin before it has its client, as upstream panics.
type lateTracker struct {
	recorder
	connected bool
	early     int
}

func (l *lateTracker) SetClient(*rpc.Client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connected = true
}

func (l *lateTracker) Untrack(ctx context.Context, c api.Cid) error {
	l.mu.Lock()
	if !l.connected {
		l.early++
	}
	l.mu.Unlock()
	return l.recorder.Untrack(ctx, c)
}

// U55: a snapshot that came early was handed to a tracker without a client.
func TestTracker_FollowsASnapshotWhenItHasItsClient(t *testing.T) {
	for _, connect := range []bool{true, false} {
		inner := &lateTracker{recorder: recorder{tracked: map[api.Cid]string{cidOf(1): "old"}}}
		asked, applied := make(chan struct{}, 1), make(chan struct{})
		close(applied)
		empty := emptyState{}
		tracker := NewTracker(inner, func(context.Context) (state.ReadOnly, error) {
			asked <- struct{}{}
			return empty, nil
		}, applied)
		tracker.Restored(Restored{Removed: []api.Cid{cidOf(1)}})
		if connect {
			tracker.SetClient(nil)
			select {
			case <-asked:
			case <-time.After(deadline):
				t.Fatal("the snapshot is not followed")
			}
		}
		if err := tracker.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, kept := inner.tracked[cidOf(1)]; inner.early > 0 || kept == connect {
			t.Errorf("connected %v: told %d times before it had its client, still tracked: %v", connect, inner.early, kept)
		}
	}
}

// emptyState has no pins.
type emptyState struct{ state.ReadOnly }

func (emptyState) Get(context.Context, api.Cid) (api.Pin, error) { return api.Pin{}, state.ErrNotFound }

func TestHold_TheFirstEndCounts(t *testing.T) {
	h := newHold()
	h.end(errNoClient)
	h.end(nil)
	if err := h.wait(); !errors.Is(err, errNoClient) {
		t.Error(err)
	}
}
