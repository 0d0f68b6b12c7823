package peer

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
)

// endsLater is the context of a request that has ended when it is asked for the second time, which is
// after its write was accepted; the write is not told.
type endsLater struct {
	context.Context
	asked atomic.Uint32
}

func (e *endsLater) Err() error {
	if e.asked.Add(1) == 1 {
		return nil
	}
	return context.Canceled
}

// The API hears once more of a change that is committed after its client was told that it may still
// take effect: what the hook of the consensus said came before the commit.
func TestPeer_ALateCommitIsAnnounced(t *testing.T) {
	files := upstreamFiles(t, "crdt", "pebble", noAPIs, externalNode(t, rpcOfID(t, firstID)))
	p, _ := newPeer(t, files)
	noError(t, p.Start(t.Context()))
	await.Closed(t, "readiness", p.Ready())
	seen := make(chan clusterrpc.Event, 100)
	defer p.tracker.Subscribe(func(e clusterrpc.Event) { seen <- e })()
	pin := pinNamed(t, "late")
	wants := func(want clusterrpc.Event, times int) {
		t.Helper()
		for range times {
			select {
			case e := <-seen:
				if e != want {
					t.Errorf("event %+v, want %+v", e, want)
				}
			case <-time.After(deadline):
				t.Fatalf("no event %+v", want)
			}
		}
		if len(seen) > 0 {
			t.Errorf("one event too much: %+v", <-seen)
		}
	}

	noError(t, p.consensus.LogPin(t.Context(), pin))
	wants(clusterrpc.RecordEvent(pin), 1)
	pin.Name = "renamed"
	noError(t, p.consensus.LogPin(&endsLater{Context: t.Context()}, pin))
	wants(clusterrpc.RecordEvent(pin), 2)
	noError(t, p.consensus.LogUnpin(&endsLater{Context: t.Context()}, pin))
	wants(clusterrpc.RemovalEvent(pin.Cid), 2)
}
