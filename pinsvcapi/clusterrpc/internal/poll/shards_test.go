package poll

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	cbor "github.com/ipfs/go-ipld-cbor"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// sharded enters a sharded root, as the cluster's adder makes it, and returns its
// record, the CID of its index and those of two shards.
func (f fixture) sharded() (root api.Pin, index cid.Cid, shards []cid.Cid) {
	f.t.Helper()
	shards = []cid.Cid{key(11), key(12)}
	links := make(map[string]cid.Cid)
	for i, shard := range shards {
		links[fmt.Sprint(i)] = shard
		rec := f.fake.Held(shard)
		rec.Type, rec.MaxDepth = api.ShardType, 1
		f.fake.Put(rec)
	}
	node, err := cbor.WrapObject(links, multihash.SHA2_256, multihash.DefaultLengths[multihash.SHA2_256])
	if err != nil {
		f.t.Fatal(err)
	}
	index = node.Cid()
	f.fake.Set(func() { f.fake.Blocks[index] = node.RawData() })
	dag := f.fake.Held(index)
	dag.Type, dag.Mode, dag.MaxDepth = api.ClusterDAGType, api.PinModeDirect, 0
	f.fake.Put(dag)
	root = f.fake.Held(pinsvctest.V1CID(1))
	reference := api.NewCid(index)
	root.Type, root.MaxDepth, root.Allocations, root.Reference = api.MetaType, 0, nil, &reference
	f.fake.Put(root)
	f.cfg.Tracker.PutRecord(root, false)
	return root, index, shards
}

func TestRoot_HasOneStatusOfAllShards(t *testing.T) {
	f := newFixture(t)
	root, index, shards := f.sharded()
	report := func(c cid.Cid, status api.TrackerStatus) {
		f.fake.Report(c, clusterfake.Report(status, "merkledag: malformed"))
	}
	want := func(status fmt.Stringer) {
		t.Helper()
		f.Record(t.Context(), root)
		row, ok := f.cfg.View.Get(root.Cid.Cid)
		if !ok || row.Status.String() != status.String() {
			t.Errorf("it is %s, want %s", row.Status, status)
		}
	}
	for _, c := range append(shards, index) {
		report(c, api.TrackerStatusPinQueued)
	}
	want(queued)
	report(shards[0], api.TrackerStatusPinned)
	want(pinning)
	report(shards[1], api.TrackerStatusPinned)
	want(pinning)
	report(index, api.TrackerStatusPinned)
	want(pinned)
	// While a shard cannot be polled the last status stays.
	f.fake.Fail("PinTracker.Status", errBroken)
	want(pinned)
	f.fake.Fail("PinTracker.Status", nil)
	f.fake.Fail("IPFSConnector.BlockGet", errBroken)
	want(pinned)
	f.fake.Fail("IPFSConnector.BlockGet", nil)
	report(shards[1], api.TrackerStatusPinError)
	want(failed)
	if text, _ := f.cfg.Tracker.Details(root.Cid.Cid, failed); !strings.Contains(text, "merkledag: malformed") {
		t.Errorf("details %q", text)
	}
}

// A root is not pinned without the record of each part: what nobody is to hold is held by nobody.
func TestRoot_WithoutAShardIsNotPinned(t *testing.T) {
	f := newFixture(t)
	root, index, shards := f.sharded()
	for _, part := range append(shards, index) {
		if !f.Record(t.Context(), root) || f.status(root) != pinned {
			t.Fatalf("it is %s", f.status(root))
		}
		rec, _ := f.fake.Record(part)
		f.fake.Remove(rec)
		if f.Record(t.Context(), root) || f.status(root) == pinned || f.status(root) == failed {
			t.Errorf("without %s it is %s", part, f.status(root))
		}
		f.fake.Put(rec)
	}
}

func (f fixture) status(rec api.Pin) pinsvc.Status {
	f.t.Helper()
	row, ok := f.cfg.View.Get(rec.Cid.Cid)
	if !ok {
		f.t.Fatalf("the view has no pin %s", rec.Cid)
	}
	return row.Status
}

func TestRoot_IsPolledWhileItIsInFlightAndByScans(t *testing.T) {
	f := newFixture(t)
	root, _, _ := f.sharded()
	f.poll()
	await.True(t, "pinned by an active poll", func() bool {
		row, _ := f.cfg.View.Get(root.Cid.Cid)
		return row.Status == pinned
	})
	f.fake.Report(key(11), clusterfake.Report(api.TrackerStatusPinError, "merkledag: malformed"))
	if err := f.Scan(t.Context(), self); err != nil {
		t.Fatal(err)
	}
	if row, _ := f.cfg.View.Get(root.Cid.Cid); row.Status != failed {
		t.Errorf("after a scan it is %s", row.Status)
	}
}

// roots enters sharded roots whose shards cannot be read.
func (f fixture) unreadableRoots(n int) (roots []api.Pin) {
	f.t.Helper()
	for i := range n {
		root := f.fake.Held(pinsvctest.V1CID(100 + i))
		index := f.fake.Held(key(50)) // There is no such block.
		f.fake.Put(index)
		reference := index.Cid
		root.Type, root.MaxDepth, root.Allocations, root.Reference = api.MetaType, 0, nil, &reference
		f.fake.Put(root)
		f.cfg.Tracker.PutRecord(root, false)
		roots = append(roots, root)
	}
	return roots
}

// Roots that never settle do not keep an active poll from the others.
func TestRoot_AllThatAreInFlightArePolled(t *testing.T) {
	f := newFixture(t)
	root, _, _ := f.sharded() // The oldest is the last.
	unreadable := f.unreadableRoots(2 * maxRoots)
	f.cfg.Tracker.DeleteRecord(root.Cid.Cid)
	root.Timestamp = root.Timestamp.Add(-24 * time.Hour)
	f.fake.Put(root)
	f.cfg.Tracker.PutRecord(root, false)
	for range 1 + len(unreadable)/maxRoots {
		f.poll()
		await.True(t, "the roots were polled", func() bool { return !f.active.roots.Load() })
	}
	if row, _ := f.cfg.View.Get(root.Cid.Cid); row.Status != pinned {
		t.Errorf("the oldest root is %s", row.Status)
	}
}

// A start does not wait for each of many roots whose shards cannot be read.
func TestConfirmOwn_WaitsForRootsForALimitedTime(t *testing.T) {
	f := newFixture(t)
	f.unreadableRoots(8 * rootsAtOnce)
	f.cfg.Tracker.SetMembers([]peer.ID{self})
	release := f.fake.Hang("Cluster.PinGet")
	defer release()
	began := time.Now()
	if err := f.confirmFrom(t.Context(), &nodePins{began: f.clock.Now()}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 2*rootsPatience {
		t.Errorf("it waited for %s", took)
	}
}
