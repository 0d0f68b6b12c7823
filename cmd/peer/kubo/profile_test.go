package kubo

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/multiformats/go-multiaddr"
)

func TestProfile_CanBeChangedAndChangedBack(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.Profile = ProfileDefault
	fresh := prepared(t, cfg)
	cfg.Profile = ProfilePrivate
	private := prepared(t, cfg)
	for _, s := range privateSettings(nil) {
		if got := private.get(s.key); !same(got, plain(s.value)) {
			t.Errorf("private: %s is %v, want %v", s.key, got, s.value)
		}
	}
	// Kubo writes the file anew when the operator edits something.
	editKubo(t, cfg, "Datastore.HashOnRead", "true")
	cfg.Profile = ProfileDefault
	back := prepared(t, cfg)
	for _, s := range privateSettings(nil) {
		if !same(back.get(s.key), fresh.get(s.key)) {
			t.Errorf("back again: %s is %v, want %v", s.key, back.get(s.key), fresh.get(s.key))
		}
	}
	expect(t, back, map[string]any{"Datastore.HashOnRead": true})
}

func TestProfile_PrivateDialsLoopbackOnly(t *testing.T) {
	t.Parallel()
	filters := multiaddr.NewFilters()
	for _, s := range privateSettings(nil) {
		if s.key != "Swarm.AddrFilters" {
			continue
		}
		for _, text := range s.value.([]string) {
			prefix := strings.Split(text, "/") // "", ip4, network, ipcidr, bits
			_, network, err := net.ParseCIDR(prefix[2] + "/" + prefix[4])
			if err != nil {
				t.Fatal(err)
			}
			filters.AddFilter(*network, multiaddr.ActionDeny)
		}
	}
	check := func(ip netip.Addr) {
		family := "ip4"
		if ip.Is6() {
			family = "ip6"
		}
		addr := multiaddr.StringCast(fmt.Sprintf("/%s/%s/tcp/4001", family, ip))
		if blocked := filters.AddrBlocked(addr); blocked == ip.IsLoopback() {
			t.Errorf("%s: blocked is %v", addr, blocked)
		}
	}
	for _, text := range []string{
		"127.0.0.1", "127.255.255.254", "126.255.255.255", "128.0.0.0", "0.0.0.0", "255.255.255.255", "10.0.0.1",
		"192.168.1.1", "::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "fe80::1", "fd00::1", "2001:db8::1", "ff02::1",
	} {
		check(netip.MustParseAddr(text))
	}
	for range 1000 {
		check(netip.AddrFrom4([4]byte{byte(rand.IntN(256)), byte(rand.IntN(256)), byte(rand.IntN(256)), byte(rand.IntN(256))}))
	}
}

func TestProfile_PrivateNodesMeetOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	one, two := testConfig(t), testConfig(t)
	awaitRunning(t, startNode(t, one))
	awaitRunning(t, startNode(t, two))
	addr := strings.Fields(ipfs(t, two, "id", "-f", "<addrs>"))[0]
	if got := ipfs(t, one, "swarm", "connect", addr); !strings.HasSuffix(got, "success") {
		t.Errorf("connecting to %s: %s", addr, got)
	}
	peer := addr[strings.LastIndexByte(addr, '/')+1:]
	ipfs(t, one, "swarm", "disconnect", "/p2p/"+peer)
	elsewhere := "/ip4/192.0.2.1/tcp/4001/p2p/" + peer[:len(peer)-4] + "aaaa"
	cmd, err := Command(t.Context(), one, "swarm", "connect", elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "gater disallows") {
		t.Errorf("connecting to %s: %v: %s", elsewhere, err, out)
	}
}

func TestProfile_ClosedNetworkMayBeDialled(t *testing.T) {
	t.Parallel()
	isFilter := func(s setting) bool { return s.key == "Swarm.AddrFilters" }
	if !slices.ContainsFunc(privateSettings([]string{"/ip4/127.0.0.1/tcp/4001"}), isFilter) {
		t.Error("a node on loopback may dial elsewhere")
	}
	if slices.ContainsFunc(privateSettings([]string{"/ip4/10.1.2.3/tcp/4001"}), isFilter) {
		t.Error("a node of a closed network may not dial there")
	}
}
