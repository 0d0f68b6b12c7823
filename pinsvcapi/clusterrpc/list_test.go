package clusterrpc_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/adder/sharding"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	cbor "github.com/ipfs/go-ipld-cbor"
	"github.com/multiformats/go-multihash"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// TestList_PinsOfOneSecondMadeByOtherMeansAreListedOnce is the list that never
// ended: Kubo pages by before, with whole seconds it repeats or loses pins.
func TestList_PinsOfOneSecondMadeByOtherMeansAreListedOnce(t *testing.T) {
	t.Parallel()
	s := newService(t, clustertest.Options{})
	const n = 40
	for i := range n {
		pinBy(t, s.peer, api.PinWithOpts(api.NewCid(pinsvctest.RawCID(i)), api.PinOptions{}))
	}
	s.counts(pinsvc.Query{}, n)
	seen := make(map[string]bool)
	var before, last time.Time
	for range n {
		page := s.list(pinsvc.Query{Before: before})
		if page.Count != n-len(seen) {
			t.Fatalf("count %d with %d seen", page.Count, len(seen))
		}
		for _, st := range page.Results {
			if seen[st.RequestID] || !last.IsZero() && st.Created.After(last) {
				t.Fatalf("%s of %v is out of place", st.RequestID, st.Created)
			}
			seen[st.RequestID], last = true, st.Created
		}
		if before = last; page.Count == len(page.Results) {
			break
		}
	}
	if len(seen) != n {
		t.Errorf("%d of %d", len(seen), n)
	}
}

// TestList_ShardedContentIsOnePin has the records and the index block that the
// cluster's adder makes of sharded content.
func TestList_ShardedContentIsOnePin(t *testing.T) {
	t.Parallel()
	s := newService(t, clustertest.Options{})
	root, shards := pinsvctest.V1CID(1), []cid.Cid{pinsvctest.V1CID(2), pinsvctest.V1CID(3)}
	s.peer.Node.HoldPins(true)
	index := indexOf(t, shards)
	s.peer.Node.PutBlock(index.Cid(), index.RawData())
	shardRecords(t, s.peer, root, index.Cid(), shards)

	s.counts(pinsvc.Query{}, 1)
	if page := s.list(pinsvc.Query{}); page.Results[0].RequestID != root.String() {
		t.Fatalf("%+v", page)
	}
	s.peer.Node.Succeed(index.Cid())
	s.peer.Node.Succeed(shards[0])
	trackerReports(t, s.peer, shards[0], api.TrackerStatusPinned)
	s.becomes(root.String(), pinsvc.StatusPinning)
	s.peer.Node.Succeed(shards[1])
	s.becomes(root.String(), pinsvc.StatusPinned)
	for _, part := range append(slices.Clone(shards), index.Cid()) {
		_, err := s.Get(t.Context(), "", part.String())
		var failure *pinsvc.Error
		if !errors.As(err, &failure) || failure.Kind != pinsvc.KindNotFound {
			t.Errorf("a part can be read: %v", err)
		}
	}
	if got := s.add(pinsvc.Pin{CID: root, Name: "renamed"}); got.Pin.Name != "renamed" || got.Status != pinsvc.StatusPinned {
		t.Errorf("%+v", got)
	}
	if err := s.Delete(t.Context(), "", root.String()); err != nil {
		t.Fatal(err)
	}
	await.Success(t, "the parts are unpinned", func() error {
		for _, part := range append(slices.Clone(shards), index.Cid()) {
			if s.peer.Node.Has(part) {
				return fmt.Errorf("%s is still there", part)
			}
		}
		return nil
	})
}

// indexOf is the block that lists shards.
func indexOf(t *testing.T, shards []cid.Cid) *cbor.Node {
	t.Helper()
	links := make(map[string]cid.Cid)
	for i, shard := range shards {
		links[fmt.Sprint(i)] = shard
	}
	node, err := cbor.WrapObject(links, multihash.SHA2_256, multihash.DefaultLengths[multihash.SHA2_256])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sharding.CborDataToNode(node.RawData(), "cbor"); err != nil {
		t.Fatal(err)
	}
	return node
}

