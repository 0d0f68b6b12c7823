package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// A power failure takes all peers at once, before any of them was ever stopped in order. They have
// each other's addresses all the same, so that none says 404 of what another one has accepted.
func TestPeersThatWereAllKilledFindEachOther(t *testing.T) {
	t.Parallel()
	for _, consensus := range []string{"crdt", "raft"} {
		t.Run(consensus, func(t *testing.T) {
			t.Parallel()
			peers := harness.New(t).Cluster(3, consensus)
			for _, peer := range peers {
				for _, other := range peers {
					if other != peer {
						waitRemembered(t, peer, other)
					}
				}
			}
			for _, peer := range peers {
				peer.Kill()
			}
			for _, peer := range peers {
				peer.StartOnly()
			}
			for _, peer := range peers {
				peer.WaitReady()
			}
			for i := range 5 {
				id := inline(t, fmt.Sprint("after the failure ", consensus, i)).String()
				at := peers[i%len(peers)]
				want(t, request(t, at, http.MethodPost, "/pins", map[string]string{"cid": id}), http.StatusAccepted, "")
				for _, peer := range peers {
					want(t, request(t, peer, http.MethodGet, "/pins/"+id, nil), http.StatusOK, "")
				}
			}
		})
	}
}

// waitRemembered waits until a peer's file has the address of another one.
func waitRemembered(t *testing.T, peer, other *harness.Peer) {
	t.Helper()
	harness.Eventually(t, harness.Timeout, "the file peerstore has the other peers", func() error {
		content, err := os.ReadFile(filepath.Join(peer.Dir, "peerstore"))
		if err == nil && !strings.Contains(string(content), other.ID()) {
			return fmt.Errorf("%q lacks %s", content, other.ID())
		}
		return err
	})
}
