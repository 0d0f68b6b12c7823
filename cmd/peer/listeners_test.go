package peer

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Each listener whose port another program holds is named by its setting.
func TestCheckListeners_NamesPortsInUse(t *testing.T) {
	holder, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err)
	defer holder.Close()
	port := holder.Addr().(*net.TCPAddr).Port
	busy := fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port)
	for _, test := range []struct{ section, component, key, setting string }{
		{"cluster", "", "listen_multiaddress", "cluster.listen_multiaddress"},
		{"api", "restapi", "http_listen_multiaddress", "api.restapi.http_listen_multiaddress"},
		{"api", "ipfsproxy", "listen_multiaddress", "api.ipfsproxy.listen_multiaddress"},
		{"api", "pinsvcapi", "http_listen_multiaddress", "api.pinsvcapi.http_listen_multiaddress"},
		{"observations", "metrics", "prometheus_endpoint", "observations.metrics.prometheus_endpoint"},
	} {
		t.Run(test.setting, func(t *testing.T) {
			files := upstreamFiles(t, "crdt", "pebble", func(sections map[string]map[string]any) {
				component := sections[test.section]
				if test.component != "" {
					component = component[test.component].(map[string]any)
				}
				component[test.key] = busy
				component["enable_stats"] = true // Of metrics; the others ignore it.
			})
			p, err := New(t.Context(), Options{Configuration: configuration(t, files)})
			if err == nil {
				t.Fatalf("listens on a taken port: %v", p.Stop(t.Context()))
			}
			want := fmt.Sprintf("127.0.0.1:%d is already in use by another program: stop that program or change %s in %s",
				port, test.setting, files.Config)
			if err.Error() != want {
				t.Errorf("error:\n%s\nwant:\n%s", err, want)
			}
			var listen *ListenError
			if !errors.As(err, &listen) || !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("%#v does not tell what it is", err)
			}
			// The folder is free for another try.
			lock, err := Lock(files)
			noError(t, err)
			noError(t, lock.Close())
		})
	}
}

func TestCheckListeners_NamesForeignAddresses(t *testing.T) {
	files := upstreamFiles(t, "crdt", "pebble", func(sections map[string]map[string]any) {
		// 192.0.2.0/24 is for documentation; no machine has it.
		sections["api"]["restapi"].(map[string]any)["http_listen_multiaddress"] = "/ip4/192.0.2.1/tcp/9094"
	})
	err := loaded(t, files).checkListeners()
	if err == nil || !strings.Contains(err.Error(), "cannot listen on 192.0.2.1:9094") ||
		!strings.Contains(err.Error(), "api.restapi.http_listen_multiaddress") {
		t.Errorf("error = %v", err)
	}
}

// Two settings with one address are told apart from another program.
func TestCheckListeners_NamesAddressesGivenTwice(t *testing.T) {
	same := freeAddr(t)
	files := upstreamFiles(t, "crdt", "pebble", func(sections map[string]map[string]any) {
		sections["api"]["restapi"].(map[string]any)["http_listen_multiaddress"] = same.String()
		sections["api"]["ipfsproxy"].(map[string]any)["listen_multiaddress"] = same.String()
	})
	err := loaded(t, files).checkListeners()
	if err == nil || !strings.Contains(err.Error(), "api.restapi.http_listen_multiaddress has 127.0.0.1:") ||
		!strings.Contains(err.Error(), "correct api.ipfsproxy.listen_multiaddress") {
		t.Errorf("error = %v", err)
	}
}

// An unspecified address covers the others of its family: the component that
// comes second could not listen.
func TestCheckListeners_NamesOverlappingAddresses(t *testing.T) {
	_, hostport, err := manet.DialArgs(freeAddr(t))
	noError(t, err)
	_, port, err := net.SplitHostPort(hostport)
	noError(t, err)
	const rest, proxy = "api.restapi.http_listen_multiaddress", "api.ipfsproxy.listen_multiaddress"
	for _, test := range []struct{ rest, proxy, want string }{
		{"/ip4/0.0.0.0/tcp/" + port, "/ip4/127.0.0.1/tcp/" + port, rest + " has 0.0.0.0:" + port},
		{"/ip4/127.0.0.1/tcp/" + port, "/ip4/0.0.0.0/tcp/" + port, rest + " has 127.0.0.1:" + port},
		{"/ip4/127.0.0.1/tcp/" + port, "/ip4/127.0.0.2/tcp/" + port, ""},
		{"/ip4/0.0.0.0/tcp/0", "/ip4/127.0.0.1/tcp/0", ""},
	} {
		files := upstreamFiles(t, "crdt", "pebble", func(sections map[string]map[string]any) {
			sections["api"]["restapi"].(map[string]any)["http_listen_multiaddress"] = test.rest
			sections["api"]["ipfsproxy"].(map[string]any)["listen_multiaddress"] = test.proxy
		})
		err := loaded(t, files).checkListeners()
		if (err == nil) != (test.want == "") || err != nil && (!strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "correct "+proxy)) {
			t.Errorf("%s and %s: %v", test.rest, test.proxy, err)
		}
	}
}

func TestEndpoint_Conflicts(t *testing.T) {
	at := func(key, text string) endpoint {
		addr, err := ma.NewMultiaddr(text)
		noError(t, err)
		e, ok := endpointOf(key, addr)
		if !ok {
			t.Fatalf("%s is no TCP address", text)
		}
		return e
	}
	for _, test := range []struct {
		a, b endpoint
		want bool
	}{
		{at("a", "/ip4/0.0.0.0/tcp/1"), at("b", "/ip4/10.0.0.1/tcp/1"), true},
		{at("a", "/ip6/::/tcp/1"), at("b", "/ip6/::1/tcp/1"), true},
		{at("a", "/ip6/::/tcp/1"), at("b", "/ip4/127.0.0.1/tcp/1"), false}, // IPv6 sockets are IPv6 only here.
		{at("a", "/ip4/127.0.0.1/tcp/1"), at("b", "/ip4/127.0.0.1/tcp/2"), false},
		{at("a", "/ip4/0.0.0.0/tcp/1"), at("a", "/ip4/127.0.0.1/tcp/1"), true},
		{at(clusterListenKey, "/ip4/0.0.0.0/tcp/1"), at(clusterListenKey, "/ip4/127.0.0.1/tcp/1"), false}, // SO_REUSEPORT.
	} {
		if test.a.conflicts(test.b) != test.want || test.b.conflicts(test.a) != test.want {
			t.Errorf("%+v and %+v: want %t", test.a, test.b, test.want)
		}
	}
}
