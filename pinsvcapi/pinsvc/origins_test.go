package pinsvc

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multihash"
	"pgregory.net/rapid"
)

// TestSelectOrigins_KeepsPublicAddresses wants the public addresses of a peer to
// be kept, in their order, beside the reserve of private ones.
func TestSelectOrigins_KeepsPublicAddresses(t *testing.T) {
	var texts []string
	for i := range 18 {
		texts = append(texts, fmt.Sprintf("/ip4/192.168.1.%d/tcp/4001%s", i, textPeer), fmt.Sprintf("/ip4/8.8.8.%d/tcp/4001%s", i, textPeer))
	}
	list, err := json.Marshal(append(texts, texts...))
	if err != nil {
		t.Fatal(err)
	}
	pin, dropped, err := new(Decoder).Decode([]byte(body(`"origins":` + string(list))))
	if err != nil || dropped != (DroppedOrigins{Excess: 16}) {
		t.Fatalf("dropped %+v, %v", dropped, err)
	}
	lastPublic := len(texts) - 1
	var got, want []string
	for _, origin := range pin.Origins {
		got = append(got, origin.String())
	}
	for i, text := range texts {
		if i%2 == 1 && i != lastPublic || i < 2*reserveOf(reachPrivate) {
			want = append(want, text)
		}
	}
	if len(want) != MaxOrigins || !reflect.DeepEqual(got, want) {
		t.Errorf("kept %q, want %q", got, want)
	}
}

// The only origin that can be dialled may be the one of another reach: none is
// dropped for any number of public ones.
func TestSelectOrigins_KeepsEachReach(t *testing.T) {
	relay := "/ip4/8.8.4.4/tcp/4001" + peerText(1) + "/p2p-circuit"
	for _, host := range []string{"/ip4/127.0.0.1/tcp/4001", "/ip6/::1/tcp/4001", "/ip4/192.168.1.9/tcp/4001", relay, ""} {
		for _, peer := range []string{peerText(1000), peerText(0)} { // Of its own, and one that has a public address too.
			usable := multiaddr.StringCast(host + peer)
			all := []multiaddr.Multiaddr{usable}
			for i := range 40 {
				all = append(all, multiaddr.StringCast(fmt.Sprintf("/ip4/8.8.8.%d/tcp/4001%s", i, peerText(i))))
			}
			kept, excess := selectOrigins(all)
			if len(kept) != MaxOrigins || excess != 21 || !kept[0].Equal(usable) {
				t.Errorf("%s: %d kept and %d dropped, the first %s", usable, len(kept), excess, kept[0])
			}
		}
	}
}

func TestReserveOf_SumIsMaxOrigins(t *testing.T) {
	sum := 0
	for r := reachPublic; r <= reachNone; r++ {
		sum += reserveOf(r)
	}
	if sum != MaxOrigins {
		t.Errorf("the reserves are %d", sum)
	}
}

// Origins only help: what is not understood is left out, and the pin is made.
func TestDecoder_DropsUnknownOrigins(t *testing.T) {
	good := `"` + textOrigin + `"`
	for list, unknown := range map[string]int{
		good: 0, `""`: 1, `"foo"`: 1, `"",` + good: 1,
		`"/ip4/1.2.3.4/udp/4001/newproto` + textPeer + `",` + good:                               1,
		good + `,"/ip4/203.0.113.1/tcp/4001/p2p/foo","/ip4/1.2.3.4/udp/4001/newproto"`:           2,
		`"/ip4/300.0.0.1/tcp/4001` + textPeer + `","/ip4/203.0.113.1/tcp/70000` + textPeer + `"`: 2,
		`"/unix/` + strings.Repeat("x", MaxOriginBytes) + textPeer + `"`:                         1,
		`"/ip4/203.0.113.1/tcp/4001/p2p/"`:                                                       1,
		strings.TrimPrefix(strings.Repeat(`,"?"`, 100), ",") + "," + good:                        100,
	} {
		pin, dropped, err := new(Decoder).Decode([]byte(body(`"origins":[` + list + `]`)))
		if err != nil || dropped != (DroppedOrigins{Unknown: unknown}) {
			t.Errorf("%.90s: dropped %+v, %v, want %d", list, dropped, err, unknown)
			continue
		}
		var got []string
		for _, origin := range pin.Origins {
			got = append(got, `"`+origin.String()+`"`)
		}
		if want := strings.Contains(list, good); want != (len(got) == 1 && got[0] == good) || !want && len(got) > 0 {
			t.Errorf("%.90s: kept %q", list, got)
		}
	}
}

