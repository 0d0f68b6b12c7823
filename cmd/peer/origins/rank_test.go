package origins

import (
	"reflect"
	"strconv"
	"testing"

	"github.com/multiformats/go-multiaddr"
	"pgregory.net/rapid"
)

func TestClassOf(t *testing.T) {
	relay := "/p2p/" + nodeID(7).String() + "/p2p-circuit"
	tests := map[string]class{
		"/ip4/8.8.8.8/tcp/4001":                   public,
		"/ip6/2a00:1450::1/udp/4001/quic-v1":      public,
		"/dns4/example.com/tcp/443/wss":           public,
		"/dnsaddr/example.com":                    public,
		"/ip4/8.8.8.8/tcp/4001" + relay:           relayed,
		"/dns/relay.example.com/tcp/4001" + relay: relayed,
		relay:                               local,
		"/ip4/10.1.2.3/tcp/4001":            private,
		"/ip4/192.168.1.2/udp/4001/quic-v1": private,
		"/ip4/100.64.0.1/tcp/4001":          private,
		"/ip6/fd00::1/tcp/4001":             private,
		"/dns/kubo.local/tcp/4001":          private,
		"/dns4/localhost/tcp/4001":          private,
		"/ip4/192.168.1.2/tcp/4001" + relay: private,
		"/ip4/127.0.0.1/tcp/4001":           local,
		"/ip6/::1/tcp/4001":                 local,
		"/ip4/0.0.0.0/tcp/4001":             local,
		"/ip6/fe80::1/tcp/4001":             local,
		"/ip4/203.0.113.1/tcp/4001":         local,
		"/ip4/127.0.0.1/tcp/4001" + relay:   local,
		"/memory/1":                         local,
	}
	for text, want := range tests {
		addr, err := multiaddr.NewMultiaddr(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := classOf(addr); got != want {
			t.Errorf("%s: class %d, want %d", text, got, want)
		}
	}
	if got := classOf(nil); got != relayed {
		t.Errorf("a peer ID alone: class %d, want %d", got, relayed)
	}
}

func TestCandidates_GroupsAndSorts(t *testing.T) {
	got := candidates([]multiaddr.Multiaddr{
		origin(t, "/ip4/127.0.0.1/tcp/1", 1),
		origin(t, "/ip4/192.168.0.1/tcp/1", 2),
		origin(t, "/ip4/10.0.0.1/tcp/1", 1),
		origin(t, "/ip4/8.8.8.8/tcp/1", 1),
		origin(t, "/ip4/8.8.8.8/tcp/1", 1),
		multiaddr.StringCast("/p2p/" + nodeID(3).String()),
		multiaddr.StringCast("/ip4/8.8.8.8/tcp/1"), // Nobody in particular.
		nil,
	}, 3, 2)
	want := []candidate{
		{nodeID(1), public, []multiaddr.Multiaddr{multiaddr.StringCast("/ip4/8.8.8.8/tcp/1"), multiaddr.StringCast("/ip4/10.0.0.1/tcp/1")}},
		{nodeID(3), relayed, []multiaddr.Multiaddr{nil}},
		{nodeID(2), private, []multiaddr.Multiaddr{multiaddr.StringCast("/ip4/192.168.0.1/tcp/1")}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// The order of the origins decides neither who is dropped nor who is first.
func TestCandidates_OrderDoesNotMatter(t *testing.T) {
	var all []multiaddr.Multiaddr
	for n := range 40 {
		all = append(all, publicOrigin(t, n%15), origin(t, "/ip4/10.0.0.1/tcp/4001", n%25), origin(t, "/ip4/127.0.0.1/tcp/4001", n))
	}
	rapid.Check(t, func(r *rapid.T) {
		nodes, addrs := rapid.IntRange(1, 50).Draw(r, "nodes"), rapid.IntRange(1, 4).Draw(r, "addrs")
		want := candidates(all, nodes, addrs)
		got := candidates(rapid.Permutation(all).Draw(r, "origins"), nodes, addrs)
		if !reflect.DeepEqual(got, want) {
			r.Errorf("got %v, want %v", got, want)
		}
	})
}

// Each pin pays for it: a client sends all its addresses with each.
func BenchmarkCandidates(b *testing.B) {
	var all []multiaddr.Multiaddr
	for n := range 20 {
		all = append(all, origin(b, []string{"/ip4/8.8.8.8/tcp/", "/ip6/2a00:1450::1/udp/", "/ip4/192.168.1.1/tcp/", "/ip4/127.0.0.1/udp/"}[n%4]+strconv.Itoa(4001+n), 1))
	}
	b.ReportAllocs()
	for b.Loop() {
		candidates(all, 64, 32)
	}
}
