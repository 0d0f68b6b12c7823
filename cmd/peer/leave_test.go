//go:build !race || nocheckptr

package peer

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

func leaves(sections map[string]map[string]any) { sections["cluster"]["leave_on_shutdown"] = true }

// A peer that is alone cannot leave. The pins of a Raft peer were gone then.
func TestPeer_TheOnlyPeerKeepsItsPinsWhenItLeaves(t *testing.T) {
	for kind, engine := range map[string]string{"raft": "", "crdt": "pebble"} {
		t.Run(kind, func(t *testing.T) {
			files := upstreamFiles(t, kind, engine, without([2]string{"api", "restapi"}, [2]string{"api", "ipfsproxy"}),
				externalNode(t, rpcOfID(t, firstID)), leaves)
			start := func() (*Peer, string) {
				p, _ := newPeer(t, files)
				noError(t, p.Start(t.Context()))
				await.Closed(t, "readiness", p.Ready())
				return p, "http://" + p.PinsvcAddrs()[0]
			}
			p, url := start()
			content, body := contentCID(t, 1), `{"cid":"`+contentCID(t, 1)+`"}`
			var answer any
			await.Success(t, "POST", func() error {
				return request(http.MethodPost, url+"/pins", "application/json", strings.NewReader(body), &answer)
			})
			noError(t, p.Stop(context.Background()))
			_, url = start()
			noError(t, request(http.MethodGet, url+"/pins/"+content, "", nil, &answer))
		})
	}
}

// A Raft peer that is to leave, and finds no leader, stops within the limit of the cluster's stop, keeps what was
// accepted, and is a member again when it is started with the others.
func TestPeer_RaftLeavesWithoutALeader(t *testing.T) {
	c := newRaftCluster(t, 3, func(sections map[string]map[string]any) {
		sections["consensus"]["raft"].(map[string]any)["wait_for_leader_timeout"] = "15s" // The default.
	})
	editFile(t, c.files[2].Config, leaves)
	c.startAll()
	content := contentCID(t, 1)
	var answer any
	await.Success(t, "POST", func() error {
		return request(http.MethodPost, c.pinsvc(2)+"/pins", "application/json", strings.NewReader(`{"cid":"`+content+`"}`), &answer)
	})
	for _, p := range c.running[:2] {
		noError(t, p.Stop(context.Background()))
	}
	await.True(t, "no leader", func() bool {
		_, err := c.running[2].consensus.Leader(t.Context())
		return err != nil
	})
	began := time.Now()
	noError(t, c.running[2].Stop(context.Background()))
	took := time.Since(began)
	t.Logf("stopped within %s", took.Round(time.Millisecond))
	if limit := clusterStopLimit - 10*time.Second; took > limit {
		t.Errorf("the stop took %s, want at most %s", took, limit)
	}
	clear(c.addrs)
	c.startAll()
	for i := range c.running {
		await.Success(t, fmt.Sprint("the pin at peer ", i), func() error {
			return request(http.MethodGet, c.pinsvc(i)+"/pins/"+content, "", nil, &answer)
		})
	}
}

// A peer that leaves looks whether it is a member while it shuts down, as often as it can: upstream's deadlocks then (U122).
func TestPeer_RaftLeavesAsItIsStopped(t *testing.T) {
	c := newRaftCluster(t, 3, func(sections map[string]map[string]any) {
		sections["cluster"]["peer_watch_interval"] = "1ms"
	})
	editFile(t, c.files[2].Config, leaves)
	c.startAll()
	began := time.Now()
	noError(t, c.running[2].Stop(context.Background()))
	if took := time.Since(began); took > clusterStopLimit/2 {
		t.Errorf("the stop took %s", took)
	}
	await.Success(t, "the others are left", func() error {
		members, err := c.running[0].consensus.Peers(t.Context())
		if err == nil && len(members) != 2 {
			err = fmt.Errorf("there are the members %v", members)
		}
		return err
	})
}
