package clusterrpc

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"
	"pgregory.net/rapid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

const relayID = "12D3KooWSHj3RRbBjD15g6wekV8y3mm57Pobmps2g2WJm6F67Lay"

func nodeWith(t testing.TB, addresses ...string) api.IPFSID {
	t.Helper()
	node := api.IPFSID{ID: me}
	for _, text := range addresses {
		addr, err := api.NewMultiaddr(text)
		if err != nil {
			t.Fatal(err)
		}
		node.Addresses = append(node.Addresses, addr)
	}
	return node
}

func TestDelegatesAreTheBestAddressesOfANode(t *testing.T) {
	p2p := "/p2p/" + me.String()
	const (
		public, dns, relayed = "/ip4/1.2.3.4/tcp/4001", "/dns4/node.example.net/tcp/443/wss", "/ip4/5.6.7.8/tcp/4001/p2p/" + relayID + "/p2p-circuit"
		private, loopback    = "/ip4/192.168.1.2/tcp/4001", "/ip4/127.0.0.1/tcp/4001"
	)
	tests := []struct {
		name      string
		addresses []string
		want      []string
	}{
		{"public ones alone", []string{loopback, private, relayed, public + p2p, dns}, []string{public + p2p, dns + p2p}},
		{"a relay beats what is behind NAT", []string{private, relayed + p2p, loopback}, []string{relayed + p2p}},
		{"private ones when there is nothing better", []string{loopback, private}, []string{private + p2p}},
		{"loopback when there is nothing else", []string{loopback, "/ip6/::1/tcp/4001"}, []string{loopback + p2p, "/ip6/::1/tcp/4001" + p2p}},
		{"each once", []string{public, public + p2p, public}, []string{public + p2p}},
		{"not those of another node", []string{public + "/p2p/" + relayID, private}, []string{private + p2p}},
		{"not what nobody can dial", []string{"/ip4/0.0.0.0/tcp/4001", "/ip6/fe80::1/tcp/4001", "/p2p/" + me.String()}, nil},
		{"none", nil, nil},
	}
	for _, tt := range tests {
		got := choose([][]address{usable(nodeWith(t, tt.addresses...))})
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	away := nodeWith(t, public)
	away.Error = "connection refused"
	if got := usable(away); got != nil {
		t.Errorf("a node that is away has %v", got)
	}
}

// TestDelegatesOfManyPeers draws peers with any numbers of addresses.
func TestDelegatesOfManyPeers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var groups [][]address
		any, public := 0, false
		for p := range rapid.IntRange(0, 30).Draw(t, "peers") {
			var group []address
			for a := range rapid.IntRange(0, 12).Draw(t, "addresses") {
				class := rapid.SampledFrom([]addressClass{addressPublic, addressPrivate}).Draw(t, "class")
				group = append(group, address{fmt.Sprintf("%d/peer %d/%d", class, p, a), class})
				any++
				public = public || class == addressPublic
			}
			slices.SortStableFunc(group, func(a, b address) int { return int(a.class) - int(b.class) })
			groups = append(groups, group)
		}
		got := choose(groups)
		if len(got) > maxDelegates || (len(got) == 0) != (any == 0) {
			t.Fatalf("%d delegates of %d addresses", len(got), any)
		}
		var peers []string
		for i, d := range got {
			if slices.Contains(got[:i], d) {
				t.Fatalf("%s twice", d)
			}
			if public && !strings.HasPrefix(d, "0/") {
				t.Fatalf("%s although there are public ones", d)
			}
			name := strings.Split(d, "/")[1]
			if len(peers) == 0 || peers[len(peers)-1] != name {
				if slices.Contains(peers, name) {
					t.Fatalf("the addresses of %s are not together", name)
				}
				peers = append(peers, name)
			}
		}
	})
}

func TestDelegatesAreAskedForOnceAndRefreshedInTheBackground(t *testing.T) {
	s := newServices()
	var clock fakeClock
	d := &delegates{
		cluster: cluster{s.client(t)}, now: clock.now, timeout: time.Second,
		tasks: newTasks(), known: make(map[peer.ID]*nodeAddresses),
	}
	t.Cleanup(d.tasks.close)
	for range 5 {
		if got := d.of(t.Context(), []peer.ID{me}); len(got) != 1 {
			t.Fatalf("%q", got)
		}
	}
	if n := s.called("Cluster.ID"); n != 1 {
		t.Errorf("asked %d times", n)
	}
	s.set(func() { s.id.IPFS = nodeWith(t, "/ip4/203.0.113.8/tcp/4001") })
	clock.advance(delegatesFresh)
	release := s.hang("Cluster.ID")
	if got := d.of(t.Context(), []peer.ID{me}); len(got) != 1 || !strings.Contains(got[0], "203.0.113.7") {
		t.Errorf("while it is asked again: %q", got)
	}
	release()
	until(t, "refreshed", func() bool {
		got := d.of(t.Context(), []peer.ID{me})
		return len(got) == 1 && strings.Contains(got[0], "203.0.113.8")
	})
}

func TestAFrozenPeerCostsDelegatesOneWait(t *testing.T) {
	s := newServices()
	d := &delegates{
		cluster: cluster{s.client(t)}, now: time.Now, timeout: 20 * time.Millisecond,
		tasks: newTasks(), known: make(map[peer.ID]*nodeAddresses),
	}
	release := s.hang("Cluster.ID")
	t.Cleanup(d.tasks.close)
	t.Cleanup(release)
	for range 100 {
		if got := d.of(t.Context(), []peer.ID{me}); len(got) != 0 {
			t.Fatalf("%q", got)
		}
	}
	if n := s.called("Cluster.ID"); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestAPinHasDelegatesAlthoughItsHoldersNeverToldOne(t *testing.T) {
	s := newServices()
	rec := s.held(1)
	b := s.backend(t, Options{StatusTimeout: 20 * time.Millisecond})
	s.fail("Cluster.ID", errBroken)
	s.set(func() {
		rec.Allocations = []peer.ID{"never heard of"}
		s.pins[rec.Cid.Cid] = rec
	})
	st, err := b.Get(t.Context(), "", requestID(rec))
	if err != nil || len(st.Delegates) == 0 {
		t.Errorf("%v %v", st.Delegates, err)
	}
	page, err := pinsvctest.Results(b.List(t.Context(), "", pinsvc.Query{Limit: 10, Statuses: pinsvc.AllStatuses}))
	if err != nil || len(page.Results) != 1 || len(page.Results[0].Delegates) == 0 {
		t.Errorf("%v %v", page, err)
	}
}
