package integration

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// allocate pins a CID at one peer alone, through the REST API of another.
func allocate(t *testing.T, at *harness.Peer, cid string, to *harness.Peer, origins ...string) {
	t.Helper()
	args := url.Values{"replication-min": {"1"}, "replication-max": {"1"}, "user-allocations": {to.ID()}}
	if len(origins) > 0 {
		args.Set("origins", strings.Join(origins, ","))
	}
	req, err := http.NewRequest(http.MethodPost, at.RESTEndpoint()+"/pins/"+cid+"?"+args.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := harness.Send(req)
	if err != nil || r.Status != http.StatusOK || !strings.Contains(string(r.Body), fmt.Sprintf(`"allocations":[%q]`, to.ID())) {
		t.Fatalf("%v %d %s", err, r.Status, r.Body)
	}
}

// Without a DHT nobody tells an IPFS node that has just been started where content is: the nodes of
// the other members are asked. The one that has it had it pinned before, and the provider is gone.
func TestMembers_ARestartedNodeGetsContentFromAnotherMember(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	one := h.Peer(harness.InitOptions{Args: []string{"--consensus", "crdt"}})
	two, three := h.Joining(one, "crdt"), h.Joining(one, "crdt")
	for _, peer := range []*harness.Peer{one, two, three} {
		// Upstream's own connections, which it makes once, are made before the restart.
		peer.Edit(func(c harness.Section) {
			c.Section("cluster").Set("monitor_ping_interval", "2s")
			c.Section("ipfs_connector", "ipfshttp").Set("connect_swarms_delay", "2s")
		})
	}
	one.Start()
	two.StartOnly("--bootstrap", one.Address())
	three.StartOnly("--bootstrap", one.Address())
	two.WaitReady()
	three.WaitReady()
	provider, c := holder(t, h)
	allocate(t, one, c.String(), one, originsOf(provider)...)
	one.WaitPinned(c.String())
	want(t, request(t, one, http.MethodDelete, "/pins/"+c.String(), nil), http.StatusAccepted, "")
	provider.Stop()

	harness.Eventually(t, harness.Timeout, "one may allocate to two", func() error {
		req, err := http.NewRequest(http.MethodGet, one.RESTEndpoint()+"/monitor/metrics/freespace", nil)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := harness.Send(req); err != nil || !strings.Contains(string(r.Body), two.ID()) {
			return fmt.Errorf("%w %s", err, r.Body)
		}
		return nil
	})
	harness.Eventually(t, harness.Timeout, "the IPFS nodes are connected", func() error {
		if peers := two.Ipfs("swarm", "peers"); !strings.Contains(peers, strings.TrimSpace(one.Ipfs("config", "Identity.PeerID"))) {
			return fmt.Errorf("two is connected to %s", peers)
		}
		return nil
	})
	before := managedKubo(t, two)
	kill(t, before)
	harness.Eventually(t, harness.ReadyTimeout, "another Kubo runs", func() error {
		if pids := harness.Kubos(two.Dir); len(pids) != 1 || pids[0] == before {
			return harness.ErrNotYet
		}
		return two.Ready()
	})
	began := time.Now()
	allocate(t, one, c.String(), two)
	waitStatus(t, 10*time.Second, one, c.String(), "pinned")
	if held, err := pinned(two, c.String()); err != nil || !held {
		t.Errorf("two has it pinned: %t, %v", held, err)
	}
	t.Logf("pinned after %s", time.Since(began).Round(time.Millisecond))
}