// peerText is the end of an address of the n-th of many peers.
func peerText(n int) string {
	hash, err := multihash.Sum(fmt.Append(nil, n), multihash.SHA2_256, -1)
	if err != nil {
		panic(err)
	}
	return "/p2p/" + hash.B58String()
}

func TestReachOf(t *testing.T) {
	relay := "/tcp/4001" + peerText(1) + "/p2p-circuit"
	for want, hosts := range map[reach][]string{
		reachPublic: {"/ip4/8.8.8.8/tcp/4001", "/ip6/2606:4700::1/udp/4001/quic-v1", "/dns4/x.example/tcp/443/tls/ws",
			"/dnsaddr/bootstrap.libp2p.io", "/ip4/8.8.8.8/udp/4001/quic-v1/webtransport", "/ip4/8.8.8.8/udp/4001/webrtc-direct"},
		reachRelayed: {"/ip4/8.8.8.8" + relay, "/dns/relay.example" + relay, peerText(1) + "/p2p-circuit"},
		reachPrivate: {"/ip4/192.168.1.9/tcp/4001", "/ip4/100.64.0.1/tcp/4001", "/ip6/fd00::1/tcp/4001", "/ip4/10.0.0.1" + relay,
			"/dns4/nas.local/tcp/4001", "/ip4/203.0.113.1/tcp/4001", "/ip6zone/eth0/ip6/fe80::1/tcp/4001"},
		reachUnknown:  {""},
		reachLoopback: {"/ip4/127.0.0.1/tcp/4001", "/ip6/::1/udp/4001/quic-v1", "/dns4/localhost/tcp/4001", "/ip4/127.0.0.1" + relay},
		reachNone: {"/ip4/0.0.0.0/tcp/4001", "/ip4/8.8.8.8", "/ip4/8.8.8.8/udp/4001", "/ip4/8.8.8.8/udp/4001/quic",
			"/unix/a", "/memory/1", "/onion3/vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd:1234"},
	} {
		for _, host := range hosts {
			if got := reachOf(multiaddr.StringCast(host + textPeer)); got != want {
				t.Errorf("%s: reach %d, want %d", host, got, want)
			}
		}
	}
}

func drawOrigin(t *rapid.T) multiaddr.Multiaddr {
	host := rapid.SampledFrom([]string{
		"/ip4/8.8.8.%d/tcp/4001", "/ip6/2606:4700::%d/udp/4001/quic-v1", "/dns4/n%d.example/tcp/443/tls/ws",
		"/ip4/8.8.4.%d/tcp/4001" + peerText(1) + "/p2p-circuit", "/ip4/192.168.1.%d/tcp/4001", "/ip4/127.0.0.%d/tcp/4001",
		"/ip4/0.0.0.0/tcp/40%d", "/unix/%d",
	}).Draw(t, "host")
	text := fmt.Sprintf(host, rapid.IntRange(1, 99).Draw(t, "number"))
	return multiaddr.StringCast(text + peerText(rapid.IntRange(0, 30).Draw(t, "peer")))
}

