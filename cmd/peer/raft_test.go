//go:build !race || nocheckptr

// Raft keeps its log in github.com/boltdb/bolt, whose pointer arithmetic the
// race detector takes for a fault. `make test` builds that package without the
// check (-gcflags=github.com/boltdb/bolt=-d=checkptr=0 -tags=nocheckptr).

package peer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// Raft without a quorum is waited for, and said so; a second peer makes one.
func TestReadyConsensus_RaftWaitsForAQuorum(t *testing.T) {
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
	await.Success(t, "saying what is missing", func() error {
		return seen.has(StageConsensus, "1 of 2 Raft peers are connected, 2 are needed; unreachable: "+peers[1])
	})
	// Longer than the wait after which upstream gives up.
	await.Success(t, "waiting on", func() error {
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
	await.Closed(t, "readiness of the first", first.Ready())
	await.Closed(t, "readiness of the second", second.Ready())
}

// A Raft peer joins another by bootstrapping to it, and ends when it is
// removed from the cluster again.
func TestPeer_RaftJoinsAndIsRemoved(t *testing.T) {
	node := externalNode(t, rpcOfID(t, firstID))
	secret := func(sections map[string]map[string]any) { sections["cluster"]["secret"] = strings.Repeat("01", 32) }
	first, _ := newPeer(t, upstreamFiles(t, "raft", "", noAPIs, node, secret))
	noError(t, first.Start(t.Context()))
	await.Closed(t, "readiness of the first", first.Ready())

	opts := Options{Configuration: configuration(t, upstreamFiles(t, "raft", "", noAPIs, node, secret))}
	bootstrapTo(first)(&opts)
	second, err := New(t.Context(), opts)
	noError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- second.Run(context.Background()) }()
	await.Closed(t, "readiness of the second", second.Ready())

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

// Raft peers that lose their quorum report it, refuse changes soon and go on to
// serve lists; they accept changes again once the quorum is back.
func TestComponentHealth_RaftLosesItsQuorum(t *testing.T) {
	server := rpcOfID(t, firstID)
	all := make([]Files, 3)
	peers := make([]string, len(all))
	for i := range all {
		all[i] = upstreamFiles(t, "raft", "", without([2]string{"api", "restapi"}, [2]string{"api", "ipfsproxy"}), externalNode(t, server))
		peers[i] = loaded(t, all[i]).Helper.Identity().ID.String()
	}
	running := make([]*Peer, len(all))
	var addrs []string
	start := func(i int) {
		editFile(t, all[i].Config, func(sections map[string]map[string]any) {
			sections["cluster"]["secret"] = strings.Repeat("ab", 32)
			sections["cluster"]["peer_addresses"] = addrs
			sections["consensus"]["raft"].(map[string]any)["init_peerset"] = peers
		})
		running[i], _ = newPeer(t, all[i])
		noError(t, running[i].Start(t.Context()))
		addrs = append(addrs, running[i].network.host.Addrs()[0].String()+"/p2p/"+peers[i])
	}
	for i := range all {
		start(i)
	}
	for i := range all {
		await.Closed(t, "readiness of peer "+peers[i], running[i].Ready())
	}
	url := "http://" + running[0].PinsvcAddrs()[0]
	var answer map[string]any
	await.Success(t, "ready", func() error { return request(http.MethodGet, url+"/ready", "", nil, &answer) })
	if err := (componentHealth{running[0]}).Consensus(); err != nil {
		t.Errorf("with a leader: %v", err)
	}

	for _, p := range running[1:] {
		noError(t, p.Stop(context.Background()))
	}
	const reason = "no Raft leader: 1 of 3 Raft peers are connected, 2 are needed"
	refused := func(method, path, body string) func() error {
		return func() error {
			err := request(method, url+path, "application/json", strings.NewReader(body), &answer)
			if err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), reason) {
				return fmt.Errorf("%s %s: %v", method, path, err)
			}
			if strings.Contains(err.Error(), peers[1]) {
				t.Errorf("clients see peer IDs: %v", err)
			}
			return nil
		}
	}
	await.Success(t, "not ready", refused(http.MethodGet, "/ready", ""))
	const pin = `{"cid":"bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"}`
	for range 2 {
		began := time.Now()
		noError(t, refused(http.MethodPost, "/pins", pin)())
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("the refusal took %s", took)
		}
	}
	noError(t, request(http.MethodGet, url+"/pins", "", nil, &answer))
	if err := (componentHealth{running[0]}).Consensus(); err == nil || !strings.Contains(err.Error(), peers[1]) {
		t.Errorf("the log does not name the unreachable peer: %v", err)
	}

	addrs = addrs[:1]
	start(1)
	await.Success(t, "ready again", func() error { return request(http.MethodGet, url+"/ready", "", nil, &answer) })
}
