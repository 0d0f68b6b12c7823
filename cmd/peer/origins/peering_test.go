package origins

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
)

// inspectIPFS calls inspect when it is to pin.
type inspectIPFS struct {
	*fakeIPFS
	inspect func()
}

func (i inspectIPFS) Pin(ctx context.Context, pin api.Pin) error {
	i.inspect()
	return i.fakeIPFS.Pin(ctx, pin)
}

// The IPFS node knows the origins before it decides whom to ask.
func TestPeering_BeforeThePin(t *testing.T) {
	inBubble(t, func(w *world) {
		there := false
		w.IPFSConnector = inspectIPFS{w.ipfs, func() { there = w.swarm.peered(nodeID(1)) }}
		end := w.pin(record(1, publicOrigin(t, 1)))
		if !there {
			t.Error("the origin came into the peering subsystem too late")
		}
		end()
	})
}

func TestPeering_NewOriginOfPinInProgress(t *testing.T) {
	inBubble(t, func(w *world) {
		end := w.pin(record(1))
		w.Update(record(1, publicOrigin(t, 1)))
		synctest.Wait()
		if !w.swarm.peered(nodeID(1)) {
			t.Error("the new origin is not in the peering subsystem")
		}
		end()
	})
}

// Nodes stay as long as a pin needs them and a little longer.
func TestPeering_RemovesNodes(t *testing.T) {
	inBubble(t, func(w *world) {
		end, endOther := w.pin(record(1, publicOrigin(t, 1), publicOrigin(t, 2))), w.pin(record(2, publicOrigin(t, 2)))
		w.after(time.Hour / 2)
		if !w.swarm.peered(nodeID(1)) || !w.swarm.peered(nodeID(2)) {
			t.Error("an origin of a pin in progress is gone")
		}
		end()
		w.after(2 * peeringLinger)
		if w.swarm.peered(nodeID(1)) || !w.swarm.peered(nodeID(2)) {
			t.Errorf("after the end of one pin: %v", w.swarm.peers)
		}
		endOther()
		w.after(2 * peeringLinger)
		if w.swarm.peered(nodeID(2)) {
			t.Errorf("after the end of all pins: %v", w.swarm.peers)
		}
	})
}

// A removal that fails is tried again, and the node is not taken for the
// operator's.
func TestPeering_RemovalIsRetried(t *testing.T) {
	inBubble(t, func(w *world) {
		end := w.pin(record(1, publicOrigin(t, 1)))
		w.after(time.Second)
		end()
		w.swarm.fail(errors.New("the node is busy"))
		w.after(2 * peeringLinger)
		w.swarm.fail(nil)
		if !w.swarm.peered(nodeID(1)) {
			t.Error("it was removed")
		}
		w.after(2 * peeringLinger)
		if w.swarm.peered(nodeID(1)) {
			t.Error("it stays for ever")
		}
	})
}

// What an operator put there stays there, also after a shutdown.
func TestPeering_LeavesNodesOfTheOperator(t *testing.T) {
	inBubble(t, func(w *world) {
		w.swarm.peers[nodeID(1)], w.swarm.peers[nodeID(3)] = true, true
		end := w.pin(record(1, publicOrigin(t, 1), publicOrigin(t, 2)))
		w.after(2 * peeringValid) // Checked again meanwhile.
		end()
		w.after(2 * peeringLinger)
		end = w.pin(record(2, publicOrigin(t, 1), publicOrigin(t, 2)))
		end()
		if err := w.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if !w.swarm.peered(nodeID(1)) || !w.swarm.peered(nodeID(3)) || w.swarm.peered(nodeID(2)) {
			t.Errorf("left: %v", w.swarm.peers)
		}
	})
}

// A node that restarts has forgotten the origins.
func TestPeering_NodeRestarts(t *testing.T) {
	inBubble(t, func(w *world) {
		end := w.pin(record(1, publicOrigin(t, 1)))
		_ = w.swarm.RemovePeers(context.Background(), ids(1))
		w.after(2 * peeringValid)
		if !w.swarm.peered(nodeID(1)) {
			t.Error("the origin is not added again")
		}
		end()
		w.after(2 * peeringLinger)
		if w.swarm.peered(nodeID(1)) {
			t.Error("the origin stays for ever")
		}
	})
}

// Requests are few for many short pins with the same origin.
func TestPeering_StreamOfPins(t *testing.T) {
	inBubble(t, func(w *world) {
		w.ipfs.takes = 5 * time.Millisecond
		for n := range 2000 { // Ten seconds.
			if err := w.Pin(w.t.Context(), record(n, publicOrigin(t, 1))); err != nil {
				t.Error(err)
			}
		}
		if got := w.swarm.requestsMade(); got > 3 {
			t.Errorf("%d requests", got)
		}
	})
}

// A node that refuses neither fails nor delays pins, and is not asked for each.
func TestPeering_Failure(t *testing.T) {
	inBubble(t, func(w *world) {
		w.swarm.err = errors.New("unknown command")
		w.ipfs.takes = 5 * time.Millisecond
		begin := time.Now()
		for n := range 100 {
			if err := w.Pin(w.t.Context(), record(n, publicOrigin(t, n))); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(begin); took > 600*time.Millisecond {
			t.Errorf("100 pins took %s", took)
		}
		if got := w.swarm.requestsMade(); got > 2 {
			t.Errorf("%d requests", got)
		}
	})
}

// A node that does not reply delays a pin only so long.
func TestPeering_Timeout(t *testing.T) {
	inBubble(t, func(w *world) {
		w.ipfs.takes = 0
		w.swarm.hangs = true
		begin := time.Now()
		if err := w.Pin(w.t.Context(), record(1, publicOrigin(t, 1))); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took > peeringTimeout {
			t.Errorf("the pin took %s", took)
		}
	})
}
