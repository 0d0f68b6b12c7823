package repair

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/poll"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/replacement"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/statesync"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/statewrite"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

var errBroken = errors.New("the datastore is closed")

// metadataFixture is a repairer over the services of a peer.
type metadataFixture struct {
	*Metadata
	t      testing.TB
	fake   *clusterfake.Services
	clock  *clusterfake.Clock
	view   *pinset.View
	index  *replacement.Index
	syncer *statesync.Syncer
}

func newMetadataFixture(t testing.TB, members ...peer.ID) metadataFixture {
	f := metadataFixture{Metadata: NewMetadata(), t: t, fake: clusterfake.New(), clock: &clusterfake.Clock{}, view: pinset.NewLoading()}
	f.view.FinishLoad()
	tracker := peerstatus.NewTracker(peerstatus.Config{
		View: f.view, Now: f.clock.Now, Clock: pinrecord.NewClock(f.clock.Now), MaxAttempts: 1,
		RetryDelay: retryDelay, OnMetadataLost: f.Lost,
	})
	tracker.SetMembers(append(members, clusterfake.Self()))
	client := clusterapi.New(f.fake.Client(t))
	f.index = replacement.New(replacement.Config{Tracker: tracker, View: f.view, Now: f.clock.Now, OnLost: f.Lost})
	f.syncer = statesync.New(statesync.Config{
		Reader: client, Sink: f.index, Now: f.clock.Now, CommitTime: time.Minute,
		StateTimeout: 10 * time.Second, ResyncInterval: time.Hour,
	})
	f.Configure(MetadataConfig{
		View: f.view, Tracker: tracker, Index: f.index, Syncer: f.syncer, Breaker: poll.NewBreaker(f.clock.Now),
		Writer: statewrite.New(statewrite.Config{
			Submitter: client, Syncer: f.syncer, Now: f.clock.Now, Timeout: 30 * time.Second,
			Consensus: func() error { return nil },
		}),
		Self: clusterfake.Self(), Now: f.clock.Now,
	})
	return f
}

// read has the syncer read a pin.
func (f metadataFixture) read(key api.Cid) {
	f.t.Helper()
	if _, _, err := f.syncer.Get(f.t.Context(), key); err != nil {
		f.t.Fatal(err)
	}
}

// made is a record of this service, in the state and the view.
func (f metadataFixture) made(requested, key int) api.Pin {
	rec := pinrecord.WithRequest(pinrecord.New(pinsvctest.V1CID(key)), pinsvc.Pin{CID: pinsvctest.V0CID(requested), Name: "ours"})
	rec.Allocations, rec.ReplicationFactorMin, rec.ReplicationFactorMax = []peer.ID{clusterfake.Self()}, 1, 1
	rec.Timestamp = time.Unix(1_700_000_000, 0)
	pinrecord.Stamp(rec, rec.Timestamp.Add(123*time.Millisecond))
	f.fake.Put(rec)
	f.read(rec.Cid)
	return rec
}

// overwritten is the record after another tool has written it.
func (f metadataFixture) overwritten(rec api.Pin) {
	rec.Name, rec.Metadata = "theirs", map[string]string{"tool": "ctl"}
	rec.Timestamp = rec.Timestamp.Add(time.Minute)
	f.fake.Put(rec)
	f.read(rec.Cid)
}

func (f metadataFixture) step(d time.Duration) {
	f.clock.Advance(d)
	f.RepairDue(f.t.Context())
}

func TestMetadata_WhatAnotherToolRemovedIsWrittenBack(t *testing.T) {
	f := newMetadataFixture(t)
	rec := f.made(1, 1)
	created, _ := pinrecord.CreatedOf(rec)
	f.overwritten(rec)
	if row, _ := f.view.Get(rec.Cid.Cid); row.Name != "theirs" || !row.Created.Equal(created) || !row.OtherFormRequested {
		t.Errorf("the row is %+v", row)
	}
	f.step(MetadataDelay - 1)
	if f.fake.Called("Consensus.LogPin") != 0 {
		t.Error("it is written back while the tool may not be done")
	}
	f.step(1)
	got, _ := f.fake.Record(rec.Cid.Cid)
	restored, ours := pinrecord.CreatedOf(got)
	if !ours || !restored.Equal(created) || !pinrecord.RequestedCID(got).Equals(pinsvctest.V0CID(1)) {
		t.Errorf("the record is %+v", got)
	}
	if got.Name != "theirs" || got.Metadata["tool"] != "ctl" || f.Repaired() != 1 {
		t.Errorf("what the tool wrote is %+v; %d repairs", got, f.Repaired())
	}
	f.step(time.Hour)
	if n := f.fake.Called("Consensus.LogPin"); n != 1 {
		t.Errorf("written %d times", n)
	}
}

func TestMetadata_WhatIsGoneOrRepairedIsLeftAlone(t *testing.T) {
	f := newMetadataFixture(t)
	gone, again := f.made(1, 1), f.made(2, 2)
	f.overwritten(gone)
	f.overwritten(again)
	f.fake.Remove(gone)
	f.fake.Put(again) // Another peer was faster.
	f.step(time.Hour)
	if n := f.fake.Called("Consensus.LogPin"); n != 0 || f.Repaired() != 0 {
		t.Errorf("written %d times", n)
	}
}

