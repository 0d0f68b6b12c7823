package clusterrpc_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// The cluster chooses peers 16 times a second at most; a second later, and when the members
// change, it chooses again.
func TestChoices_AreKeptForASecond(t *testing.T) {
	clock := &clusterfake.Clock{}
	b := ready(t, clusterfake.New(), clusterrpc.Options{Now: clock.Now})
	n := 0
	allocated := func(pins int) int {
		b.fake.ResetCalls()
		for range pins {
			b.add(pinsvc.Pin{CID: pinsvctest.RawCID(n)})
			n++
		}
		return b.fake.Called("Cluster.BlockAllocate")
	}
	if got := allocated(100); got != 16 {
		t.Errorf("chosen %d times for the pins of one moment", got)
	}
	clock.Advance(time.Second)
	if got := allocated(1); got != 1 {
		t.Errorf("chosen %d times for the first pin a second later", got)
	}
	clock.Advance(-time.Hour)
	if got := allocated(1); got != 1 {
		t.Errorf("chosen %d times after the clock was set back", got)
	}
	allocated(100)
	b.fake.Set(func() { b.fake.Members = []peer.ID{clusterfake.Self(), clusterfake.Other()} })
	await.True(t, "the new member is known", func() bool { return allocated(1) == 1 })
}

// Each peer gets the share of the pins that the cluster itself gives it, although choices
// are used again.
func TestChoices_PinsAreSpreadAsByTheCluster(t *testing.T) {
	const pins = 600
	peers := clustertest.Start(t, 3, clustertest.Options{ReplicationMin: 1, ReplicationMax: 1})
	b := newBackend(t, peers[0], clusterrpc.Options{WaitsForCommit: true})
	await.Success(t, "all are members", func() error {
		var members []peer.ID
		err := peers[0].Client.CallContext(t.Context(), "", "Consensus", "Peers", struct{}{}, &members)
		if err == nil && len(members) < 3 {
			err = fmt.Errorf("%d members", len(members))
		}
		return err
	})
	for n := range pins {
		if _, err := b.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(n)}); err != nil {
			t.Fatal(err)
		}
	}
	holders := make(map[peer.ID]int)
	for n := range pins {
		rec, err := peers[0].Cluster.PinGet(t.Context(), api.NewCid(pinsvctest.RawCID(n)))
		if err != nil || len(rec.Allocations) != 1 || rec.ReplicationFactorMin != 1 || rec.ReplicationFactorMax != 1 {
			t.Fatalf("%+v, %v", rec, err)
		}
		holders[rec.Allocations[0]]++
	}
	chosen := make(map[peer.ID]int)
	for range pins {
		var got []peer.ID
		err := peers[0].Client.CallContext(t.Context(), "", "Cluster", "BlockAllocate", api.PinWithOpts(api.CidUndef, api.PinOptions{}), &got)
		if err != nil {
			t.Fatal(err)
		}
		chosen[got[0]]++
	}
	for id, n := range chosen {
		if share := holders[id] - n; share < -pins/5 || share > pins/5 {
			t.Errorf("a peer got %d of %d pins; the cluster itself gives it %d", holders[id], pins, n)
		}
	}
}
