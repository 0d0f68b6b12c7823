package integration

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// pinWatch looks again and again whether one of some contents is pinned.
type pinWatch struct {
	mu    sync.Mutex
	cids  []string
	n     int
	fault string
	done  chan struct{}
	ended chan struct{}
}

func watchPinned(peer *harness.Peer, cids ...string) *pinWatch {
	w := &pinWatch{cids: cids, done: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		for {
			select {
			case <-w.done:
				return
			case <-time.After(50 * time.Millisecond):
				w.look(peer)
			}
		}
	}()
	return w
}

// look compares the pins of the node with what was expected all the time that it took to list them.
func (w *pinWatch) look(peer *harness.Peer) {
	w.mu.Lock()
	before := slices.Clone(w.cids)
	w.mu.Unlock()
	r := peer.Try("ipfs", "pin", "ls", "--type=recursive", "--quiet")
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Err != nil || !slices.Equal(before, w.cids) {
		return // The node is restarted, or the test went on.
	}
	w.n++
	if !slices.ContainsFunc(before, func(cid string) bool { return strings.Contains(r.Stdout, cid) }) && w.fault == "" {
		w.fault = fmt.Sprintf("neither of %v is pinned; the node pins %s", before, r.Stdout)
	}
}

// expect sets of which contents one has to be pinned from now on.
func (w *pinWatch) expect(cids ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cids = cids
}

func (w *pinWatch) samples() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n
}

func (w *pinWatch) stop(t *testing.T) {
	close(w.done)
	<-w.ended
	if w.fault != "" {
		t.Error(w.fault)
	}
}
