//go:build !race || nocheckptr

// Raft keeps its log in github.com/boltdb/bolt, whose pointer arithmetic the race detector takes
// for a fault; see cmd/peer/raft_test.go.

package raftstate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/libp2p/go-libp2p/core/network"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// U30: what a pin leaves empty was filled from the entry before it.
func TestConsensus_RecordsAreWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			all := members(t, n, 0, nil)
			s := newShapes(t, all)
			asked := make(map[api.Cid]api.Pin)
			for range 300 {
				m := all[s.IntN(n)]
				c := cidOf(s.IntN(100))
				if was, ok := asked[c]; ok && s.IntN(4) == 0 {
					noError(t, again(func() error { return m.consensus.LogUnpin(t.Context(), was) }))
					delete(asked, c)
					if _, err := m.get(c); err != state.ErrNotFound {
						t.Fatalf("after its removal at this peer: %v", err)
					}
					continue
				}
				pin := s.pin(c)
				noError(t, again(func() error { return m.consensus.LogPin(t.Context(), pin) }))
				asked[c] = pin
				// Read your writes, at a follower too.
				if err := m.expect(map[api.Cid]api.Pin{c: pin}); n == 1 && len(asked) == 1 && err != nil {
					t.Fatal(err)
				}
				got, err := m.get(c)
				noError(t, err)
				if got.Name != pin.Name {
					t.Fatalf("at once: name %q, want %q", got.Name, pin.Name)
				}
			}
			for i, m := range all {
				await.Success(t, fmt.Sprint("peer ", i), func() error { return m.expect(asked) })
				m.clean()
			}
			// The op of a restarted peer starts empty: with U30 it applies other records.
			for i, m := range all {
				m.restart(all)
				m.awaitSync()
				if err := m.expect(asked); err != nil {
					t.Errorf("peer %d after its restart: %v", i, err)
				}
			}
		})
	}
}

