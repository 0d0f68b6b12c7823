package clusterrpc_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/ipfs/go-cid"

	daemon "github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// A POST is a request for a recursive pin. What was confirmed of a direct one says
// nothing of the children.
func TestAdd_ADirectPinBecomesRecursiveAndIsConfirmedAnew(t *testing.T) {
	fake := clusterfake.New()
	rec := fake.Held(pinsvctest.V1CID(1))
	rec.Mode, rec.MaxDepth = api.PinModeDirect, 0
	fake.Put(rec)
	b := ready(t, fake, clusterrpc.Options{})
	b.becomes(pinned)
	fake.Report(rec.Cid.Cid, clusterfake.Report(api.TrackerStatusPinning, ""))
	if st := b.add(pinsvc.Pin{CID: rec.Cid.Cid}); st.Status == pinned {
		t.Error("it is pinned, and the children are not there")
	}
	if got, _ := fake.Record(rec.Cid.Cid); got.Mode != api.PinModeRecursive || got.MaxDepth != -1 {
		t.Errorf("mode %v, depth %d", got.Mode, got.MaxDepth)
	}
	b.becomes(pinning)
	fake.Report(rec.Cid.Cid, clusterfake.Report(api.TrackerStatusPinned, ""))
	b.becomes(pinned)
	// From now on a re-add withdraws nothing.
	if st := b.add(pinsvc.Pin{CID: rec.Cid.Cid, Name: "new"}); st.Status != pinned {
		t.Errorf("it is %s", st.Status)
	}
}

// A tracker that has not seen the record yet reports the direct pin as pinned: with CRDT
// batching for as long as a batch may be old.
func TestAdd_AReportOnTheDirectRecordConfirmsNothing(t *testing.T) {
	fake := clusterfake.New()
	rec := fake.Held(pinsvctest.V1CID(1))
	rec.Mode, rec.MaxDepth = api.PinModeDirect, 0
	fake.Put(rec)
	onDirect := clusterfake.Report(api.TrackerStatusPinned, "")
	onDirect.Created = rec.Timestamp
	fake.Report(rec.Cid.Cid, onDirect)
	b := ready(t, fake, clusterrpc.Options{})
	b.becomes(pinned)
	fake.Set(func() { fake.Batching = true })
	b.add(pinsvc.Pin{CID: rec.Cid.Cid})
	for range 5 {
		b.Poller().Active(t.Context())
		if st := b.get(rec.Cid.Cid); st.Status == pinned {
			t.Fatal("it is pinned, and no tracker has seen the recursive pin")
		}
	}
	fake.Commit()
	recursive, _ := fake.Record(rec.Cid.Cid)
	info := clusterfake.Report(api.TrackerStatusPinning, "")
	info.Created = recursive.Timestamp
	fake.Report(rec.Cid.Cid, info)
	if st := b.becomes(pinning); st.Info[clusterrpc.InfoDetails] != "" {
		t.Errorf("info %v", st.Info)
	}
	info.Status = api.TrackerStatusPinned
	fake.Report(rec.Cid.Cid, info)
	b.becomes(pinned)
}

func TestAdd_ADirectPinOfARealPeerIsPinnedWhenItsChildrenAreThere(t *testing.T) {
	s := newService(t, clustertest.Options{})
	c := pinsvctest.V1CID(1)
	direct := api.PinWithOpts(api.NewCid(c), api.PinOptions{Mode: api.PinModeDirect})
	pinBy(t, s.peer, direct)
	trackerReports(t, s.peer, c, api.TrackerStatusPinned)
	s.becomes(c.String(), pinsvc.StatusPinned)
	s.peer.Node.Hold(c)
	if st := s.add(pinsvc.Pin{CID: c}); st.Status == pinsvc.StatusPinned {
		t.Error("it is pinned, and the children are not there")
	}
	trackerReports(t, s.peer, c, api.TrackerStatusPinning)
	s.becomes(c.String(), pinsvc.StatusPinning)
	s.peer.Node.Succeed(c)
	s.becomes(c.String(), pinsvc.StatusPinned)
	if rec, err := s.peer.Cluster.PinGet(t.Context(), api.NewCid(c)); err != nil || rec.Mode != api.PinModeRecursive || rec.MaxDepth != -1 {
		t.Errorf("%+v, %v", rec, err)
	}
}