// The choice among too many origins is the same for every order of them, keeps
// the client's order and the reserve of each reach. Beyond the reserve, no
// address is dropped for one that is worse and of no other peer, nor a peer for
// more addresses of another.
func TestSelectOrigins_DoesNotDependOnTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		least := rapid.SampledFrom([]int{0, MaxOrigins, 40}).Draw(t, "least")
		all := rapid.SliceOfN(rapid.Custom(drawOrigin), least, 60).Draw(t, "origins")
		kept, excess := selectOrigins(all)
		in := make(map[string]bool)
		position := -1
		for _, addr := range kept {
			in[string(addr.Bytes())] = true
			at := slices.IndexFunc(all, addr.Equal)
			if at <= position {
				t.Fatalf("%s is out of order", addr)
			}
			position = at
		}
		distinct := make(map[string]bool)
		for _, addr := range all {
			distinct[string(addr.Bytes())] = true
		}
		if len(kept) != min(len(distinct), MaxOrigins) || len(in) != len(kept) || excess != len(distinct)-len(kept) {
			t.Fatalf("kept %d (%d distinct) and dropped %d of %d", len(kept), len(in), excess, len(distinct))
		}
		checkSelection(t, all, in)

		again, _ := selectOrigins(rapid.Permutation(all).Draw(t, "permutation"))
		for _, addr := range again {
			if !in[string(addr.Bytes())] {
				t.Fatalf("%s is kept in another order", addr)
			}
		}
	})
}

// selection is what is kept of all origins.
type selection struct {
	all          []originCandidate
	in           map[string]bool // by key
	keptIn, sent [reachNone + 1]int
}

func newSelection(all []multiaddr.Multiaddr, in map[string]bool) *selection {
	s := &selection{all: distinctOrigins(all), in: in}
	rankOrigins(s.all)
	for _, c := range s.all {
		s.sent[c.reach]++
		if in[c.key] {
			s.keptIn[c.reach]++
		}
	}
	return s
}

// competes reports whether kept took what dropped could have had: it is of the
// same reach, or of one of which more than the reserve are kept.
func (s *selection) competes(kept, dropped originCandidate) bool {
	return s.in[kept.key] && (kept.reach == dropped.reach || s.keptIn[kept.reach] > reserveOf(kept.reach))
}

// competing counts the addresses of kept's peer that compete with dropped.
func (s *selection) competing(kept, dropped originCandidate) (n int) {
	for _, c := range s.all {
		if peerOf(c.addr) == peerOf(kept.addr) && s.competes(c, dropped) {
			n++
		}
	}
	return n
}

// keepsPeer reports whether an address of that peer is kept.
func (s *selection) keepsPeer(peer string) bool {
	return slices.ContainsFunc(s.all, func(c originCandidate) bool { return s.in[c.key] && peerOf(c.addr) == peer })
}

func checkSelection(t *rapid.T, all []multiaddr.Multiaddr, in map[string]bool) {
	s := newSelection(all, in)
	for r, n := range s.keptIn {
		if n < min(reserveOf(reach(r)), s.sent[r]) {
			t.Fatalf("%d of %d of reach %d are kept", n, s.sent[r], r)
		}
	}
	remote := func(c originCandidate) bool { return c.reach < reachLoopback }
	for _, dropped := range s.all {
		if in[dropped.key] {
			continue
		}
		// A peer of which nothing is kept is judged by its best address.
		lost := dropped.rank == 0 && !s.keepsPeer(peerOf(dropped.addr))
		for _, kept := range s.all {
			if !s.competes(kept, dropped) {
				continue
			}
			n := s.competing(kept, dropped)
			switch samePeer := peerOf(kept.addr) == peerOf(dropped.addr); {
			case samePeer && kept.reach > dropped.reach:
				t.Fatalf("%s is kept, %s of the same peer dropped", kept.addr, dropped.addr)
			case remote(dropped) && !remote(kept):
				t.Fatalf("%s is kept, %s dropped", kept.addr, dropped.addr)
			case remote(dropped) && lost && n > 1:
				t.Fatalf("%s is dropped, its peer with it; %d of the peer of %s are kept", dropped.addr, n, kept.addr)
			case lost && n == 1 && kept.reach > dropped.reach:
				t.Fatalf("%s is kept, %s of another peer dropped", kept.addr, dropped.addr)
			}
		}
	}
}
