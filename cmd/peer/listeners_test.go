package peer

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
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
	if err == nil || !strings.Contains(err.Error(), "api.restapi.http_listen_multiaddress has the same") ||
		!strings.Contains(err.Error(), "correct api.ipfsproxy.listen_multiaddress") {
		t.Errorf("error = %v", err)
	}
}
