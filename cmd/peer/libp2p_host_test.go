package peer

import (
	"context"
	"slices"
	"strings"
	"testing"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/datastore/inmem"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	libp2pnetwork "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

func TestLoopbackOnly(t *testing.T) {
	for _, test := range []struct {
		addrs []string
		want  bool
	}{
		{nil, false},
		{[]string{"/ip4/127.0.0.1/tcp/9096"}, true},
		{[]string{"/ip4/127.1.2.3/tcp/9096", "/ip6/::1/tcp/9096/ws"}, true},
		{[]string{"/ip4/127.0.0.1/tcp/9096", "/ip4/0.0.0.0/tcp/9096"}, false},
		{[]string{"/ip4/192.168.1.2/tcp/9096"}, false},
		{[]string{"/dns4/localhost/tcp/9096"}, false},
	} {
		var addrs []ma.Multiaddr
		for _, addr := range test.addrs {
			addrs = append(addrs, ma.StringCast(addr))
		}
		if got := LoopbackOnly(addrs); got != test.want {
			t.Errorf("LoopbackOnly(%v) = %t", test.addrs, got)
		}
	}
}

// openTestNetwork opens the libp2p side of a peer of its own.
func openTestNetwork(t *testing.T, edits ...edit) *network {
	t.Helper()
	c := loaded(t, upstreamFiles(t, "crdt", "pebble", edits...))
	store := inmem.New()
	ctx, cancel := context.WithCancel(context.Background())
	n, err := openNetwork(ctx, c.Helper.Identity(), c.Helper.Configs().Cluster, store)
	noError(t, err)
	t.Cleanup(func() {
		cancel()
		noError(t, n.close())
		noError(t, store.Close())
	})
	return n
}

// A private host listens on loopback only, and speaks none of the protocols
// that are about the world outside.
func TestOpenNetwork_PrivateHostStaysOnThisMachine(t *testing.T) {
	n := openTestNetwork(t)
	for _, addr := range slices.Concat(n.host.Network().ListenAddresses(), n.host.Addrs()) {
		if !manet.IsIPLoopback(addr) {
			t.Errorf("listens on %s", addr)
		}
	}
	for _, protocol := range n.host.Mux().Protocols() {
		for _, word := range []string{"autonat", "relay", "circuit", "dcutr"} {
			if strings.Contains(string(protocol), word) {
				t.Errorf("speaks %s", protocol)
			}
		}
		// The wide half of the DHT serves nobody, and no name of its own.
		if string(protocol) == "/ipfs/kad/1.0.0" {
			t.Errorf("serves %s", protocol)
		}
	}
	if !slices.Contains(n.host.Mux().Protocols(), "/ipfs/lan/kad/1.0.0") {
		t.Errorf("does not serve the DHT of the cluster, only %v", n.host.Mux().Protocols())
	}
	if got := len(n.dht.WAN.RoutingTable().ListPeers()); got != 0 {
		t.Errorf("knows %d peers of the public DHT", got)
	}
}

// Peers that know one peer find the others through it: upstream's LAN DHT
// hides loopback addresses.
func TestOpenNetwork_PrivateHostsFindEachOther(t *testing.T) {
	secret := func(sections map[string]map[string]any) { sections["cluster"]["secret"] = strings.Repeat("ab", 32) }
	hub, one, other := openTestNetwork(t, secret), openTestNetwork(t, secret), openTestNetwork(t, secret)
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	known := peer.AddrInfo{ID: hub.host.ID(), Addrs: hub.host.Addrs()}
	noError(t, one.host.Connect(ctx, known))
	noError(t, other.host.Connect(ctx, known))
	await.Success(t, "finding the other peer", func() error {
		try, cancel := context.WithTimeout(ctx, deadline/10)
		defer cancel()
		return one.host.Connect(try, peer.AddrInfo{ID: other.host.ID()})
	})
	if one.host.Network().Connectedness(other.host.ID()) != libp2pnetwork.Connected {
		t.Error("not connected")
	}
}

// Only those who know the secret can connect.
func TestOpenNetwork_PrivateHostRequiresTheSecret(t *testing.T) {
	one, stranger := openTestNetwork(t), openTestNetwork(t)
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	if stranger.host.Connect(ctx, peer.AddrInfo{ID: one.host.ID(), Addrs: one.host.Addrs()}) == nil {
		t.Error("a peer with another secret was let in")
	}
}

func TestMessageID_IsThatOfOtherPeers(t *testing.T) {
	from := "0123456789abcdef-and-more"
	if got := messageID(&pb.Message{From: []byte(from), Seqno: []byte{1, 2}}); got != "0123456789abcdef\x01\x02" {
		t.Errorf("id = %q", got)
	}
	if got := messageID(&pb.Message{From: []byte("short"), Seqno: []byte{1}}); got != "short\x01" {
		t.Errorf("id = %q", got)
	}
}

func TestAnnouncedAddrs(t *testing.T) {
	addrs := func(list ...string) (out []ma.Multiaddr) {
		for _, addr := range list {
			out = append(out, ma.StringCast(addr))
		}
		return out
	}
	own := addrs("/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.2/tcp/1", "/ip4/127.1.0.1/tcp/1")
	for _, test := range []struct {
		name                   string
		announce, silent, want []ma.Multiaddr
	}{
		{"own", nil, nil, own},
		{"others", addrs("/ip4/127.0.0.9/tcp/9"), nil, addrs("/ip4/127.0.0.9/tcp/9")},
		{"not one", nil, addrs("/ip4/127.0.0.2/tcp/1"), addrs("/ip4/127.0.0.1/tcp/1", "/ip4/127.1.0.1/tcp/1")},
		{"not a range", nil, addrs("/ip4/127.0.0.0/ipcidr/16"), addrs("/ip4/127.1.0.1/tcp/1")},
	} {
		announced, err := announcedAddrs(&ipfscluster.Config{AnnounceAddr: test.announce, NoAnnounceAddr: test.silent})
		noError(t, err)
		if got := announced(slices.Clone(own)); !slices.EqualFunc(got, test.want, func(a, b ma.Multiaddr) bool { return a.Equal(b) }) {
			t.Errorf("%s: announces %v, want %v", test.name, got, test.want)
		}
	}
}
