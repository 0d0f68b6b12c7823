package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// The IPFS node of somebody else, away at the start and later.
func TestExternalIPFSNodeComesAndGoes(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	node := h.Kubo()
	peer := h.Peer(harness.InitOptions{ExternalIPFS: node.FixRPCPort()})

	peer.StartOnly()
	peer.WaitNotReady("IPFS")
	want(t, request(t, peer, http.MethodGet, "/health", nil), http.StatusOK, "")
	r := request(t, peer, http.MethodPost, "/pins", map[string]string{"cid": unknown(t, "").String()})
	want(t, r, http.StatusServiceUnavailable, "SERVICE_UNAVAILABLE")
	if r.Header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}

	node.Start()
	peer.WaitReady()
	c := node.Add("on the external node")
	peer.WaitPinned(peer.Add(c, "external").RequestID)

	node.Kill()
	peer.WaitNotReady("IPFS")
	harness.Always(t, harness.Settle, "the daemon stays, and pins do not fail", func() error {
		if r, err := peer.Ask(http.MethodGet, "/health", nil); err != nil || r.Status != http.StatusOK {
			return fmt.Errorf("/health: %v, %v", r, err)
		}
		page, err := peer.List("status=queued,pinning,pinned,failed")
		if err == nil && (page.Count != 1 || page.Results[0].Status == "failed") {
			err = fmt.Errorf("the list is %v", page)
		}
		return err
	})

	// What is accepted while the node is away is kept, and says what it waits for.
	later := peer.Add(inline(t, "while the node is away"), "later")
	harness.Eventually(t, harness.ReadyTimeout, "the new pin waits for the node", func() error {
		pin, err := peer.Get(later.RequestID)
		if err == nil && (pin.Status != "queued" || !strings.Contains(pin.Info["status_details"], "waiting for the IPFS node")) {
			err = fmt.Errorf("it is %s, %v", pin.Status, pin.Info)
		}
		return err
	})

	node.Start()
	ended := time.Now()
	trueAgain(t, ended, map[string]string{c.String(): "external pinned", later.RequestID: "later pinned"}, peer)
	harness.Eventually(t, time.Until(ended.Add(trueWithin)), "ready again in time", peer.Ready)
}

// A frozen IPFS node keeps its connections and responds to nothing.
func TestReady_AFrozenIPFSNodeShowsSoon(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	node := h.Kubo()
	peer := h.Peer(harness.InitOptions{ExternalIPFS: node.FixRPCPort()})
	node.Start()
	t.Cleanup(func() { node.Process().Signal(syscall.SIGCONT) })
	peer.Start()
	for range 3 {
		node.Process().Signal(syscall.SIGSTOP)
		began := time.Now()
		peer.WaitNotReady("the IPFS node does not respond")
		// The documents say 3 seconds, of a machine that has time.
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it shows after %s", took)
		}
		node.Process().Signal(syscall.SIGCONT)
		peer.WaitReady()
	}
}

// Two failures that a newcomer meets: the port is taken, the folder is in use.
func TestSecondDaemonOnOneFolderIsRefused(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	peer := h.Peer(harness.InitOptions{})
	peer.Start()

	r := peer.Try("daemon")
	if r.Err == nil || !strings.Contains(r.Stderr, "lock") {
		t.Errorf("want a refusal that speaks of the lock, got %v, %s", r.Err, r.Stderr)
	}
	other := h.Peer(harness.InitOptions{})
	taken := peer.Config().Section("api", "pinsvcapi").Strings("http_listen_multiaddress")
	other.Edit(func(c harness.Section) {
		c.Section("api", "pinsvcapi").Set("http_listen_multiaddress", taken)
	})
	r = other.Try("daemon")
	if r.Err == nil || !strings.Contains(r.Stderr, taken[0][strings.LastIndex(taken[0], "/")+1:]) ||
		!strings.Contains(r.Stderr, "http_listen_multiaddress") {
		t.Errorf("want a refusal that names the port and its key, got %v, %s", r.Err, r.Stderr)
	}
	if err := peer.Ready(); err != nil {
		t.Errorf("the first daemon suffered: %v", err)
	}
}

// The answers of a running service carry what the document at /openapi.yaml
// is about, without credentials.
func TestOpenRoutes(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	peer := h.Peer(harness.InitOptions{})
	peer.Start()
	peer.User, peer.Password = "", ""

	for _, path := range []string{"/health", "/ready", "/openapi.yaml"} {
		want(t, request(t, peer, http.MethodGet, path, nil), http.StatusOK, "")
	}
	r := request(t, peer, http.MethodGet, "/pins", nil)
	want(t, r, http.StatusUnauthorized, "UNAUTHORIZED")
	if !json.Valid(r.Body) || r.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("401 with %v and %s", r.Header, r.Body)
	}
}
