package delegates

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"pgregory.net/rapid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
)

const relayID = "12D3KooWSHj3RRbBjD15g6wekV8y3mm57Pobmps2g2WJm6F67Lay"

func nodeWith(t testing.TB, addresses ...string) api.IPFSID {
	t.Helper()
	node := api.IPFSID{ID: clusterfake.Self()}
	for _, text := range addresses {
		addr, err := api.NewMultiaddr(text)
		if err != nil {
			t.Fatal(err)
		}
		node.Addresses = append(node.Addresses, addr)
	}
	return node
}

func TestUsable_AndChoose_TakeTheBestAddressesOfANode(t *testing.T) {
	p2p := "/p2p/" + clusterfake.Self().String()
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
		{"not what nobody can dial", []string{"/ip4/0.0.0.0/tcp/4001", "/ip6/fe80::1/tcp/4001", p2p}, nil},
		{"none", nil, nil},
	}
	for _, tt := range tests {
		got := choose([][]address{usable(nodeWith(t, tt.addresses...))})
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	unavailable := nodeWith(t, public)
	unavailable.Error = "connection refused"
	if got := usable(unavailable); got != nil {
		t.Errorf("a node that is unavailable has %v", got)
	}
}

// TestChoose_ManyPeers draws peers with any numbers of addresses.
func TestChoose_ManyPeers(t *testing.T) {
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
