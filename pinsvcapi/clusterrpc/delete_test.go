package clusterrpc_test

import (
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
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

func TestDelete_ByTheOtherFormOfTheCID(t *testing.T) {
	b := ready(t, clusterfake.New(), clusterrpc.Options{})
	b.add(pinsvc.Pin{CID: pinsvctest.V0CID(1)})
	if err := b.Delete(t.Context(), "", pinsvctest.V0CID(1).String()); err != nil || b.fake.Len() != 0 || b.count() != 0 {
		t.Errorf("%v, %d records", err, b.fake.Len())
	}
}
