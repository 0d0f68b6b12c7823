package integration

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// brokenList is a proxy in front of a Kubo whose list of all pins ends after the first with an error, as Kubo
// states it when it cannot read its pins to the end.
type brokenList struct {
	*httputil.ReverseProxy
	broken atomic.Bool
}

func newBrokenList(t *testing.T, node *harness.Kubo) (proxy *brokenList, addr string) {
	t.Helper()
	rpc, err := multiaddr.NewMultiaddr(node.RPC())
	if err != nil {
		t.Fatal(err)
	}
	_, host, err := manet.DialArgs(rpc)
	if err != nil {
		t.Fatal(err)
	}
	proxy = &brokenList{ReverseProxy: httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: host})}
	proxy.FlushInterval = -1
	proxy.ModifyResponse = proxy.breakOff
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	listens, err := manet.FromNetAddr(server.Listener.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return proxy, listens.String()
}

func (b *brokenList) breakOff(resp *http.Response) error {
	r := resp.Request
	if !b.broken.Load() || !strings.HasSuffix(r.URL.Path, "/pin/ls") || r.URL.Query().Get("arg") != "" || r.URL.Query().Get("type") != "recursive" {
		return nil
	}
	first, err := bufio.NewReader(resp.Body).ReadBytes('\n')
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(first))
	resp.Trailer = http.Header{"X-Stream-Error": {"leveldb: closed"}}
	return nil
}

// A list of pins that ends with an error says nothing of the pins that it does not have (U111 in
// docs/upstream-faults.md).
func TestAListOfPinsThatBreaksOffLosesNone(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	node := h.Kubo()
	node.Start()
	proxy, addr := newBrokenList(t, node)
	peer := h.Peer(harness.InitOptions{ExternalIPFS: addr})
	peer.Start()
	const pins = 10
	for n := range pins {
		peer.WaitPinned(peer.Add(node.Add(fmt.Sprintf("content %d", n)), "").RequestID)
	}
	proxy.broken.Store(true)
	req, err := http.NewRequest(http.MethodGet, peer.RESTEndpoint()+"/pins?local=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := harness.Send(req); err != nil || strings.Contains(string(r.Body), "unexpectedly_unpinned") {
		t.Errorf("%v %d %s", err, r.Status, r.Body)
	}
	proxy.broken.Store(false)
	all := localStatuses(t, peer, "")
	for c, status := range all {
		if status != "pinned" {
			t.Errorf("%s is %s", c, status)
		}
	}
	if len(all) != pins {
		t.Errorf("%d of %d pins", len(all), pins)
	}
}
