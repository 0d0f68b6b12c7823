package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// A managed node completes a pin after its removal (U40 in docs/upstream-faults.md), while the peer does not run, so that
// nothing but the scan after the start can find it. What the operator pinned in that node stays, whether the cluster has
// deleted the content or never had it.
func TestAPinThatKuboCompletesAfterItsRemovalIsRemovedAfterARestart(t *testing.T) {
	t.Parallel()
	const own = "ipfs-cluster-pinsvc" // The name of the peer's pins in its node.
	peer := harness.New(t).Peer(harness.InitOptions{})
	peer.Start()
	late, byHand := inline(t, "completed late").String(), inline(t, "pinned by the operator, too").String()
	for _, c := range []string{late, byHand} {
		peer.WaitPinned(peer.Add(cid.MustParse(c), "").RequestID)
	}
	kept := peer.Add(inline(t, "stays"), "").RequestID
	peer.WaitPinned(kept)
	remove(t, peer, []string{late, byHand})
	harness.Eventually(t, harness.Timeout, "both are unpinned", func() error { return gone(peer, []string{late, byHand}) })
	peer.Stop()

	never := strings.TrimSpace(peer.TryStdin("never of the cluster", "ipfs", "add", "--quieter", "--cid-version=1").Stdout)
	peer.Ipfs("pin", "add", "--name="+own, late)
	peer.Ipfs("pin", "add", byHand)
	for _, c := range []string{late, byHand, never, kept} {
		if gone(peer, []string{c}) == nil {
			t.Fatalf("%q is not pinned", c)
		}
	}
	peer.Start()
	harness.Eventually(t, harness.Timeout, "the node does not keep it", func() error { return gone(peer, []string{late}) })
	harness.Eventually(t, harness.Timeout, "the other two are told", func() error {
		if r := request(t, peer, http.MethodGet, "/ready", nil); !strings.Contains(string(r.Body), "does not have: 2") {
			return fmt.Errorf("%s", r.Body)
		}
		return nil
	})
	for _, c := range []string{byHand, never, kept} {
		if gone(peer, []string{c}) == nil {
			t.Errorf("%s was removed", c)
		}
	}
	peer.WaitPinned(kept)
}
