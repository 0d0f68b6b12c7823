package integration

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// The disk of a store that refuses writes is full for as long as one commit of 256 writes is tried ten
// times. Soon after there is space changes are accepted, and all that was tried is there (U101).
func TestFullStore_ManyWritesForManyTries(t *testing.T) {
	t.Parallel()
	const writes = 256
	h := harness.New(t)
	s := &fullStore{t: t, disk: h.Disk(96 << 20), peer: h.Peer(harness.InitOptions{Args: []string{"--datastore", "leveldb"}})}
	s.peer.Edit(func(c harness.Section) {
		c.Section("datastore", "leveldb").Set("folder", s.disk.Dir+"/store")
		batching := c.Section("consensus", "crdt", "batching")
		batching.Set("max_batch_size", writes)
		batching.Set("max_batch_age", "3s")
	})
	s.peer.Start()
	s.accept(1)
	free := s.disk.Fill(0)
	var posts sync.WaitGroup
	for n := range writes {
		c := inline(t, fmt.Sprint("for a while ", n)).String()
		posts.Go(func() {
			r, err := s.write(http.MethodPost, "/pins", map[string]any{"cid": c})
			if err != nil || r.Status != http.StatusServiceUnavailable {
				t.Errorf("with the store full: %v %d %s", err, r.Status, r.Body)
			}
		})
	}
	posts.Wait()
	s.peer.Process().WaitOutput(harness.Timeout, ": try 10: ")
	free()
	ended := time.Now()
	s.acceptsAgain(10 * time.Second)
	s.trueAgain(ended)
	page, err := s.peer.List("status=queued,pinning,pinned,failed&limit=1")
	t.Logf("%d pins are there", page.Count)
	if err != nil || page.Count < writes/2 { // The commit that was tried has those that came within its linger.
		t.Errorf("%d pins, %v", page.Count, err)
	}
	s.reads("with space again")
	s.peer.Stop() // Before its disk is gone.
}
