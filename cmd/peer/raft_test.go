//go:build !race || nocheckptr

// Raft keeps its log in github.com/boltdb/bolt, whose pointer arithmetic the
// race detector takes for a fault. `make test` builds that package without the
// check (-gcflags=github.com/boltdb/bolt=-d=checkptr=0 -tags=nocheckptr).

package peer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Raft without a quorum is waited for, and said so; a second peer makes one.
func TestRaftWaitsForAQuorum(t *testing.T) {
	server := rpcOfID(t, firstID)
	one := upstreamFiles(t, "raft", "", noAPIs, externalNode(t, server))
	two := upstreamFiles(t, "raft", "", noAPIs, externalNode(t, server))
	idOf := func(files Files) peer.ID { return loaded(t, files).Helper.Identity().ID }
	peers := []string{idOf(one).String(), idOf(two).String()}
	for _, files := range []Files{one, two} {
		editFile(t, files.Config, func(sections map[string]map[string]any) {
			sections["cluster"]["secret"] = strings.Repeat("cd", 32)
			sections["consensus"]["raft"].(map[string]any)["init_peerset"] = peers
		})
	}
	first, seen := newPeer(t, one)
	noError(t, first.Start(t.Context()))
	eventually(t, "saying what is missing", func() error {
		return seen.has(StageConsensus, "1 of 2 Raft peers are here, 2 are needed; away: "+peers[1])
	})
	// Longer than the wait after which upstream gives up.
	eventually(t, "waiting on", func() error {
		seen.mu.Lock()
		defer seen.mu.Unlock()
		last := seen.all[len(seen.all)-1]
		if last.Stage != StageConsensus || last.Elapsed < 3*time.Second {
			return fmt.Errorf("last event: %v", last)
		}
		return nil
	})
	addr := first.network.host.Addrs()[0].String() + "/p2p/" + first.ID().String()
	editFile(t, two.Config, func(sections map[string]map[string]any) {
		sections["cluster"]["peer_addresses"] = []string{addr}
	})
	second, _ := newPeer(t, two)
	noError(t, second.Start(t.Context()))
	await(t, "readiness of the first", first.Ready())
	await(t, "readiness of the second", second.Ready())
}

// A Raft peer joins another by bootstrapping to it, and ends when it is
// removed from the cluster again.
func TestRaftPeerJoinsAndIsRemoved(t *testing.T) {
	node := externalNode(t, rpcOfID(t, firstID))
	secret := func(sections map[string]map[string]any) { sections["cluster"]["secret"] = strings.Repeat("01", 32) }
	first, _ := newPeer(t, upstreamFiles(t, "raft", "", noAPIs, node, secret))
	noError(t, first.Start(t.Context()))
	await(t, "readiness of the first", first.Ready())

	opts := Options{Configuration: configuration(t, upstreamFiles(t, "raft", "", noAPIs, node, secret))}
	bootstrapTo(first)(&opts)
	second, err := New(t.Context(), opts)
	noError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- second.Run(context.Background()) }()
	await(t, "readiness of the second", second.Ready())

	noError(t, first.cluster.PeerRemove(t.Context(), second.ID()))
	select {
	case err := <-ended:
		if !errors.Is(err, ErrRemoved) {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(deadline):
		t.Fatal("the removed peer goes on")
	}
}
