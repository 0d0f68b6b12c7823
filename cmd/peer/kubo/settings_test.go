package kubo

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multiformats/go-multiaddr"
	"pgregory.net/rapid"
)

func TestSettingsOfServiceJSONReachKubo(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.StorageMax = "7GB"
	cfg.GCInterval = 42 * time.Minute
	cfg.SwarmAddresses = []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"}
	n := startNode(t, cfg)
	awaitRunning(t, n)
	for key, want := range map[string]string{
		"Datastore.StorageMax":  "7GB",
		"Datastore.GCPeriod":    "42m",
		"Addresses.API":         "/ip4/127.0.0.1/tcp/0",
		"Routing.Type":          "none",
		"Discovery.MDNS":        "{\n  \"Enabled\": false\n}",
		"Bootstrap":             "[]",
		"Addresses.Gateway":     "[]",
		"AutoNAT.ServiceMode":   "disabled",
		"Swarm.RelayClient":     "{\n  \"Enabled\": false\n}",
		"HTTPRetrieval.Enabled": "false",
	} {
		if got := ipfs(t, cfg, "config", key); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
	if addrs := ipfs(t, cfg, "id", "-f", "<addrs>"); !strings.Contains(addrs, "/quic-v1") {
		t.Errorf("not listening as told: %s", addrs)
	}
}

func TestOperatorsEditsAreKept(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.StorageMax = "7GB"
	madeRepo(t, cfg)

	editKubo(t, cfg, "Datastore.StorageMax", `"9GB"`)
	editKubo(t, cfg, "Datastore.StorageGCWatermark", `75`)
	editKubo(t, cfg, "Addresses.API", `"/ip4/0.0.0.0/tcp/5001"`)
	editKubo(t, cfg, "Addresses.Gateway", `"/ip4/0.0.0.0/tcp/8080"`)
	doc := prepared(t, cfg)
	expect(t, doc, map[string]any{
		"Datastore.StorageMax":         "9GB", // edited later than service.json
		"Datastore.StorageGCWatermark": 75,
		"Addresses.API":                anyRPC, // not the operator's
		"Addresses.Gateway":            []string{},
	})

	cfg.StorageMax = "8GB" // now service.json is the later one
	expect(t, prepared(t, cfg), map[string]any{"Datastore.StorageMax": "8GB", "Datastore.StorageGCWatermark": 75})

	cfg.StorageMax = "" // and now it has no opinion
	expect(t, prepared(t, cfg), map[string]any{"Datastore.StorageMax": "9GB"})

	editKubo(t, cfg, "Addresses.API", `"/ip4/127.0.0.1/tcp/0"`)
	editKubo(t, cfg, "Addresses.API", `["/ip6/::1/tcp/0"]`) // on loopback, the operator may choose
	expect(t, prepared(t, cfg), map[string]any{"Addresses.API": []string{"/ip6/::1/tcp/0"}})
}

func TestKuboThatRefusesUsIsNamed(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	madeRepo(t, cfg)
	editKubo(t, cfg, "API.Authorizations", `{"me": {"AuthSecret": "basic:me:x", "AllowedPaths": ["/api/v0"]}}`)
	n := startNode(t, cfg)
	awaitError(t, n, "refuses", "API.Authorizations")
}

func TestProfileCanBeChangedAndChangedBack(t *testing.T) {
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

func TestTakenSwarmPortIsReplacedForTCPAndUDP(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	cfg.Profile = ProfileDefault
	kubos := stringList(prepared(t, cfg).get("Addresses.Swarm"))
	squatter, port := holdPort(t)
	n := idleNode(cfg)
	doc := kuboConfig(t, n.repo)
	old, _ := parseEndpoint(kubos[0])
	doc.set("Addresses.Swarm", withPort(kubos, old.port, port))
	if err := writeJSON(n.repo+"/"+configFile, doc); err != nil {
		t.Fatal(err)
	}
	moved := stringList(prepared(t, cfg).get("Addresses.Swarm"))
	first, _ := parseEndpoint(moved[0])
	if first.port == port || first.port == 0 {
		t.Fatalf("the port is still %d", first.port)
	}
	if want := withPort(kubos, old.port, first.port); !reflect.DeepEqual(moved, want) {
		t.Errorf("addresses %q, want %q", moved, want)
	}
	squatter.Close()
	if again := stringList(prepared(t, cfg).get("Addresses.Swarm")); !reflect.DeepEqual(again, moved) {
		t.Errorf("the next start moves again, to %q", again)
	}
}

func TestChosenSwarmPortIsWaitedFor(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	squatter, port := holdPort(t)
	cfg.SwarmAddresses = []string{fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port)}
	n := startNode(t, cfg)
	awaitError(t, n, fmt.Sprintf("swarm port %d is in use", port), "swarm_addresses")
	squatter.Close()
	awaitRunning(t, n)
	if addrs := ipfs(t, cfg, "id", "-f", "<addrs>"); !strings.Contains(addrs, fmt.Sprintf("/tcp/%d/", port)) {
		t.Errorf("not listening where told: %s", addrs)
	}
}

func holdPort(t *testing.T) (net.Listener, int) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, l.Addr().(*net.TCPAddr).Port
}

