package pinning

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ipfs-cluster/ipfs-cluster/ipfsconn/ipfshttp"
	manet "github.com/multiformats/go-multiaddr/net"
)

// U38: when this fails, upstream reads the errors, and a part of this package can go.
func TestUpstream_TakesALateErrorForASuccess(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/pin/add"):
			failsLate("pin: block was not found")(w, r)
		case strings.HasSuffix(r.URL.Path, "/id"):
			fmt.Fprint(w, `{"ID":"12D3KooWMp8HkhuuDSxPhnuXD3XKy2mnKchs1cWEk1gwUUb2pnFb"}`)
		default:
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprintf(w, `{"Message":"path '%s' is not pinned"}`, content)
		}
	}))
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections() // Upstream's client.
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
	defer func() {
		if err := upstream.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	if err := upstream.Pin(t.Context(), pinOf(t, content)); err != nil {
		t.Errorf("upstream reports %v", err)
	}
}
