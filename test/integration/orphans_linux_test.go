package integration

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// kuboPins are the recursive pins of a node.
func kuboPins(ls string) map[string]bool {
	pins := make(map[string]bool)
	for _, line := range strings.Fields(ls) {
		pins[line] = true
	}
	return pins
}

// gone is nil when none of the contents is pinned in the peer's managed node.
func gone(peer *harness.Peer, contents []string) error {
	r := peer.Try("ipfs", "pin", "ls", "--type=recursive", "--quiet")
	if r.Err != nil {
		return fmt.Errorf("%w: %s", r.Err, r.Stderr)
	}
	pins, left := kuboPins(r.Stdout), 0
	for _, c := range contents {
		if pins[c] {
			left++
		}
	}
	if left > 0 {
		return fmt.Errorf("%d of %d are pinned", left, len(contents))
	}
	return nil
}

// remove gives up pins at a peer.
func remove(t *testing.T, peer *harness.Peer, contents []string) {
	t.Helper()
	for _, c := range contents {
		want(t, request(t, peer, http.MethodDelete, "/pins/"+c, nil), http.StatusAccepted, "")
	}
}

// A removal that fails because the IPFS node of a peer is away is known to the memory of
// the tracker alone (U41 in docs/upstream-faults.md).
func TestDeletesWhileAnIPFSNodeIsAwayAreCarriedOut(t *testing.T) {
	testDeletesWhileAnIPFSNodeIsAway(t, "crdt")
}

func TestDeletesWhileAnIPFSNodeIsAwayAreCarriedOutWithRaft(t *testing.T) {
	testDeletesWhileAnIPFSNodeIsAway(t, "raft")
}

// heldByAll makes n pins that the IPFS nodes of all peers hold, and returns their request IDs.
func heldByAll(t *testing.T, peers []*harness.Peer, n int) []string {
	t.Helper()
	var contents []string
	for n := range n {
		contents = append(contents, peers[0].Add(inline(t, fmt.Sprintf("held by both, %d", n)), "").RequestID)
	}
	for _, peer := range peers {
		for _, c := range contents {
			harness.Eventually(t, harness.Timeout, peer.Name+" holds it", func() error {
				if gone(peer, []string{c}) == nil {
					return harness.ErrNotYet
				}
				return nil
			})
		}
	}
	return contents
}

func testDeletesWhileAnIPFSNodeIsAway(t *testing.T, consensus string) {
	t.Parallel()
	h := harness.New(t)
	peers := h.Cluster(2, consensus)
	one, two := peers[0], peers[1]
	contents := heldByAll(t, peers, 20)
	byHand := strings.TrimSpace(two.TryStdin("the operator's own", "ipfs", "add", "--quieter", "--cid-version=1").Stdout)

	first, second := contents[:10], contents[10:]
	kill(t, managedKubo(t, two))
	remove(t, one, first)
	harness.Eventually(t, harness.ReadyTimeout, "Kubo runs again", func() error {
		if r := two.Try("ipfs", "id"); r.Err != nil {
			return r.Err
		}
		return nil
	})
	harness.Eventually(t, 30*time.Second, "they are removed at peer two", func() error { return gone(two, first) })

	// The same with a restart of the peer, which forgets what failed.
	two.Edit(func(c harness.Section) {
		c.Section("ipfs_connector", "managed").Set("restart_delay_min", "1m")
	})
	two.Stop()
	two.Start()
	one.WaitReady() // With Raft it had no quorum meanwhile.
	kill(t, managedKubo(t, two))
	remove(t, one, second)
	harness.Eventually(t, harness.Timeout, "peer two knows of the deletes", func() error {
		page, err := two.List("status=queued,pinning,pinned,failed")
		if err == nil && page.Count != 0 {
			err = fmt.Errorf("%d pins", page.Count)
		}
		return err
	})
	two.Stop()
	two.Start()
	harness.Eventually(t, harness.Timeout, "they are removed after the restart", func() error { return gone(two, second) })

	if err := gone(two, []string{byHand}); err == nil {
		t.Errorf("the pin that the operator made was removed: %s", byHand)
	}
	want(t, request(t, two, http.MethodGet, "/ready", nil), http.StatusOK, "does not have: 1")
}

// lateNode is a proxy in front of a Kubo that completes a cancelled pin after the
// request to remove it, as Kubo itself does once in a while.
type lateNode struct {
	*httputil.ReverseProxy
	kubo *url.URL

	mu      sync.Mutex
	held    string // the content whose pin is late
	begun   chan struct{}
	removed chan struct{}
	done    chan struct{}
}

func (l *lateNode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	held := l.held != "" && r.URL.Query().Get("arg") == l.held
	l.mu.Unlock()
	switch {
	case held && strings.HasSuffix(r.URL.Path, "/pin/add"):
		_, _ = fmt.Fprintln(w, `{"Progress":1}`)
		w.(http.Flusher).Flush()
		l.mu.Lock()
		l.held = "" // Only the first.
		l.mu.Unlock()
		close(l.begun)
		<-r.Context().Done()
		go l.pinLate(r)
	case strings.HasSuffix(r.URL.Path, "/pin/rm"):
		l.ReverseProxy.ServeHTTP(w, r)
		select {
		case l.removed <- struct{}{}:
		default:
		}
	default:
		l.ReverseProxy.ServeHTTP(w, r)
	}
}

