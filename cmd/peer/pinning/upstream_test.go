package pinning

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/ipfsconn/ipfshttp"
	manet "github.com/multiformats/go-multiaddr/net"
)

// U38: when this fails, upstream reads the errors, and a part of this package can go.
func TestUpstream_TakesALateErrorForASuccess(t *testing.T) {
	upstream := upstreamOf(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/pin/add"):
			failsLate("pin: block was not found")(w, r)
		case strings.HasSuffix(r.URL.Path, "/id"):
			fmt.Fprint(w, `{"ID":"12D3KooWMp8HkhuuDSxPhnuXD3XKy2mnKchs1cWEk1gwUUb2pnFb"}`)
		default:
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprintf(w, `{"Message":"path '%s' is not pinned"}`, content)
		}
	})
	if err := upstream.Pin(t.Context(), pinOf(t, content)); err != nil {
		t.Errorf("upstream reports %v", err)
	}
}

// U109: when this fails, upstream lists all kinds of pins.
func TestUpstream_ListsTheFirstKindOfPins(t *testing.T) {
	upstream := upstreamOf(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/id") {
			fmt.Fprint(w, `{"ID":"12D3KooWMp8HkhuuDSxPhnuXD3XKy2mnKchs1cWEk1gwUUb2pnFb"}`)
			return
		}
		fmt.Fprintf(w, `{"Cid":%q,"Type":%q}`, content, r.URL.Query().Get("type"))
	})
	out := make(chan api.IPFSPinInfo, 2)
	if err := upstream.PinLs(t.Context(), []string{"recursive", "direct"}, out); err != nil {
		t.Fatal(err)
	}
	var kinds []api.IPFSPinStatus
	for pin := range out {
		kinds = append(kinds, pin.Type)
	}
	if len(kinds) != 1 || kinds[0] != api.IPFSPinStatusRecursive {
		t.Errorf("it lists %v", kinds)
	}
}

// upstreamOf is upstream's connector to an IPFS node.
func upstreamOf(t *testing.T, node http.HandlerFunc) *ipfshttp.Connector {
	t.Helper()
	server := httptest.NewServer(node)
	t.Cleanup(server.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections) // Upstream's client.
	addr, err := manet.FromNetAddr(server.Listener.Addr())
	if err != nil {
		t.Fatal(err)
	}
	cfg := &ipfshttp.Config{}
	if err := cfg.Default(); err != nil {
		t.Fatal(err)
	}
	cfg.NodeAddr, cfg.ConnectSwarmsDelay = addr, 0
	upstream, err := ipfshttp.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	upstream.SetClient(nil)
	<-upstream.Ready(t.Context()) // Before that its loop does not see the shutdown.
	t.Cleanup(func() {
		if err := upstream.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return upstream
}
