//go:build !race || nocheckptr

package raftstate

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/consensus/raft"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// A peer that leaves while there is no leader waited twice for one, which took all of the time of a stop.
func TestConsensus_LeavingWithoutALeaderHasALimit(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]time.Duration{"the default": 15 * time.Second, "a long wait": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := members(t, 3, 0, func(cfg *raft.Config) { cfg.WaitForLeaderTimeout = wait })
			m := all[0]
			noError(t, again(func() error { return m.ours.LogPin(t.Context(), version(1, "accepted")) }))
			for _, other := range all[1:] {
				other.stop()
			}
			await.True(t, "no leader", func() bool {
				_, err := m.ours.Leader(t.Context())
				return err != nil
			})
			began := time.Now()
			if err := m.ours.RmPeer(t.Context(), m.id); err == nil {
				t.Error("it has left")
			}
			took := time.Since(began)
			t.Logf("it was given up after %s", took.Round(time.Millisecond))
			if limit := leaderLimit + 3*time.Second; took > limit {
				t.Errorf("it took %s, want at most %s", took, limit)
			}
			noError(t, m.ours.Shutdown(context.Background()))
			if err := m.ours.Clean(context.Background()); err == nil {
				t.Error("the log of a member was removed")
			}
		})
	}
}

// U119: the log of a peer that was to leave and could not was removed.
func TestConsensus_APeerThatCannotLeaveKeepsItsLog(t *testing.T) {
	t.Parallel()
	all := members(t, 1, 0, nil)
	m := all[0]
	noError(t, again(func() error { return m.ours.LogPin(t.Context(), version(1, "accepted")) }))
	if err := m.ours.RmPeer(t.Context(), m.id); err == nil {
		t.Error("the only peer has left")
	}
	inner := m.ours
	m.stop()
	if err := inner.Clean(context.Background()); err == nil {
		t.Error("the log of a member was removed")
	}
	m.listen()
	m.start(all)
	m.awaitSync()
	noError(t, m.named(1, "accepted"))
}

// A leader that has proposed its removal, and finds too few who accept it, is a member still.
func TestConsensus_ALeaderThatCannotLeaveKeepsItsLog(t *testing.T) {
	t.Parallel()
	all := members(t, 3, 0, nil)
	m := leader(t, all)
	noError(t, again(func() error { return m.ours.LogPin(t.Context(), version(1, "accepted")) }))
	without(all, m)[0].stop() // Of the two that would be left.
	if err := m.ours.RmPeer(t.Context(), m.id); err == nil {
		t.Error("it has left")
	}
	if listed, err := m.ours.Peers(t.Context()); err != nil || slices.Contains(listed, m.id) {
		t.Fatalf("it has not proposed its removal: %v, %v", listed, err)
	}
	noError(t, m.ours.Shutdown(context.Background()))
	if err := m.ours.Clean(context.Background()); err == nil {
		t.Error("the log of a member was removed")
	}
}

// A peer that has left, or that others have removed, begins anew.
func TestConsensus_TheLogOfAPeerThatHasLeftIsRemoved(t *testing.T) {
	t.Parallel()
	all := members(t, 3, 0, nil)
	lead := leader(t, all)
	others := without(all, lead)
	noError(t, again(func() error { return lead.ours.RmPeer(t.Context(), others[0].id) }))
	await.True(t, "the removal", func() bool {
		known, err := others[0].ours.Peers(t.Context())
		return err == nil && !slices.Contains(known, others[0].id)
	})
	noError(t, others[1].ours.RmPeer(t.Context(), others[1].id))
	for i, m := range others {
		noError(t, m.ours.Shutdown(context.Background()))
		if err := m.ours.Clean(context.Background()); err != nil {
			t.Errorf("peer %d: %v", i, err)
		}
	}
}
