package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// With Raft, who was removed is out of the file of every other member, so that an import there does not
// make it a member again, and a start of a follower has nobody to wait for.
func TestRemovedPeersAreForgotten(t *testing.T) {
	t.Parallel()
	peers := harness.New(t).Cluster(3, "raft")
	removed := peers[2]
	for _, peer := range peers[:2] {
		waitRemembered(t, peer, removed)
	}
	harness.Eventually(t, harness.Timeout, "the peer is removed", func() error {
		req, err := http.NewRequest(http.MethodDelete, peers[0].RESTEndpoint()+"/peers/"+removed.ID(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := harness.Send(req); err != nil || r.Status >= 300 {
			return fmt.Errorf("%w %d %s", err, r.Status, r.Body)
		}
		return nil
	})
	for i, peer := range peers[:2] {
		other := peers[1-i]
		harness.Eventually(t, harness.Timeout, "the file peerstore without the peer", func() error {
			content, err := os.ReadFile(filepath.Join(peer.Dir, "peerstore"))
			if text := string(content); err == nil && (strings.Contains(text, removed.ID()) || !strings.Contains(text, other.ID())) {
				return fmt.Errorf("%q should have %s, and not %s", text, other.ID(), removed.ID())
			}
			return err
		})
	}
	for _, peer := range peers[:2] { // One of them is a follower.
		peer.Stop()
		peer.Start()
		harness.Eventually(t, 5*time.Second, "an unknown pin is unknown", func() error {
			return notFound(t, peer, "Raft")
		})
	}
}

// With CRDT nobody knows whether a peer comes back. One that was away for long is not waited for at a
// start, and one that was there a moment ago is.
func TestPeersThatAreAwayForLongAreNotWaitedFor(t *testing.T) {
	t.Parallel()
	peers := harness.New(t).Cluster(3, "crdt")
	at, gone := peers[0], peers[2]
	waitRemembered(t, at, peers[1])
	waitRemembered(t, at, gone)
	gone.Kill()
	at.Stop()
	at.Start()
	want(t, request(t, at, http.MethodGet, "/pins/"+unknown(t, "a moment ago").String(), nil), http.StatusServiceUnavailable, "")

	at.Stop()
	path := filepath.Join(at.Dir, "peerstore")
	content, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(content), gone.ID()) {
		t.Fatalf("%v %q", err, content)
	}
	if err := os.WriteFile(path, append([]byte("# away for 1h: "+gone.ID()+"\n"), content...), 0o600); err != nil {
		t.Fatal(err)
	}
	at.Start()
	if err := notFound(t, at, "long ago"); err != nil {
		t.Error(err)
	}
	gone.Start()
	harness.Eventually(t, harness.Timeout, "the peer counts as there", func() error {
		content, err := os.ReadFile(path)
		if err == nil && (strings.Contains(string(content), "away") || !strings.Contains(string(content), gone.ID())) {
			return fmt.Errorf("%q", content)
		}
		return err
	})
}

// notFound returns nil when a peer says 404 of a CID that nobody has.
func notFound(t *testing.T, peer *harness.Peer, seed string) error {
	t.Helper()
	if r := request(t, peer, http.MethodGet, "/pins/"+unknown(t, seed).String(), nil); r.Status != http.StatusNotFound {
		return fmt.Errorf("%d %s", r.Status, r.Body)
	}
	return nil
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
