package peer

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"go.uber.org/goleak"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kubo"
)

// scriptedNode is a node whose status a test sets.
type scriptedNode struct {
	mu      sync.Mutex
	status  kubo.Status
	changed chan struct{}
}

func newScriptedNode() *scriptedNode {
	return &scriptedNode{
		status:  kubo.Status{State: kubo.StateStarting, Doing: "making the IPFS repo"},
		changed: make(chan struct{}),
	}
}

func (n *scriptedNode) Watch() (kubo.Status, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.status, n.changed
}

func (n *scriptedNode) set(status kubo.Status) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.status = status
	close(n.changed)
	n.changed = make(chan struct{})
}

func runningAt(addr ma.Multiaddr) kubo.Status {
	return kubo.Status{State: kubo.StateRunning, APIAddr: addr}
}

func serverAddr(t *testing.T, server *httptest.Server) ma.Multiaddr {
	t.Helper()
	addr, err := manet.FromNetAddr(server.Listener.Addr())
	noError(t, err)
	return addr
}

func TestRelay_FollowsTheNode(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	echo := func(name string) *httptest.Server {
		return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, name+": ")
			_, _ = io.Copy(w, r.Body)
		}))
	}
	first, second := echo("first"), echo("second")
	defer first.Close()
	defer second.Close()

	node := newScriptedNode()
	r, err := newRelay(node)
	noError(t, err)
	url := "http://" + r.listener.Addr().String() + "/api/v0/id"
	client := &http.Client{Transport: &http.Transport{}}
	post := func() (int, string) {
		t.Helper()
		resp, err := client.Post(url, "text/plain", strings.NewReader("body"))
		noError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		noError(t, err)
		return resp.StatusCode, string(body)
	}

	code, body := post()
	if code != http.StatusServiceUnavailable || !strings.Contains(body, "making the IPFS repo") {
		t.Errorf("before the node runs: %d %s", code, body)
	}
	node.set(runningAt(serverAddr(t, first)))
	if code, body := post(); code != http.StatusOK || body != "first: body" {
		t.Errorf("at the first address: %d %s", code, body)
	}
	node.set(kubo.Status{State: kubo.StateRestarting, APIAddr: serverAddr(t, first), Err: "Kubo ended"})
	first.CloseClientConnections()
	client.CloseIdleConnections()
	if code, body := post(); code != http.StatusServiceUnavailable || !strings.Contains(body, "Kubo ended") {
		t.Errorf("while it restarts: %d %s", code, body)
	}
	node.set(runningAt(serverAddr(t, second)))
	if code, body := post(); code != http.StatusOK || body != "second: body" {
		t.Errorf("at the second address: %d %s", code, body)
	}
	noError(t, r.close())
	noError(t, r.close())
	client.CloseIdleConnections()
}

// Closing ends connections in use, so that it cannot hang.
func TestRelay_CloseEndsConnections(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-release
	}))
	defer server.Close()
	defer close(release)
	node := newScriptedNode()
	node.set(runningAt(serverAddr(t, server)))
	r, err := newRelay(node)
	noError(t, err)
	failed := make(chan error, 1)
	go func() {
		_, err := http.Post("http://"+r.listener.Addr().String(), "text/plain", nil)
		failed <- err
	}()
	<-entered
	noError(t, r.close())
	if <-failed == nil {
		t.Error("the request succeeded")
	}
}
