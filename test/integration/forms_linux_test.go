package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// C11: two Raft peers, of which one has to ask the other, that get the two forms of a CID at once write one record.
func TestBothFormsAtOnceAtTwoPeersAreOnePinWithRaft(t *testing.T) {
	t.Parallel()
	peers := harness.New(t).Cluster(2, "raft")
	want := make(map[string]string) // What each peer has in the end, by request ID.
	for n := range 10 {
		forms := bothForms(t, n)
		at := []*harness.Peer{peers[n%2], peers[(n+1)%2]}
		pins := make([]harness.Pin, len(at))
		var posts sync.WaitGroup
		for i, peer := range at {
			posts.Go(func() { pins[i] = posted(t, peer, forms[i]) })
		}
		posts.Wait()
		if pins[0].RequestID != pins[1].RequestID {
			t.Errorf("request IDs %q and %q", pins[0].RequestID, pins[1].RequestID)
		}
		want[pins[0].RequestID] = "both"
		for _, peer := range peers {
			for _, c := range forms {
				if got, err := peer.Get(c); err != nil || got.RequestID != pins[0].RequestID {
					t.Errorf("%s: GET of %s names %s, %v", peer.Name, c, got.RequestID, err)
				}
				page, err := peer.List("status=queued,pinning,pinned,failed&cid=" + c)
				if err != nil || page.Count != 1 || page.Results[0].RequestID != pins[0].RequestID {
					t.Errorf("%s: the list of %s is %+v, %v", peer.Name, c, page, err)
				}
			}
		}
	}
	for _, peer := range peers {
		harness.Eventually(t, trueWithin, peer.Name+" has one record for each", func() error {
			state, err := allocations(peer)
			got := make(map[string]string)
			for c := range state {
				got[c] = "both"
			}
			if err == nil && !maps.Equal(got, want) {
				err = fmt.Errorf("it has %v, want %v", got, want)
			}
			return err
		})
		page, err := peer.List("status=queued,pinning,pinned,failed&limit=1000")
		if err != nil || page.Count != len(want) {
			t.Errorf("%s lists %d pins, %v", peer.Name, page.Count, err)
		}
	}
}

// posted is the answer to a POST that has to be accepted.
func posted(t *testing.T, peer *harness.Peer, c string) (pin harness.Pin) {
	t.Helper()
	r, err := peer.Ask(http.MethodPost, "/pins", map[string]any{"cid": c})
	if err != nil || r.Status != http.StatusAccepted {
		t.Errorf("POST of %s at %s: %v, %d %s", c, peer.Name, err, r.Status, r.Body)
		return pin
	}
	if err := json.Unmarshal(r.Body, &pin); err != nil {
		t.Error(err)
	}
	return pin
}

// bothForms are the CIDv0 and the CIDv1 of content that nobody has.
func bothForms(t *testing.T, n int) []string {
	t.Helper()
	hash, err := multihash.Sum(fmt.Appendf(nil, "both forms %d", n), multihash.SHA2_256, -1)
	if err != nil {
		t.Fatal(err)
	}
	return []string{cid.NewCidV0(hash).String(), cid.NewCidV1(cid.DagProtobuf, hash).String()}
}
