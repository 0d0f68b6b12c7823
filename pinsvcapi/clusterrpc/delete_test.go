package clusterrpc_test

import (
	"maps"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func TestDelete_OfAPinThatIsNotCommittedYet(t *testing.T) {
	b := ready(t, clusterfake.New(), clusterrpc.Options{})
	b.fake.Set(func() { b.fake.Batching = true })
	st := b.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	if err := b.Delete(t.Context(), "", st.RequestID); err != nil {
		t.Fatal(err)
	}
	if b.fake.Called("Consensus.LogUnpin") != 1 {
		t.Error("no removal was submitted")
	}
	_, err := b.Get(t.Context(), "", st.RequestID)
	wantKind(t, "Get", err, pinsvc.KindNotFound)
	wantKind(t, "Delete", b.Delete(t.Context(), "", st.RequestID), pinsvc.KindNotFound)
}

// The view may be behind: the cluster knows.
func TestDelete_OfWhatAnotherPeerDeletedIsNotFound(t *testing.T) {
	fake := clusterfake.New()
	rec := fake.Held(pinsvctest.RawCID(1))
	b := ready(t, fake, clusterrpc.Options{})
	fake.Remove(rec)
	if b.count() != 1 {
		t.Fatal("the view is not behind")
	}
	wantKind(t, "Delete", b.Delete(t.Context(), "", rec.Cid.String()), pinsvc.KindNotFound)
	if n := b.count(); n != 0 {
		t.Errorf("%d pins", n)
	}
}

// A leader that is ipfs-cluster-service compares no versions: what the pin has replaced is released
// all the same, or it would be shown again.
func TestDelete_ReleasesWhatWasReplacedWhereNobodyCompares(t *testing.T) {
	b := ready(t, clusterfake.New(), clusterrpc.Options{})
	old := b.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	st, err := b.Replace(t.Context(), "", old.RequestID, pinsvc.Pin{CID: pinsvctest.RawCID(2)})
	if err != nil {
		t.Fatal(err)
	}
	b.fake.Set(func() { b.fake.NoConditions = true })
	if err := b.Delete(t.Context(), "", st.RequestID); err != nil || b.fake.Len() != 0 {
		t.Errorf("%d records are left, %v", b.fake.Len(), err)
	}
}

// A pin that was renamed before another peer replaced it stayed when its replacement was deleted as soon as this
// peer knew of it, and was shown again.
func TestDelete_ReleasesWhatWasRenamedAndReplacedElsewhere(t *testing.T) {
	for name, renamedHere := range map[string]bool{"renamed before": true, "news of the rename is still to come": false} {
		t.Run(name, func(t *testing.T) {
			fake := clusterfake.New()
			b := ready(t, fake, clusterrpc.Options{})
			old := b.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
			rec, _ := fake.Record(pinsvctest.RawCID(1))
			if renamedHere {
				if _, err := b.Replace(t.Context(), "", old.RequestID, pinsvc.Pin{CID: pinsvctest.RawCID(1), Name: "renamed"}); err != nil {
					t.Fatal(err)
				}
				rec, _ = fake.Record(pinsvctest.RawCID(1))
			} else {
				rec.Metadata = maps.Clone(rec.Metadata)
				pinrecord.Revise(rec, old.Created.Add(time.Minute))
				fake.Put(rec)
			}
			fresh := pinrecord.WithRequest(pinrecord.New(pinsvctest.RawCID(2)), pinsvc.Pin{CID: pinsvctest.RawCID(2)})
			fresh.ReplicationFactorMin, fresh.ReplicationFactorMax = rec.ReplicationFactorMin, rec.ReplicationFactorMax
			pinrecord.Stamp(fresh, old.Created.Add(time.Hour))
			pinrecord.SetReplaced(fresh, []pinrecord.Replaced{{Key: rec.Cid.Cid, Revision: pinrecord.RevisionOf(rec)}})
			fake.Put(fresh)
			if err := b.Delete(t.Context(), "", pinsvctest.RawCID(2).String()); err != nil || fake.Len() != 0 {
				t.Errorf("%d records are left, %v", fake.Len(), err)
			}
		})
	}
}

func TestDelete_ByTheOtherFormOfTheCID(t *testing.T) {
	b := ready(t, clusterfake.New(), clusterrpc.Options{})
	b.add(pinsvc.Pin{CID: pinsvctest.V0CID(1)})
	if err := b.Delete(t.Context(), "", pinsvctest.V0CID(1).String()); err != nil || b.fake.Len() != 0 || b.count() != 0 {
		t.Errorf("%v, %d records", err, b.fake.Len())
	}
}

// A record that the view has is not read to be removed, and whoever removed it meanwhile has done
// what is asked for. Of a sharded root the cluster removes the shards.
func TestDelete_OfAPinInTheViewReadsNothing(t *testing.T) {
	fake := clusterfake.New()
	sharded := fake.Held(pinsvctest.RawCID(1))
	sharded.Type, sharded.Allocations = api.MetaType, nil
	sharded.Reference = &api.Cid{Cid: pinsvctest.RawCID(2)}
	fake.Put(sharded)
	b := ready(t, fake, clusterrpc.Options{WaitsForCommit: true})
	for range 2 {
		b.add(pinsvc.Pin{CID: pinsvctest.RawCID(3)}) // From the first the backend learns the factors.
	}
	gone := b.add(pinsvc.Pin{CID: pinsvctest.RawCID(4)})
	rec, _ := fake.Record(pinsvctest.RawCID(4))
	fake.Remove(rec)
	fake.ResetCalls()
	for _, id := range []string{pinsvctest.RawCID(3).String(), gone.RequestID} {
		if err := b.Delete(t.Context(), "", id); err != nil {
			t.Errorf("Delete(%s): %v", id, err)
		}
	}
	if reads, writes := fake.Called("Cluster.PinGet"), fake.Called("Consensus.LogUnpin"); reads != 0 || writes != 2 {
		t.Errorf("%d reads, %d writes", reads, writes)
	}
	wantKind(t, "Delete again", b.Delete(t.Context(), "", gone.RequestID), pinsvc.KindNotFound)
	fake.ResetCalls()
	if err := b.Delete(t.Context(), "", sharded.Cid.String()); err != nil {
		t.Error(err)
	}
	if fake.Called("Cluster.Unpin") != 1 || b.count() != 0 || fake.Len() != 0 {
		t.Errorf("%d records, %d in the view", fake.Len(), b.count())
	}
}