func expect(t *testing.T, doc document, wanted map[string]any) {
	t.Helper()
	for key, want := range wanted {
		if got := doc.get(key); !reflect.DeepEqual(got, plain(want)) {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}
}

// The overlay against a naive model of "the last edit holds".
func TestLastEditHolds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		keys := []string{"A", "B.C", "B.D.E"}
		value := rapid.SampledFrom([]any{nil, true, "x", "y", []any{"z"}, map[string]any{"k": "v"}})
		set := rapid.SampledFrom([]any{true, "x", "y", []any{"z"}, map[string]any{"k": "v"}})
		doc, memory := document{}, overlay{Settings: map[string]laid{}}
		wanted, model := map[string]any{}, map[string]any{}
		own := map[string]any{} // what a key had when our first value was laid over it
		t.Repeat(map[string]func(*rapid.T){
			"operator edits": func(t *rapid.T) {
				key, v := rapid.SampledFrom(keys).Draw(t, "key"), value.Draw(t, "value")
				doc.set(key, v)
				model[key] = v
			},
			"service.json changes": func(t *rapid.T) {
				key, v := rapid.SampledFrom(keys).Draw(t, "key"), set.Draw(t, "value")
				last, was := wanted[key]
				if was && reflect.DeepEqual(last, v) {
					return
				}
				if !was || !same(model[key], last) {
					own[key] = model[key]
				}
				wanted[key], model[key] = v, v
				memory.lay(doc, settingsOf(wanted))
			},
			"service.json forgets": func(t *rapid.T) {
				key := rapid.SampledFrom(keys).Draw(t, "key")
				if last, was := wanted[key]; was && same(model[key], last) {
					model[key] = own[key]
				}
				delete(wanted, key)
				memory.lay(doc, settingsOf(wanted))
			},
			"": func(t *rapid.T) {
				memory.lay(doc, settingsOf(wanted))
				if again := memory.lay(doc, settingsOf(wanted)); len(again) > 0 {
					t.Fatalf("a second start changes %v", again)
				}
				for _, key := range keys {
					if got := doc.get(key); !same(got, model[key]) {
						t.Fatalf("%s is %v, want %v", key, got, model[key])
					}
				}
			},
		})
	})
}

func settingsOf(wanted map[string]any) []setting {
	var settings []setting
	for key, value := range wanted {
		settings = append(settings, setting{key, value})
	}
	return settings
}

func TestPrivateNodeMayDialLoopbackOnly(t *testing.T) {
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

func TestPrivateNodesMeetOnLoopbackAndNowhereElse(t *testing.T) {
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

func TestClosedNetworkMayBeDialled(t *testing.T) {
	t.Parallel()
	isFilter := func(s setting) bool { return s.key == "Swarm.AddrFilters" }
	if !slices.ContainsFunc(privateSettings([]string{"/ip4/127.0.0.1/tcp/4001"}), isFilter) {
		t.Error("a node on loopback may dial elsewhere")
	}
	if slices.ContainsFunc(privateSettings([]string{"/ip4/10.1.2.3/tcp/4001"}), isFilter) {
		t.Error("a node of a closed network may not dial there")
	}
}

// A fresh repo differs from what is wanted in many settings: one line tells.
func TestChangesOfAFreshRepoAreOneLine(t *testing.T) {
	change1, change2 := change{"Bootstrap", []any{"x"}, nil}, change{"Discovery.MDNS.Enabled", true, false}
	line1 := `Kubo's setting Bootstrap was ["x"] and is now not set`
	line2 := "Kubo's setting Discovery.MDNS.Enabled was true and is now false"
	for _, test := range []struct {
		changes       []change
		fresh         bool
		news, details []string
	}{
		{nil, true, nil, nil},
		{[]change{change1, change2}, false, []string{line1, line2}, nil},
		{[]change{change2}, true, []string{line2}, nil},
		{[]change{change1, change2}, true, []string{"2 of Kubo's settings were set for ipfs_connector.managed"}, []string{line1, line2}},
	} {
		news, details := worthTelling(test.changes, test.fresh)
		if !slices.Equal(news, test.news) || !slices.Equal(details, test.details) {
			t.Errorf("%v, fresh %t: %q and %q", test.changes, test.fresh, news, details)
		}
	}
}
