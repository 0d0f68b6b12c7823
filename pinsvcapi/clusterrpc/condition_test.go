package clusterrpc_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"

	daemon "github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// shardedAt is a sharded pin that another tool has added, and that the service shows.
func shardedAt(t *testing.T, s service) (root cid.Cid) {
	t.Helper()
	shards := []cid.Cid{pinsvctest.RawCID(101), pinsvctest.RawCID(102)}
	root = pinsvctest.RawCID(100)
	node := indexOf(t, shards)
	s.peer.Node.PutBlock(node.Cid(), node.RawData())
	shardRecords(t, s.peer, root, node.Cid(), shards)
	await.Success(t, "the sharded pin is shown", func() error {
		if n := s.list(pinsvc.Query{CIDs: []cid.Cid{root}}).Count; n != 1 {
			return fmt.Errorf("%d pins", n)
		}
		return nil
	})
	return root
}

// A replaced pin is removed on the condition that it has not changed, which the daemon's consensus heeds.
// To remove a sharded root is to remove more than that record.
func TestReplaced_AShardedRootIsUnpinned(t *testing.T) {
	s := newService(t, clustertest.Options{Consensus: daemon.NewCRDT})
	root := shardedAt(t, s)
	st, err := s.Replace(t.Context(), "", root.String(), pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	if err != nil {
		t.Fatal(err)
	}
	s.becomes(st.RequestID, pinsvc.StatusPinned)
	await.Success(t, "the sharded root is unpinned", func() error {
		if _, err := s.peer.Cluster.PinGet(t.Context(), api.NewCid(root)); err == nil {
			return errors.New("it is there")
		}
		return nil
	})
}

// A removal of sharded content that has ended half-way is not pinned, and is removed by the next (U112 in
// docs/upstream-faults.md).
func TestDelete_OfAShardedRootWhosePartsAreGone(t *testing.T) {
	s := newService(t, clustertest.Options{Consensus: daemon.NewCRDT})
	root := shardedAt(t, s)
	s.becomes(root.String(), pinsvc.StatusPinned)
	rec, err := s.peer.Cluster.PinGet(t.Context(), api.NewCid(root))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []api.Cid{api.NewCid(pinsvctest.RawCID(102)), api.NewCid(pinsvctest.RawCID(101)), *rec.Reference} {
		if err := s.peer.Client.CallContext(t.Context(), "", "Consensus", "LogUnpin", api.PinCid(part), &struct{}{}); err != nil {
			t.Fatal(err)
		}
		if st := s.get(root.String()); st.Status == pinsvc.StatusPinned {
			t.Errorf("without %s it is %s", part, st.Status)
		}
	}
	if err := s.Delete(t.Context(), "", root.String()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.peer.Cluster.PinGet(t.Context(), api.NewCid(root)); err == nil {
		t.Error("the removal is accepted, and the root is there")
	}
	wantKind(t, "Delete again", s.Delete(t.Context(), "", root.String()), pinsvc.KindNotFound)
}

// Deleting a pin releases what it has replaced, which is gone for good.
func TestDelete_OfAPinThatHasReplacedAShardedRoot(t *testing.T) {
	s := newService(t, clustertest.Options{Consensus: daemon.NewCRDT})
	root := shardedAt(t, s)
	s.peer.Node.HoldPins(true)
	st, err := s.Replace(t.Context(), "", root.String(), pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "", st.RequestID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.peer.Cluster.PinGet(t.Context(), api.NewCid(root)); err == nil {
		t.Error("the sharded root that it released is still pinned")
	}
}
