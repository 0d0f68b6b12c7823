//go:build !race || nocheckptr

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

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
)

func version(n int, name string) api.Pin {
	pin := api.PinCid(cidOf(n))
	pin.Name, pin.Timestamp = name, time.Unix(1_700_000_000, 0)
	return pin
}

// changed reports whether a write to one version found another one: at other peers only the text is left.
func changed(err error) bool {
	return err != nil && strings.Contains(err.Error(), clusterrpc.ErrChanged.Error())
}

func TestConsensus_ChangesOneVersionAlone(t *testing.T) {
	t.Parallel()
	all := members(t, 3, 0, nil)
	for i, m := range all {
		noError(t, m.consensus.LogPin(t.Context(), version(i, "new")))
		before, other := clustertest.ConditionOn(version(i, "new")), clustertest.ConditionOn(version(i, "old"))
		if err := m.ours.unpinIf(t.Context(), cidOf(i), other); !changed(err) {
			t.Errorf("peer %d: the removal of another version: %v", i, err)
		}
		if err := m.ours.pinIf(t.Context(), version(i, "newer"), other); !changed(err) {
			t.Errorf("peer %d: a write in the place of another version: %v", i, err)
		}
		noError(t, m.expect(map[api.Cid]api.Pin{cidOf(i): version(i, "new")}))
		noError(t, m.ours.pinIf(t.Context(), version(i, "newer"), before))
		noError(t, m.expect(map[api.Cid]api.Pin{cidOf(i): version(i, "newer")}))
		noError(t, m.ours.unpinIf(t.Context(), cidOf(i), clustertest.ConditionOn(version(i, "newer"))))
		if _, err := m.get(cidOf(i)); !errors.Is(err, state.ErrNotFound) {
			t.Errorf("peer %d: after the removal: %v", i, err)
		}
		if err := m.ours.pinIf(t.Context(), version(i, "newer"), before); !changed(err) {
			t.Errorf("peer %d: a write in the place of no record: %v", i, err)
		}
		noError(t, m.ours.unpinIf(t.Context(), cidOf(i), before))
	}
}

// What another peer writes while one version is removed or replaced stays, whichever comes first.
func TestConsensus_AWriteBesideTheChangeOfAnOldVersionStays(t *testing.T) {
	t.Parallel()
	all := members(t, 3, 0, nil)
	asked := make(map[api.Cid]api.Pin)
	made := 0
	for n := range 60 {
		old := clustertest.ConditionOn(version(n, "old"))
		noError(t, all[n%3].consensus.LogPin(t.Context(), version(n, "old")))
		var wg sync.WaitGroup
		var failed error
		wg.Go(func() {
			if n%2 == 0 {
				failed = all[n%3].ours.unpinIf(t.Context(), cidOf(n), old)
			} else {
				failed = all[n%3].ours.pinIf(t.Context(), version(n, "repaired"), old)
			}
		})
		wg.Go(func() {
			time.Sleep(time.Duration(n%12) * time.Millisecond) // To meet every step of the other one.
			if err := all[(n/3+1)%3].consensus.LogPin(t.Context(), version(n, "accepted")); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		switch {
		case failed == nil:
			made++
		case !changed(failed):
			t.Error(failed)
		}
		asked[cidOf(n)] = version(n, "accepted")
	}
	t.Logf("%d of 60 old versions were changed first", made)
	for i, m := range all {
		await.Success(t, fmt.Sprint("peer ", i), func() error { return m.expect(asked) })
	}
}

// A leader of ipfs-cluster-service cannot compare: the content stays.
func TestConsensus_NothingOfOneVersionIsChangedByALeaderThatCannotCompare(t *testing.T) {
	t.Parallel()
	all := members(t, 3, 2, nil)
	m := all[2]
	noError(t, again(func() error { return m.consensus.LogPin(t.Context(), version(1, "old")) }))
	if leader(t, all) == m {
		m.kill()
		await.Success(t, "another leader", func() error {
			if id, err := all[0].consensus.Leader(context.Background()); err != nil || id == m.id {
				return fmt.Errorf("%s: %w", id, err)
			}
			return nil
		})
		m.listen()
		m.start(all)
		m.awaitSync()
	}
	if leader(t, all) == m {
		t.Fatal("it is the leader")
	}
	if err := m.ours.unpinIf(t.Context(), cidOf(1), clustertest.ConditionOn(version(1, "old"))); !changed(err) {
		t.Errorf("the removal returned %v", err)
	}
	noError(t, m.consensus.LogPin(t.Context(), version(2, "next")))
	if rec, err := m.get(cidOf(1)); err != nil || rec.Name != "old" {
		t.Errorf("the state has %q: %v", rec.Name, err)
	}
}
