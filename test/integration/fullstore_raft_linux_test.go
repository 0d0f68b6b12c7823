package integration

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// A Raft peer keeps its state in memory and its log on the disk. While that is full, changes are refused, for the
// reason, and reads go on; with space again all goes on without a restart, and nothing accepted is lost.
func TestFullStore_WithRaft(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	s := &fullStore{t: t, disk: h.Disk(96 << 20), peer: h.Peer(harness.InitOptions{Args: []string{"--consensus", "raft"}})}
	s.peer.Edit(func(c harness.Section) { c.Section("consensus", "raft").Set("data_folder", s.disk.Dir+"/raft") })
	s.peer.Start()
	s.accept(20)
	free := s.fill()
	const reason = "the change was not begun: the disk of this peer's Raft log is full (consensus.raft.data_folder)"
	if r, err := s.post(); err != nil || r.Status != http.StatusServiceUnavailable || !strings.Contains(string(r.Body), reason) {
		t.Errorf("with the disk full: %v %d %s", err, r.Status, r.Body)
	}
	if r, err := s.peer.Ask(http.MethodGet, "/ready", nil); err != nil || !strings.Contains(string(r.Body), "the disk of the Raft log, consensus.raft.data_folder, is full") {
		t.Errorf("ready: %v %d %s", err, r.Status, r.Body)
	}
	s.reads("with the disk full")
	free()
	ended := time.Now()
	s.acceptsAgain(trueWithin)
	s.trueAgain(ended)
	s.reads("with space again")
	s.peer.Kill()
	s.peer.Start()
	s.reads("after a kill")
	s.peer.Stop() // Before its disk is gone.
}