// C11: two peers that get the two forms of a CID at once write one record. The same with Raft is
// TestBothFormsAtOnceAtTwoPeersAreOnePinWithRaft.
func TestAdd_BothFormsAtOnceAtTwoPeersAreOnePin(t *testing.T) {
	for name, consensus := range map[string]clustertest.NewConsensus{"upstream": nil, "ours": daemon.NewCRDT} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var services []service
			for _, p := range clustertest.Start(t, 2, clustertest.Options{Consensus: consensus}) {
				opts := clusterrpc.Options{}
				if consensus != nil {
					opts = clusterrpc.Options{WaitsForCommit: true, Consensus: p.State}
				}
				services = append(services, service{newBackend(t, p, opts), t, p})
			}
			for n := range 5 {
				bothFormsAtOnce(t, services, n)
			}
		})
	}
}

// bothFormsAtOnce adds the two forms of the content after n others, each at another peer.
func bothFormsAtOnce(t *testing.T, services []service, n int) {
	t.Helper()
	forms := []cid.Cid{pinsvctest.V0CID(n), pinsvctest.V1CID(n)}
	ids := make([]string, len(services))
	var wg sync.WaitGroup
	for i, s := range services {
		wg.Go(func() { ids[i] = s.add(pinsvc.Pin{CID: forms[i]}).RequestID })
	}
	wg.Wait()
	if ids[0] != ids[1] {
		t.Errorf("request IDs %q", ids)
	}
	for _, s := range services {
		s.counts(pinsvc.Query{}, n+1)
		s.counts(pinsvc.Query{CIDs: forms[:1]}, 1)
		s.counts(pinsvc.Query{CIDs: forms[1:]}, 1)
		for _, c := range forms {
			if got := s.get(c.String()); got.RequestID != ids[0] {
				t.Errorf("%s names %s", c, got.RequestID)
			}
		}
		if _, err := s.peer.Cluster.PinGet(t.Context(), api.NewCid(forms[0])); !errors.Is(err, state.ErrNotFound) {
			t.Errorf("the shared state has a record under the CIDv0: %v", err)
		}
		if _, err := s.peer.Cluster.PinGet(t.Context(), api.NewCid(forms[1])); err != nil {
			t.Errorf("the shared state has no record under the CIDv1: %v", err)
		}
	}
}

// A pin of another tool may have the CIDv0 as its key. It stays the only record, at
// whichever peer and in whichever form the content is pinned again.
func TestAdd_APinUnderItsCIDv0StaysTheOnlyRecord(t *testing.T) {
	t.Parallel()
	// With upstream's own consensus an older name that comes later can undo the delete (U51).
	peers := clustertest.Start(t, 2, clustertest.Options{Consensus: daemon.NewCRDT})
	var services []service
	for _, p := range peers {
		services = append(services, service{newBackend(t, p, clusterrpc.Options{Events: p.Events, WaitsForCommit: true}), t, p})
	}
	v0, v1 := pinsvctest.V0CID(1), pinsvctest.V1CID(1)
	if _, err := peers[0].Cluster.Pin(t.Context(), api.NewCid(v0), api.PinOptions{Name: "theirs"}); err != nil {
		t.Fatal(err)
	}
	last := "theirs"
	for i, s := range services {
		s.counts(pinsvc.Query{Name: last}, 1)
		for j, c := range []cid.Cid{v1, v0} {
			last = fmt.Sprint(i, j)
			if got := s.add(pinsvc.Pin{CID: c, Name: last}); got.RequestID != v0.String() {
				t.Errorf("%s was pinned as %s", c, got.RequestID)
			}
		}
		s.counts(pinsvc.Query{}, 1)
	}
	if err := services[1].Delete(t.Context(), "", v1.String()); err != nil {
		t.Fatal(err)
	}
	for _, s := range services {
		s.counts(pinsvc.Query{}, 0)
	}
}