// The member closest to the pin writes; the others follow when it does not.
func TestMetadata_IsLeftToCloserPeersForATime(t *testing.T) {
	f := newMetadataFixture(t, clusterfake.Other())
	mine, theirs := 0, 0
	for n := range 20 {
		rec := f.made(n, n)
		if Rank(rec.Cid.Cid, clusterfake.Self(), []peer.ID{clusterfake.Self(), clusterfake.Other()}, all) == 0 {
			mine++
		} else {
			theirs++
		}
		f.overwritten(rec)
	}
	for range 3 {
		f.step(MetadataDelay)
	}
	if n := f.fake.Called("Consensus.LogPin"); n != mine || theirs == 0 {
		t.Errorf("%d written, want %d", n, mine)
	}
	f.step(slotTime)
	f.step(0)
	if n := f.fake.Called("Consensus.LogPin"); n != mine+theirs {
		t.Errorf("%d written in the end, want %d", n, mine+theirs)
	}
}

func TestMetadata_AFailureIsTriedAgain(t *testing.T) {
	f := newMetadataFixture(t)
	f.overwritten(f.made(1, 1))
	f.fake.Fail("Consensus.LogPin", errBroken)
	f.step(MetadataDelay)
	f.fake.Fail("Consensus.LogPin", nil)
	f.step(MetadataDelay)
	if f.Repaired() != 1 {
		t.Errorf("%d repairs", f.Repaired())
	}
	// But not on a peer that may not write.
	f.overwritten(f.made(2, 2))
	f.fake.Fail("Consensus.LogPin", errors.New("this peer is configured to be in follower mode"))
	before := f.fake.Called("Consensus.LogPin")
	for range 5 {
		f.step(time.Minute)
	}
	if n := f.fake.Called("Consensus.LogPin") - before; n != 1 {
		t.Errorf("a follower tried %d times", n)
	}
}

func TestMetadata_OneCallIsBounded(t *testing.T) {
	f := newMetadataFixture(t)
	for n := range 2*maxMetadataRepairs + 1 {
		f.overwritten(f.made(n, n))
	}
	for n, want := range []int{maxMetadataRepairs, 2 * maxMetadataRepairs, 2*maxMetadataRepairs + 1} {
		f.step(MetadataDelay)
		if got := f.Repaired(); got != uint64(want) {
			t.Errorf("%d repairs after %d calls, want %d", got, n+1, want)
		}
	}
}

// A tool that writes over the record of a pin that has replaced another takes the name of
// that one away: it stays hidden, and the name is written back (D6).
func TestMetadata_NamesOfReplacedPinsAreWrittenBack(t *testing.T) {
	f := newMetadataFixture(t)
	old, rec := f.made(1, 1), f.made(2, 2)
	names := []pinrecord.Replaced{{Key: old.Cid.Cid, Revision: pinrecord.RevisionOf(old)}}
	rec.Metadata = maps.Clone(rec.Metadata)
	pinrecord.SetReplaced(rec, names)
	f.fake.Put(rec)
	f.read(rec.Cid)
	f.overwritten(rec)
	hidden := func() {
		t.Helper()
		if _, shown := f.view.Get(old.Cid.Cid); shown || !f.index.Hidden(old) {
			t.Errorf("the old pin is shown: %t", shown)
		}
	}
	hidden()
	f.step(MetadataDelay)
	got, _ := f.fake.Record(rec.Cid.Cid)
	if !slices.Equal(pinrecord.ReplacedBy(got), names) || got.Name != "theirs" || !pinrecord.Revised(got) {
		t.Errorf("the record is %+v", got)
	}
	f.read(rec.Cid)
	hidden()
	if f.Waiting() != 0 {
		t.Errorf("%d records wait for their repair", f.Waiting())
	}
}

// Another peer accepts a rename between this peer's read of the record and the commit of its repair.
func TestMetadata_ARepairKeepsANewerChange(t *testing.T) {
	f := newMetadataFixture(t)
	rec := f.made(1, 1)
	f.overwritten(rec)
	release := f.fake.Hang("Consensus.LogPin")
	repaired := make(chan struct{})
	go func() {
		defer close(repaired)
		f.step(MetadataDelay)
	}()
	await.True(t, "the repair is submitted", func() bool { return f.fake.Called("Consensus.LogPin") == 1 })
	renamed := pinrecord.WithRequest(rec, pinsvc.Pin{CID: pinsvctest.V1CID(1), Name: "renamed"})
	renamed.Timestamp = rec.Timestamp.Add(2 * time.Minute)
	f.fake.Put(renamed)
	release()
	<-repaired
	f.step(time.Minute)
	if got, _ := f.fake.Record(rec.Cid.Cid); got.Name != renamed.Name || f.Repaired() != 0 || f.Waiting() != 0 {
		t.Errorf("the name is %q after %d repairs, and %d wait", got.Name, f.Repaired(), f.Waiting())
	}
}