func shardRecords(t *testing.T, p *clustertest.Peer, root, index cid.Cid, shards []cid.Cid) {
	t.Helper()
	for _, shard := range shards {
		rec := api.PinCid(api.NewCid(shard))
		rec.Type, rec.MaxDepth = api.ShardType, 1
		pinBy(t, p, rec)
	}
	rootKey, indexKey := api.NewCid(root), api.NewCid(index)
	rec := api.PinCid(indexKey)
	rec.Type, rec.MaxDepth, rec.Reference, rec.Mode = api.ClusterDAGType, 0, &rootKey, api.PinModeDirect
	rec.ReplicationFactorMin, rec.ReplicationFactorMax = -1, -1
	pinBy(t, p, rec)
	rec = api.PinCid(rootKey)
	rec.Type, rec.MaxDepth, rec.Reference, rec.Name = api.MetaType, 0, &indexKey, "sharded"
	pinBy(t, p, rec)
}

func origin(t testing.TB, n int) api.Multiaddr {
	t.Helper()
	addr, err := api.NewMultiaddr(fmt.Sprintf("/ip4/203.0.113.%d/tcp/4001/p2p/%s", n, clusterfake.Other()))
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// C6: what a page shows is in memory. Clients send origins with nearly all pins.
func TestList_APageOfPinsWithOriginsReadsNothing(t *testing.T) {
	const pins = 1000
	fake := clusterfake.New()
	expires := time.Now().Add(time.Hour).Truncate(time.Second)
	for n := range pins {
		rec := fake.Held(pinsvctest.RawCID(n))
		rec.Origins = []api.Multiaddr{origin(t, n%3+1), origin(t, 9)}
		if n%2 == 0 {
			rec.ExpireAt = expires
		}
		fake.Put(rec)
	}
	b := ready(t, fake, clusterrpc.Options{})
	await.True(t, "all are pinned", func() bool { return b.View().Count(pinsvc.SetOf(pinned)) == pins })
	fake.ResetCalls()
	page := b.list(everything(pins))
	if len(page.Results) != pins {
		t.Fatalf("%d pins", len(page.Results))
	}
	for _, st := range page.Results {
		rec, _ := fake.Record(st.Pin.CID)
		if len(st.Pin.Origins) != 2 || !st.Pin.Origins[0].Equal(rec.Origins[0].Value()) || !st.Pin.Origins[1].Equal(rec.Origins[1].Value()) {
			t.Fatalf("origins %v, want %v", st.Pin.Origins, rec.Origins)
		}
		want := ""
		if !rec.ExpireAt.IsZero() {
			want = expires.UTC().Format(time.RFC3339)
		}
		if got := st.Info[clusterrpc.InfoUntil]; got != want {
			t.Fatalf("%s %q, want %q", clusterrpc.InfoUntil, got, want)
		}
	}
	for _, method := range []string{"Cluster.PinGet", "Cluster.Pins", "PinTracker.Status", "PinTracker.StatusAll"} {
		if n := fake.Called(method); n != 0 {
			t.Errorf("%s was called %d times", method, n)
		}
	}
}

func TestList_PinsInFlightAreFollowed(t *testing.T) {
	fake := clusterfake.New()
	rec := fake.InFlight(pinsvctest.RawCID(1))
	b := ready(t, fake, clusterrpc.Options{})
	if st := b.becomes(pinning); st.Info["replicas"] != "0/1" {
		t.Errorf("info %v", st.Info)
	}
	fake.Report(rec.Cid.Cid, clusterfake.Report(api.TrackerStatusPinned, ""))
	if st := b.becomes(pinned); st.Info["replicas"] != "1/1" {
		t.Errorf("info %v", st.Info)
	}
}

// A request does not wait for a peer that does not respond.
func TestList_AFrozenPeerCostsLittle(t *testing.T) {
	fake := clusterfake.New()
	rec := fake.InFlight(pinsvctest.RawCID(1))
	b := ready(t, fake, clusterrpc.Options{})
	b.becomes(pinning)
	defer fake.Hang("PinTracker.StatusAll")()
	began := time.Now()
	for range 20 {
		b.count()
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("20 lists took %s", took)
	}
	if got := b.get(rec.Cid.Cid); got.Status != pinning {
		t.Errorf("%+v", got)
	}
}