// U31: the pins that Raft hands to the tracker were written to meanwhile, which ends a process.
func TestTracker_TakesNothingThatRaftWritesTo(t *testing.T) {
	t.Parallel()
	const clients, each = 64, 8
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			all := members(t, n, 0, nil)
			var wg sync.WaitGroup
			for client := range clients {
				m := all[client%n]
				wg.Go(func() {
					for i := range each {
						pin := api.PinCid(cidOf(client*each + i))
						pin.Name = fmt.Sprint(client, " ", i)
						pin.Timestamp = time.Now()
						pin.Allocations = append(pin.Allocations, all[i%n].id)
						pin.Metadata = map[string]string{fmt.Sprint("key", i): pin.Name, "common": pin.Name}
						if err := again(func() error { return m.consensus.LogPin(t.Context(), pin) }); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			for _, m := range all {
				await.Success(t, "tracking all", func() error { return m.follows(clients * each) })
				m.clean()
			}
		})
	}
}

// follows compares what the tracker was told last with the state.
func (m *member) follows(n int) error {
	pins := m.list()
	m.tracker.mu.Lock()
	defer m.tracker.mu.Unlock()
	if len(pins) != n || len(m.tracker.tracked) != n {
		return fmt.Errorf("%d pins in the state, %d tracked, want %d", len(pins), len(m.tracker.tracked), n)
	}
	for c, name := range m.tracker.tracked {
		if pins[c].Name != name {
			return fmt.Errorf("pin %s is tracked as %q and is %q", c, name, pins[c].Name)
		}
	}
	return nil
}

// U33: a restarted peer was ready while its log was still being applied.
func TestConsensus_WaitForSyncWaitsForTheLog(t *testing.T) {
	t.Parallel()
	const pins, clients = 3000, 32
	all := members(t, 1, 0, nil)
	m := all[0]
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			for i := client; i < pins; i += clients {
				pin := api.PinCid(cidOf(i))
				pin.Timestamp = time.Now()
				if err := m.consensus.LogPin(t.Context(), pin); err != nil {
					t.Error(err)
				}
				if i%3 == 0 {
					if err := m.consensus.LogUnpin(t.Context(), pin); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	want := m.list()
	for range 3 {
		m.kill()
		m.listen()
		m.start(all)
		m.awaitSync()
		if err := m.expect(want); err != nil || len(want) != pins/3*2 {
			t.Fatalf("of %d pins: %v", len(want), err)
		}
	}
}

// U103: a restart applies the log again, and unpinned what was removed and added since, for a moment.
func TestTracker_ARestartUnpinsNothingThatIsPinned(t *testing.T) {
	t.Parallel()
	const pins = 20
	m := members(t, 1, 0, nil)[0]
	want := make(map[api.Cid]api.Pin)
	for i := range pins {
		pin := api.PinCid(cidOf(i))
		noError(t, m.consensus.LogPin(t.Context(), pin))
		noError(t, m.consensus.LogUnpin(t.Context(), pin))
		if i%2 == 0 {
			noError(t, m.consensus.LogPin(t.Context(), pin))
			want[pin.Cid] = pin
		}
	}
	m.kill() // Its snapshot is older than all of that.
	m.listen()
	m.start([]*member{m})
	m.awaitSync()
	noError(t, m.expect(want))
	await.Success(t, "the tracker follows", func() error { return m.follows(len(want)) })
	await.True(t, "what is gone is unpinned", func() bool {
		m.tracker.mu.Lock()
		defer m.tracker.mu.Unlock()
		return len(m.tracker.left) >= pins-len(want)
	})
	m.tracker.mu.Lock()
	defer m.tracker.mu.Unlock()
	for _, c := range m.tracker.left {
		if _, pinned := want[c]; pinned {
			t.Errorf("%s was unpinned", c)
		}
	}
}

// Pins that cannot be stored were committed, and Raft ended on every peer that applied them.
func TestConsensus_RefusesWhatCannotBeStored(t *testing.T) {
	t.Parallel()
	m := members(t, 1, 0, nil)[0]
	bad := api.PinCid(cidOf(1))
	bad.Name = "\xff"
	if err := m.consensus.LogPin(t.Context(), bad); err == nil {
		t.Error("a name that is not UTF-8 was accepted")
	}
	noError(t, m.consensus.LogPin(t.Context(), api.PinCid(cidOf(2))))
}

// A change whose caller gives up while a follower has not applied it yet is not reported as failed
// for another reason.
func TestConsensus_AwaitEndsWithTheContext(t *testing.T) {
	t.Parallel()
	m := members(t, 1, 0, nil)[0]
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.ours.await(ctx, expected{make(chan struct{}), make(chan struct{})}, cidOf(1), func(api.Pin, error) bool { return false }); err == nil {
		t.Error("no error")
	}
}

// A write that was redirected to a leader that froze waited for as long as its caller.
func TestConsensus_AFrozenLeaderEndsNoDeadline(t *testing.T) {
	t.Parallel()
	all := members(t, 3, 0, nil)
	lead := leader(t, all)
	other := all[0]
	if other == lead {
		other = all[1]
	}
	lead.frozen.Store(true)
	failed := make(chan error, 1)
	began := time.Now()
	go func() { failed <- other.consensus.LogPin(t.Context(), api.PinCid(cidOf(1))) }()
	await.Success(t, "the redirected write", func() error {
		if other.host.Network().Connectedness(lead.id) != network.Connected {
			return errors.New("not connected")
		}
		return nil
	})
	noError(t, lead.consensus.Shutdown(context.Background())) // Its host goes on.
	select {
	case err := <-failed:
		// It is committed after all when this peer is the leader now.
		if err != nil && !strings.Contains(err.Error(), "the change may still take effect") {
			t.Errorf("the write ended with %v", err)
		}
	case <-time.After(deadline):
		t.Fatal("the write goes on")
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the write took %s", took)
	}
	noError(t, other.consensus.LogPin(t.Context(), api.PinCid(cidOf(2))))
}
