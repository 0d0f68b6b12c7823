package integration

import (
	"crypto/rand"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/crypto"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// promptly bounds the time until a pin is pinned whose content can be had.
// A try without progress is given up after two minutes only, so that no pin is
// in time because of a second try.
const promptly = 20 * time.Second

// waitStatus waits until the peer shows the pin with the status.
func waitStatus(t *testing.T, within time.Duration, p *harness.Peer, requestID, status string) {
	t.Helper()
	harness.Eventually(t, within, status, func() error {
		pin, err := p.Get(requestID)
		if err == nil && pin.Status != status {
			err = fmt.Errorf("it is %s (%v)", pin.Status, pin.Info)
		}
		return err
	})
}

// originsOf are the addresses of a started node.
func originsOf(k *harness.Kubo) []string { return strings.Fields(k.Ipfs("id", "-f", "<addrs>")) }

// unreachableOrigins are addresses of nodes that are not there. At every other
// one connections are accepted and never used, so that dials hang.
func unreachableOrigins(t *testing.T, n int) []string {
	t.Helper()
	var origins []string
	for i := range n {
		_, key, err := crypto.GenerateEd25519Key(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		id, err := libp2ppeer.IDFromPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		port := harness.FreePort(t)
		if i%2 == 0 {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
		}
		origins = append(origins, fmt.Sprintf("/ip4/127.0.0.1/tcp/%d/p2p/%s", port, id))
	}
	return origins
}

// holder is a started node that has content, and that nobody knows of.
func holder(t *testing.T, h *harness.Harness) (*harness.Kubo, cid.Cid) {
	t.Helper()
	k := h.Kubo()
	k.Start()
	return k, k.Add(strings.Repeat(t.Name()+"\n", 20_000))
}

// Upstream dials the first ten origins.
func TestOrigins_LastOfThirteenHasTheContent(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	peer := h.Peer(harness.InitOptions{})
	peer.Start()
	node, c := holder(t, h)
	pin := peer.Add(c, "last", append(unreachableOrigins(t, 12), originsOf(node)[0])...)
	waitStatus(t, promptly, peer, pin.RequestID, "pinned")
}

// Upstream's tracker ignores the origins of a new record of a pin in progress.
func TestOrigins_NewOriginOfPinInProgress(t *testing.T) {
	t.Parallel()
	for name, external := range map[string]bool{"managed node": false, "external node": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := harness.New(t)
			var opts harness.InitOptions
			if external {
				k := h.Kubo()
				k.Start()
				opts.ExternalIPFS = k.RPC()
			}
			peer := h.Peer(opts)
			peer.Start()
			node, c := holder(t, h)
			pin := peer.Add(c, "first")
			waitStatus(t, harness.Timeout, peer, pin.RequestID, "pinning")
			again := peer.Add(c, "second", originsOf(node)...)
			if again.RequestID != pin.RequestID {
				t.Fatalf("request ID %s became %s", pin.RequestID, again.RequestID)
			}
			waitStatus(t, promptly, peer, pin.RequestID, "pinned")
		})
	}
}

// The node of the content stops when a file of it is fetched, and comes back
// with the other. It does not know the peer's node, so the latter has to dial.
func TestOrigins_NodeComesBack(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	peer := h.Peer(harness.InitOptions{})
	peer.Start()

	node := h.Kubo()
	node.Ipfs("config", "--json", "Addresses.Swarm", fmt.Sprintf(`["/ip4/127.0.0.1/tcp/%d"]`, harness.FreePort(t)))
	node.Start()
	const first, missing = "there at first", "missing at first"
	root, err := cid.Decode(strings.TrimSpace(node.Shell(fmt.Sprintf(
		`mkdir d; printf '%s' > d/a; printf '%s' > d/b; ipfs add -r --quieter --cid-version=1 --pin=false d`, first, missing))))
	if err != nil {
		t.Fatal(err)
	}
	there := node.Add(first)
	node.Ipfs("block", "rm", strings.TrimSpace(node.IpfsStdin(missing, "add", "--quieter", "--cid-version=1", "--only-hash")))

	pin := peer.Add(root, "directory", originsOf(node)...)
	harness.Eventually(t, promptly, "the first file is there", func() error {
		return peer.Try("ipfs", "--offline", "block", "stat", there.String()).Err
	})
	node.Stop()
	node.Add(missing)
	waitStatus(t, harness.Timeout, peer, pin.RequestID, "pinning")
	node.Start()
	// The longest pause between two dials is 30 seconds.
	waitStatus(t, harness.Timeout, peer, pin.RequestID, "pinned")
}

// Kubo asks a node that it is connected to for content only if the node gave it
// some before or has a private address. An origin that was connected before the
// pin started is neither.
func TestOrigins_ConnectedBeforeThePin(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	peer := h.Peer(harness.InitOptions{})
	peer.Start()
	node := h.Kubo()
	// A public address. Nobody dials it, since the node is the one that connects.
	node.Ipfs("config", "--json", "Addresses.Announce", `["/ip4/8.8.8.8/tcp/4001"]`)
	node.Start()
	c := node.Add(strings.Repeat(t.Name()+"\n", 20_000))
	delegates := peer.Add(unknown(t, ""), "only for the delegates").Delegates
	node.Ipfs("swarm", "connect", delegates[0])

	pin := peer.Add(c, "connected", originsOf(node)...)
	waitStatus(t, promptly, peer, pin.RequestID, "pinned")
}