// pinLate completes a pin.
func (l *lateNode) pinLate(r *http.Request) {
	defer close(l.done)
	<-l.removed
	late := r.Clone(context.Background())
	late.URL.Scheme, late.URL.Host, late.RequestURI = "http", l.kubo.Host, ""
	if resp, err := http.DefaultClient.Do(late); err == nil {
		_ = resp.Body.Close()
	}
}

// POST and DELETE of one CID at once: a pin that is cancelled may be completed by Kubo
// after the request to remove it (U40 in docs/upstream-faults.md).
func TestAPinThatKuboCompletesAfterItsRemovalIsRemoved(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	node := h.Kubo()
	node.Start()
	rpc, err := multiaddr.NewMultiaddr(node.RPC())
	if err != nil {
		t.Fatal(err)
	}
	_, host, err := manet.DialArgs(rpc)
	if err != nil {
		t.Fatal(err)
	}
	kubo := &url.URL{Scheme: "http", Host: host}
	late := &lateNode{
		ReverseProxy: httputil.NewSingleHostReverseProxy(kubo), kubo: kubo,
		begun: make(chan struct{}), removed: make(chan struct{}, 1), done: make(chan struct{}),
	}
	late.FlushInterval = -1
	proxy := httptest.NewServer(late)
	t.Cleanup(proxy.Close)
	addr, err := manet.FromNetAddr(proxy.Listener.Addr())
	if err != nil {
		t.Fatal(err)
	}
	somebodys := node.Add("of somebody else").String()
	peer := h.Peer(harness.InitOptions{ExternalIPFS: addr.String()})
	peer.Start()

	c := strings.TrimSpace(node.IpfsStdin("once in 600 times", "add", "--quieter", "--cid-version=1", "--pin=false"))
	late.mu.Lock()
	late.held = c
	late.mu.Unlock()
	want(t, request(t, peer, http.MethodPost, "/pins", map[string]string{"cid": c}), http.StatusAccepted, "")
	<-late.begun
	want(t, request(t, peer, http.MethodDelete, "/pins/"+c, nil), http.StatusAccepted, "")
	<-late.done
	harness.Eventually(t, 30*time.Second, "Kubo does not keep it", func() error {
		if kuboPins(node.Ipfs("pin", "ls", "--type=recursive", "--quiet"))[c] {
			return harness.ErrNotYet
		}
		return nil
	})
	// The node is not the peer's: what others pinned there is only told.
	harness.Eventually(t, harness.Timeout, "the other pin is told", func() error {
		if r := request(t, peer, http.MethodGet, "/ready", nil); !strings.Contains(string(r.Body), "orphan pins") {
			return fmt.Errorf("%s", r.Body)
		}
		return nil
	})
	if !kuboPins(node.Ipfs("pin", "ls", "--type=recursive", "--quiet"))[somebodys] {
		t.Error("the pin of somebody else was removed")
	}
}

// A frozen IPFS node fails no pin, holds up no request, and all goes on when it thaws.
func TestFrozenIPFSNode(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	node := h.Kubo()
	peer := h.Peer(harness.InitOptions{ExternalIPFS: node.FixRPCPort()})
	node.Start()
	peer.Start()
	held := node.Add("held before").String()
	peer.WaitPinned(peer.Add(node.Add("held before"), "held").RequestID)
	stuck := peer.Add(unknown(t, ""), "in progress").RequestID
	harness.Eventually(t, harness.Timeout, "the try has begun", func() error { return statusOf(peer, stuck, "pinning", "") })

	node.Process().Signal(syscall.SIGSTOP)
	thaw := sync.OnceFunc(func() { node.Process().Signal(syscall.SIGCONT) })
	defer thaw()
	asked := inline(t, "asked for meanwhile").String()
	began := time.Now()
	r := request(t, peer, http.MethodPost, "/pins", map[string]string{"cid": asked})
	if r.Status != http.StatusAccepted && r.Status != http.StatusServiceUnavailable {
		t.Errorf("POST: %d %s", r.Status, r.Body)
	}
	harness.Eventually(t, harness.Timeout, "the peer sees that the node is frozen", func() error {
		pin, err := peer.Get(stuck)
		if err == nil && !strings.Contains(pin.Info["status_details"], "waiting for the IPFS node") {
			err = fmt.Errorf("it is %s (%v)", pin.Status, pin.Info)
		}
		return err
	})
	t.Logf("seen after %s", time.Since(began).Round(time.Second))
	harness.Always(t, harness.Settle, "nothing fails, and requests end in time", func() error {
		begin := time.Now()
		page, err := peer.List("status=queued,pinning,pinned,failed")
		if err != nil {
			return err
		}
		for _, pin := range page.Results {
			if pin.Status == "failed" || pin.Info["attempts"] != "" || pin.RequestID == held && pin.Status != "pinned" {
				return fmt.Errorf("%s is %s (%v)", pin.RequestID, pin.Status, pin.Info)
			}
		}
		if _, err := peer.Get(held); err != nil {
			return err
		}
		if took := time.Since(begin); took > 10*time.Second {
			return fmt.Errorf("a list and a GET took %s", took)
		}
		return nil
	})

	thaw()
	began = time.Now()
	if r.Status == http.StatusAccepted {
		harness.Eventually(t, 30*time.Second, "the new pin is made", func() error { return statusOf(peer, asked, "pinned", "") })
	}
	harness.Eventually(t, 30*time.Second, "the old one is tried again", func() error { return statusOf(peer, stuck, "pinning", "") })
	t.Logf("true statuses %s after the thaw", time.Since(began).Round(time.Second))
}
