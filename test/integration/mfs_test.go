package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// mfsClient is a running node that keeps its file system pinned at the peer as "my files".
func mfsClient(h *harness.Harness, peer *harness.Peer) *harness.Kubo {
	// Kubo's own switch for tests; it looks every 30 s otherwise.
	client := h.Kubo("MFS_PIN_POLL_INTERVAL=1s")
	client.AddService("svc", peer.Endpoint(), peer.Token())
	const policy = "Pinning.RemoteServices.svc.Policies.MFS."
	client.Ipfs("config", "--json", policy+"Enable", "true")
	client.Ipfs("config", policy+"PinName", "my files")
	client.Ipfs("config", policy+"RepinInterval", "1s")
	client.Start()
	return client
}

// Kubo's policy keeps the root of its file system pinned at a service: it
// lists by name over all statuses, then replaces what it finds.
func TestKuboKeepsItsFilesPinnedByPolicy(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	peer := h.Peer(harness.InitOptions{})
	peer.Start()
	client := mfsClient(h, peer)

	root := func() string { return strings.TrimSpace(client.Ipfs("files", "stat", "--hash", "/")) }
	seen := false
	// only is nil when the service holds one pin of that name, of that root,
	// and it is pinned. Once there was a pin there has to be one at any time.
	only := func(root string) func() error {
		return func() error {
			page, err := peer.List("name=my+files&status=queued,pinning,pinned,failed")
			if err != nil {
				return err
			}
			if seen && page.Count == 0 {
				t.Fatal("the policy's pin is lost")
			}
			if page.Count == 0 {
				return harness.ErrNotYet
			}
			seen = true
			if page.Count > 1 {
				t.Fatalf("%d pins have its name", page.Count)
			}
			pin := page.Results[0]
			if pin.Pin.CID != root || pin.Status != "pinned" {
				return fmt.Errorf("the pin is %s (%s), the root %s", pin.Pin.CID, pin.Status, root)
			}
			return nil
		}
	}
	empty := root()
	harness.Eventually(t, harness.Timeout, "the empty root is pinned", only(empty))
	old := empty
	for i := range 3 {
		client.IpfsStdin(fmt.Sprintf("content %d", i), "files", "write", "--create", fmt.Sprintf("/file%d", i))
		now := root()
		if now == old {
			t.Fatal("the root has not changed")
		}
		harness.Eventually(t, harness.Timeout, "the changed root is pinned", only(now))
		if err := peer.HoldsOffline(now); err != nil {
			t.Errorf("the root is pinned, but the service's node does not hold it: %v", err)
		}
		if _, err := peer.Get(old); err == nil {
			t.Errorf("the root that was replaced, %s, still has its request ID", old)
		}
		old = now
	}

	// A new Kubo process remembers nothing: it lists, finds its pin and keeps it.
	client.Stop()
	client.Start()
	client.Ipfs("files", "rm", "/file2")
	client.Ipfs("files", "rm", "/file1")
	client.Ipfs("files", "rm", "/file0")
	if got := root(); got != empty {
		t.Fatalf("the emptied root is %s, it was %s", got, empty)
	}
	harness.Eventually(t, harness.Timeout, "the root that was pinned before is pinned again", only(empty))
	harness.Always(t, harness.Settle, "the pin of an unchanged root stays", only(empty))
}
