package load

import (
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// restart is what a restart with many pins was like.
type restart struct {
	pins                int
	seeded              time.Duration // until all were pinned
	stopped, killed     time.Duration // from the start to ready, after either
	before, after, most int           // bytes resident: before, once ready, and the most meanwhile
}

// TestLoad_Restart restarts the daemon with many pins, after an orderly stop and
// after kill -9. All of them are there as soon as it is ready.
func TestLoad_Restart(t *testing.T) {
	h := harness.New(t)
	node := h.Kubo()
	rpc := node.FixRPCPort()
	node.Start()
	peer := newPeer(h, rpc)
	peer.Start()
	began := time.Now()
	seed(t, peer, *restarted)
	result := restart{pins: *restarted, seeded: time.Since(began), before: peer.Process().Resident()}
	peer.Stop()
	result.stopped = result.start(t, peer)
	peer.Kill()
	result.killed = result.start(t, peer)
	t.Logf("%d pins (seeded in %s): ready %s after a stop, %s after kill -9; %d MiB before, %d MiB once ready, %d MiB at most",
		result.pins, result.seeded.Round(time.Second), result.stopped, result.killed, result.before>>20, result.after>>20, result.most>>20)
	record.restart(result)
}

// start starts the peer and wants all pins once it is ready.
func (r *restart) start(t *testing.T, peer *harness.Peer) time.Duration {
	t.Helper()
	began := time.Now()
	peer.StartOnly()
	memory := watchMemory(t, peer.Process())
	harness.Eventually(t, harness.ReadyTimeout+time.Duration(*restarted)*time.Millisecond, "the peer is ready", peer.Ready)
	took := time.Since(began)
	list, err := peer.List("limit=1&status=queued,pinning,pinned,failed")
	if err != nil || list.Count != *restarted {
		t.Errorf("%d pins once it is ready, want %d: %v", list.Count, *restarted, err)
	}
	r.most = max(r.most, memory())
	r.after = peer.Process().Resident()
	return took.Round(time.Millisecond)
}
