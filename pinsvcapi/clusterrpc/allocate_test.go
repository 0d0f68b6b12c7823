package clusterrpc_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func TestAllocate_WithoutEnoughPeersNothingIsPinned(t *testing.T) {
	t.Parallel()
	s, peers := newCluster(t)
	old := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	peers[1].Close()
	peers[2].Close()
	await.Success(t, "the others are missed", func() error {
		var members []peer.ID
		err := s.peer.Client.CallContext(t.Context(), "", "Consensus", "Peers", struct{}{}, &members)
		if err == nil && len(members) > 1 {
			err = fmt.Errorf("%d members", len(members))
		}
		return err
	})
	var failure *pinsvc.Error
	tries := 0
	await.Success(t, "a new pin is refused", func() error {
		// It is accepted while what the others failure of their space holds.
		tries++
		_, err := s.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(100 + tries)})
		if !errors.As(err, &failure) || failure.Kind != pinsvc.KindUnavailable {
			return fmt.Errorf("%v", err)
		}
		return nil
	})
	// A name can be changed all the same, and the pin keeps its holders.
	if got := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1), Name: "renamed"}); !got.Created.Equal(old.Created) {
		t.Errorf("%+v", got)
	}
	if rec, err := s.peer.Cluster.PinGet(t.Context(), api.NewCid(pinsvctest.RawCID(1))); err != nil || len(rec.Allocations) != 3 {
		t.Errorf("%v %v", rec.Allocations, err)
	}
}

// allocationError is the text of the cluster's allocate.go.
func allocationError(needed, candidates int) error {
	return fmt.Errorf("not enough peers to allocate CID. Needed at least: %d. Wanted at most: 3. Valid candidates: 0. Priority candidates: 0. Available candidates: %d.", needed, candidates)
}

// The cluster's error is the same whether peers or their free space are missing.
func TestAllocate_TellsALackOfPeersFromALackOfSpace(t *testing.T) {
	self, other := clusterfake.Self(), clusterfake.Other()
	for _, tt := range []struct {
		name    string
		err     error
		pinging []peer.ID
		pingErr error
		want    string
	}{
		{"too few peers", allocationError(2, 1), []peer.ID{self}, nil,
			"not enough peers available for cluster.replication_factor_min: 2 needed, 1 of 1 members respond"},
		{"no space", allocationError(2, 0), []peer.ID{self, other}, nil,
			"not enough peers with free space for cluster.replication_factor_min: 2 needed, 0 of 2 report free space; the IPFS nodes of the others are full (Datastore.StorageMax) or unavailable"},
		{"pings unknown", allocationError(2, 0), []peer.ID{self, other}, errBroken,
			"not enough peers available for cluster.replication_factor_min: 2 needed, 0 available"},
		{"no numbers", errors.New("not enough peers to allocate CID"), []peer.ID{self, other}, nil,
			"not enough peers available for cluster.replication_factor_min"},
		{"something else", errBroken, []peer.ID{self}, nil, "the cluster could not choose the peers to hold the pin"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := ready(t, clusterfake.New(), clusterrpc.Options{})
			b.fake.Set(func() { b.fake.Pinging = tt.pinging })
			b.fake.Fail("PeerMonitor.LatestMetrics", tt.pingErr)
			b.fake.Fail("Cluster.BlockAllocate", tt.err)
			_, err := b.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(1)})
			wantKind(t, "Add", err, pinsvc.KindUnavailable)
			if got := pinsvc.FailureOf(err).Details; got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// A peer that is alone and whose IPFS node is unavailable reports no space.
func TestAllocate_AnIPFSNodeThatIsUnavailableIsNamed(t *testing.T) {
	health := &clusterfake.Health{}
	b := ready(t, clusterfake.New(), clusterrpc.Options{ComponentHealth: health})
	health.Set(nil, pinsvc.Errorf(pinsvc.KindUnavailable, "the IPFS node is restarting"))
	b.fake.Fail("Cluster.BlockAllocate", allocationError(1, 0))
	_, err := b.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	wantKind(t, "Add", err, pinsvc.KindUnavailable)
	if got := pinsvc.FailureOf(err).Details; got != "the IPFS node is restarting" {
		t.Errorf("%q", got)
	}
}

// Peers that left are replaced; those that stay keep the pin.
func TestAllocate_AReAddReplacesPeersThatLeft(t *testing.T) {
	fake := clusterfake.New()
	rec := fake.Held(pinsvctest.RawCID(1))
	b := ready(t, fake, clusterrpc.Options{})
	allocated := func() int { return fake.Called("Cluster.BlockAllocate") }
	b.add(pinsvc.Pin{CID: rec.Cid.Cid, Name: "a"})
	if n := allocated(); n != 0 {
		t.Errorf("allocated %d times although all holders are members", n)
	}
	gone := rec
	gone.Allocations = []peer.ID{clusterfake.Other()} // No member.
	b.changed(gone)
	b.add(pinsvc.Pin{CID: rec.Cid.Cid, Name: "b"})
	if got, _ := fake.Record(rec.Cid.Cid); allocated() != 1 || !slices.Equal(got.Allocations, []peer.ID{clusterfake.Self()}) {
		t.Errorf("allocated %d times, to %v", allocated(), got.Allocations)
	}
	b.changed(gone)
	fake.Fail("Cluster.BlockAllocate", allocationError(1, 0))
	b.add(pinsvc.Pin{CID: rec.Cid.Cid, Name: "c"})
	if got, _ := fake.Record(rec.Cid.Cid); got.Name != "c" || !slices.Equal(got.Allocations, gone.Allocations) {
		t.Errorf("%q at %v", got.Name, got.Allocations)
	}
}

// A cluster that pins everywhere has to allocate once.
func TestAllocate_NothingIsChosenWhenAllHoldAll(t *testing.T) {
	b := ready(t, clusterfake.New(), clusterrpc.Options{})
	b.fake.Set(func() { b.fake.Everywhere = true })
	for n := range 5 {
		if st := b.add(pinsvc.Pin{CID: pinsvctest.RawCID(n)}); len(st.Delegates) != 1 {
			t.Errorf("%q", st.Delegates)
		}
	}
	if n := b.fake.Called("Cluster.BlockAllocate"); n != 1 {
		t.Errorf("allocated %d times", n)
	}
}
