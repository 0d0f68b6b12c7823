package peer

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/groupcommit"
)

// Four clients at each of three peers rename pins one by one, so that every peer is merging what the
// others do nearly all the time. No rename is refused, or waits for a moment without a merge, which does
// not come: some waited for 10 seconds and were then refused.
func TestCommittedCRDT_SteadyRenamesAtAllPeers(t *testing.T) {
	const clients, pins, steady, pause, longest = 4, 5, 5 * time.Second, 1 * time.Millisecond, 5 * time.Second
	var peers []*replica
	for range 3 {
		peers = append(peers, startReplica(t, openPebbleIn(t, t.TempDir(), vfs.Default), groupcommit.Config{}, peers...))
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var waits []time.Duration
	refused := 0
	ctx, cancel := context.WithTimeout(t.Context(), 4*steady)
	defer cancel()
	want := make([]string, len(peers)*clients*pins)
	end := time.Now().Add(steady)
	for client := range len(peers) * clients {
		all.Go(func() {
			r := peers[client%len(peers)]
			ticker := time.NewTicker(pause)
			defer ticker.Stop()
			for i := 0; time.Now().Before(end); i++ {
				pin := client*pins + i%pins
				name := fmt.Sprintf("client %d, %d", client, i)
				began := time.Now()
				err := r.LogPin(ctx, testPin(pin, name))
				mu.Lock()
				waits = append(waits, time.Since(began))
				if err == nil {
					want[pin] = name
				} else if refused++; refused == 1 {
					t.Errorf("a rename at peer %d: %v", client%len(peers), err)
				}
				mu.Unlock()
				<-ticker.C
			}
		})
	}
	all.Wait()
	slices.Sort(waits)
	t.Logf("%d renames, %d refused; half within %s, 99 %% within %s, all within %s", len(waits), refused,
		waits[len(waits)/2], waits[len(waits)*99/100], waits[len(waits)-1])
	if last := waits[len(waits)-1]; last > longest {
		t.Errorf("a rename took %s", last)
	}
	for _, r := range peers {
		awaitNames(t, r, want...)
	}
	agree(t, peers...)
}
