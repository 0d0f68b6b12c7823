package integration

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// A peer with batches is frozen with writes that are not committed. When it goes on, another peer
// deletes what it then sees of them: they stay deleted, whatever the frozen peer had still to do.
func TestBatching_AFrozenPeerUndoesNoDelete(t *testing.T) {
	t.Parallel()
	const (
		pins   = 20
		batch  = 3 * time.Second
		frozen = 20 * time.Second
		// settled is longer than several batches and the waits of writes.
		settled = 15 * time.Second
	)
	h := harness.New(t)
	peers := []*harness.Peer{h.Peer(harness.InitOptions{Args: []string{"--consensus", "crdt"}})}
	for range 2 {
		peers = append(peers, h.Joining(peers[0], "crdt"))
	}
	for i, peer := range peers {
		peer.Edit(func(c harness.Section) {
			c.Section("consensus", "crdt").Set("rebroadcast_interval", "2s")
			c.Section("consensus", "crdt").Set("batching", map[string]any{"max_batch_size": 1000, "max_batch_age": batch.String()})
		})
		if i == 0 {
			peer.Start()
		} else {
			peer.StartOnly("--bootstrap", peers[0].Address())
		}
	}
	for _, peer := range peers {
		peer.WaitReady()
	}
	two, three := peers[1], peers[2]
	var cids []string
	var posting sync.WaitGroup
	var accepted atomic.Int64
	// refused has an entry for each pin that the frozen peer may never have got.
	var refused sync.Map
	for n := range pins {
		c := inline(t, fmt.Sprintf("frozen pin %d", n)).String()
		cids = append(cids, c)
		posting.Go(func() {
			r, err := three.Ask(http.MethodPost, "/pins", map[string]any{"cid": c})
			switch {
			case err == nil && r.Status == http.StatusAccepted:
				accepted.Add(1)
			case err != nil || r.Status == http.StatusServiceUnavailable || r.Status == http.StatusBadRequest:
				// The limits of a request go on while the peer is frozen.
				t.Logf("POST at the frozen peer: %v %d %s", err, r.Status, r.Body)
				refused.Store(c, true)
			default:
				t.Errorf("POST at the frozen peer: %d %s", r.Status, r.Body)
			}
		})
	}
	harness.Eventually(t, harness.Timeout, "the writes wait for their batch", func() error {
		page, err := three.List("status=queued,pinning,pinned,failed")
		if err == nil && page.Count > 0 {
			t.Fatal("the batch is committed before the peer is frozen")
		}
		return err
	})
	pid := three.Process().PID()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(frozen) // What is tested is this long.
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for _, c := range cids {
		harness.Eventually(t, harness.Timeout, "two deletes "+c, func() error {
			r, err := two.Ask(http.MethodDelete, "/pins/"+c, nil)
			if _, gone := refused.Load(c); gone && err == nil && r.Status == http.StatusNotFound {
				return nil
			}
			if err == nil && r.Status != http.StatusAccepted {
				err = fmt.Errorf("%d %s", r.Status, r.Body)
			}
			return err
		})
	}
	posting.Wait()
	if n := accepted.Load(); n < pins/2 {
		t.Errorf("%d of %d pins were accepted at the frozen peer", n, pins)
	}
	none := func() error {
		for _, peer := range peers {
			page, err := peer.List("status=queued,pinning,pinned,failed")
			if err != nil {
				return err
			}
			if page.Count > 0 {
				return fmt.Errorf("%s has %d of %d deleted pins", peer.Name, page.Count, pins)
			}
		}
		return nil
	}
	harness.Eventually(t, harness.Timeout, "all are deleted everywhere", none)
	harness.Always(t, settled, "they stay deleted", none)
}
