package peer

import (
	"io"
	"net/http"
	"strings"
	"testing"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// The REST API responds to "/" with one sentence, not with a redirect to
// itself or to another host, and to its own paths as before.
func TestRESTRoot(t *testing.T) {
	server := rpcOfID(t, firstID)
	p, _ := newPeer(t, upstreamFiles(t, "crdt", "pebble", externalNode(t, server)))
	noError(t, p.Start(t.Context()))
	await.Closed(t, "readiness", p.Ready())
	base := "http://" + restAddr(t, p)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for path, want := range map[string]struct {
		code int
		text string
	}{
		"/":               {http.StatusNotFound, "REST API of IPFS Cluster"},
		"//evil.example/": {http.StatusNotFound, "REST API of IPFS Cluster"},
		"/id":             {http.StatusOK, p.ID().String()},
		"/id/":            {http.StatusTemporaryRedirect, ""},
		"/none":           {http.StatusNotFound, "not found"},
	} {
		resp, err := client.Get(base + path)
		noError(t, err)
		body, err := io.ReadAll(resp.Body)
		noError(t, err)
		resp.Body.Close()
		if resp.StatusCode != want.code || !strings.Contains(string(body), want.text) {
			t.Errorf("GET %s: %s %s", path, resp.Status, body)
		}
	}
}

// restAddr is the host:port of a peer's REST API.
func restAddr(t *testing.T, p *Peer) string {
	t.Helper()
	for _, api := range p.apis.all {
		listener, ok := api.API.(interface{ HTTPAddresses() ([]string, error) })
		if !ok || api.name != "api.restapi" {
			continue
		}
		addrs, err := listener.HTTPAddresses()
		noError(t, err)
		if addr, err := ma.NewMultiaddr(addrs[0]); err == nil {
			_, hostport, err := manet.DialArgs(addr)
			noError(t, err)
			return hostport
		}
		return addrs[0]
	}
	t.Fatal("the peer has no REST API")
	return ""
}
