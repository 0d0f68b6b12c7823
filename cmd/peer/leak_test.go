package peer

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// A stopped peer leaves nothing running but what upstream cannot stop.
func TestPeer_StopLeavesNothingBehind(t *testing.T) {
	files := upstreamFiles(t, "crdt", "pebble", externalNode(t, rpcOfID(t, firstID)), managedNode(t))
	cfg := loaded(t, files)
	before := goleak.IgnoreCurrent()
	p, err := New(t.Context(), Options{Configuration: cfg})
	noError(t, err)
	noError(t, p.Start(t.Context()))
	await.Closed(t, "readiness", p.Ready())
	noError(t, p.Stop(t.Context()))
	goleak.VerifyNone(t, before, upstreamLeaks)
}
