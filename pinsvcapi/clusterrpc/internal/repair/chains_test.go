package repair

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
)

const noContent = "IPFS error (pin/add). Code: 200. Message: block was not found"

// chain has the fixture's pin 2 replaced by pin 3, and that by the next ones up to n, each
// naming all before it. It returns the records, the first is that of pin 1.
func (f replacedFixture) chain(n int) []api.Pin {
	f.t.Helper()
	recs := []api.Pin{f.old, f.fresh}
	var names []pinrecord.Replaced
	for _, rec := range recs {
		names = append(names, pinrecord.Replaced{Key: rec.Cid.Cid, Revision: pinrecord.RevisionOf(rec)})
	}
	for i := 3; i <= n; i++ {
		rec := f.put(i, names...)
		recs = append(recs, rec)
		names = append(names, pinrecord.Replaced{Key: rec.Cid.Cid, Revision: pinrecord.RevisionOf(rec)})
	}
	return recs
}

// there are the pins of the state.
func (f replacedFixture) there(recs []api.Pin) (there []int) {
	for i, rec := range recs {
		if _, found := f.fake.Record(rec.Cid.Cid); found {
			there = append(there, i+1)
		}
	}
	return there
}

// A chain of twenty replaces that all fail keeps the one content that there is.
func TestChains_OfFailuresKeepTheContentThatThereIs(t *testing.T) {
	f := newReplacedFixture(t)
	recs := f.chain(20)
	f.fake.Report(recs[0].Cid.Cid, clusterfake.Report(api.TrackerStatusPinned, ""))
	for _, rec := range recs[1:] {
		f.fake.Report(rec.Cid.Cid, clusterfake.Report(api.TrackerStatusPinning, ""))
	}
	f.step(time.Hour)
	if got := f.there(recs); len(got) != 20 {
		t.Fatalf("while nothing is decided, left: %v", got)
	}
	for _, rec := range recs[1:] {
		f.fake.Report(rec.Cid.Cid, clusterfake.Report(api.TrackerStatusPinError, noContent))
	}
	for range 10 {
		f.step(chainRetryMax)
	}
	if got := f.there(recs); len(got) != 2 || got[0] != 1 || got[1] != 20 {
		t.Errorf("left: %v, want the first and the last", got)
	}
}

// Of a chain the newest content that is complete stays, and what is older goes, also after
// the last one has failed.
func TestChains_TheNewestCompleteContentStays(t *testing.T) {
	f := newReplacedFixture(t)
	recs := f.chain(6)
	for i, rec := range recs {
		report := clusterfake.Report(api.TrackerStatusPinError, noContent)
		if i == 0 || i == 2 {
			report = clusterfake.Report(api.TrackerStatusPinned, "")
		}
		f.fake.Report(rec.Cid.Cid, report)
	}
	for range 60 {
		f.step(completeRetry)
	}
	if got := f.there(recs); len(got) != 2 || got[0] != 3 || got[1] != 6 {
		t.Errorf("left: %v, want the newest that is complete and the last", got)
	}
}

// failedLink is a chain of three of which the first is there, and this peer knows for long that the
// others have failed.
func failedLink(t *testing.T) (f replacedFixture, recs []api.Pin) {
	f = newReplacedFixture(t)
	recs = f.chain(3)
	f.fake.Report(recs[0].Cid.Cid, clusterfake.Report(api.TrackerStatusPinned, ""))
	for _, rec := range recs[1:] {
		f.fake.Report(rec.Cid.Cid, clusterfake.Report(api.TrackerStatusPinError, noContent))
	}
	f.step(0)
	f.fake.ResetCalls()
	return f, recs
}

// inBackground has a peer do what is due an hour later, and waits until it has called a method.
func (f replacedFixture) inBackground(method string) (wait func()) {
	f.t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.step(time.Hour)
	}()
	await.Success(f.t, "this peer calls "+method, func() error {
		if f.fake.Called(method) == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	return func() { <-done }
}

// This peer finds that a pin has failed, and waits for its lock. Then the pin is pinned after all,
// and another peer unpins what it has replaced.
func TestChains_WhatHasFailedIsPolledAgainUnderItsLock(t *testing.T) {
	f, recs := failedLink(t)
	unlock, err := f.cfg.Writer.Lock(t.Context(), recs[1].Cid.Cid)
	if err != nil {
		t.Fatal(err)
	}
	wait := f.inBackground("PinTracker.Status")
	f.fake.Report(recs[1].Cid.Cid, clusterfake.Report(api.TrackerStatusPinned, ""))
	f.fake.Remove(recs[0])
	unlock()
	wait()
	if got := f.there(recs); !slices.Equal(got, []int{2, 3}) {
		t.Errorf("left: %v, want that which is complete and the last", got)
	}
}

// This peer unpins a pin that has failed, and the commit takes as long as one may. The pin is pinned
// meanwhile, and another peer finds that: it does not unpin what that has replaced.
func TestChains_ARemovalElsewhereIsHeardOfInTime(t *testing.T) {
	f, recs := failedLink(t)
	other := newReplacedPeer(t, f.fake, f.clock)
	for _, rec := range recs {
		other.read(rec.Cid)
	}
	resume := f.fake.Hang("Cluster.Unpin")
	wait := f.inBackground("Cluster.Unpin")
	f.fake.Report(recs[1].Cid.Cid, clusterfake.Report(api.TrackerStatusPinned, ""))
	for range int(f.cfg.Writer.Longest() / time.Second) {
		other.step(time.Second)
		if f.fake.Called("Cluster.Unpin") > 1 {
			resume()
			t.Fatal("it unpins while the removal may take effect")
		}
	}
	resume()
	wait()
	for range 10 {
		other.step(chainRetryMax)
	}
	if got := f.there(recs); !slices.Equal(got, []int{1, 3}) {
		t.Errorf("left: %v, want the content that the chain began with and the last", got)
	}
}

// A pin counts as complete when each look has found it so, while this peer ran.
func TestChains_APinIsCompleteWhenItStaysSo(t *testing.T) {
	f := newReplacedFixture(t)
	recs := f.chain(3)
	settles := int((f.cfg.Writer.Longest() + DefaultNewsTime) / completeRetry)
	pinned, failed := clusterfake.Report(api.TrackerStatusPinned, ""), clusterfake.Report(api.TrackerStatusPinning, "")
	f.fake.Report(recs[1].Cid.Cid, pinned)
	for range settles { // The first look begins the time.
		f.step(time.Hour) // A freeze between two looks counts as the time between two.
	}
	f.fake.Report(recs[1].Cid.Cid, failed)
	f.step(completeRetry)
	f.fake.Report(recs[1].Cid.Cid, pinned)
	f.step(chainRetryMax)
	for range settles - 1 {
		f.step(completeRetry)
	}
	if got := f.there(recs); len(got) != 3 {
		t.Fatalf("left: %v too soon", got)
	}
	f.step(completeRetry)
	if got := f.there(recs); !slices.Equal(got, []int{2, 3}) {
		t.Errorf("left: %v", got)
	}
}

// A pin that has failed is not given up at once: a peer that has not heard that it was replaced may
// find it pinned, and unpin what it has replaced.
func TestChains_NothingIsGivenUpRightAfterItsReplacement(t *testing.T) {
	f := newReplacedFixture(t)
	recs := f.chain(3)
	f.fake.Report(recs[1].Cid.Cid, clusterfake.Report(api.TrackerStatusPinError, noContent))
	for range 5 {
		f.step(DefaultNewsTime / 5)
		if got := f.there(recs); len(got) != 3 {
			t.Fatalf("left %v", got)
		}
	}
	f.step(chainRetryMax)
	if got := f.there(recs); !slices.Equal(got, []int{1, 3}) {
		t.Errorf("left %v", got)
	}
}

// A peer that should hold a pin and does not respond, or whose IPFS node is away, has not
// given it up.
func TestChains_NothingIsGivenUpWhileAHolderIsAway(t *testing.T) {
	f := newReplacedFixture(t)
	recs := f.chain(3)
	f.fake.Report(recs[0].Cid.Cid, clusterfake.Report(api.TrackerStatusPinned, ""))
	for _, report := range []api.PinInfo{
		clusterfake.Report(api.TrackerStatusClusterError, ""),
		clusterfake.Report(api.TrackerStatusPinError, "IPFS request failed (is it running?): connection refused"),
		clusterfake.Report(api.TrackerStatusUnexpectedlyUnpinned, ""),
		clusterfake.Report(api.TrackerStatusUnpinned, ""),
	} {
		f.fake.Report(recs[1].Cid.Cid, report)
		f.step(time.Hour)
		if got := f.there(recs); len(got) != 3 {
			t.Errorf("%s %q: left %v", report.Status, report.Error, got)
		}
	}
}

// The time between two looks grows also while many pins are undecided, and each of them is looked at.
func TestChains_ManyUndecidedKeepTheirBackoff(t *testing.T) {
	const chains = 300
	f := newReplacedFixture(t)
	named := func(rec api.Pin) pinrecord.Replaced {
		return pinrecord.Replaced{Key: rec.Cid.Cid, Revision: pinrecord.RevisionOf(rec)}
	}
	var middles []api.Pin
	for n := range chains {
		first := f.put(1000 + 3*n)
		middle := f.put(1001+3*n, named(first))
		f.put(1002+3*n, named(middle), named(first))
		f.fake.Report(middle.Cid.Cid, clusterfake.Report(api.TrackerStatusPinning, ""))
		middles = append(middles, middle)
	}
	step := func(d time.Duration) {
		for range int(d / time.Second) {
			f.step(time.Second)
		}
	}
	step(time.Minute)
	for _, rec := range middles {
		if l := f.chains[named(rec)]; l == nil || l.retry.Attempts() == 0 {
			t.Fatalf("after a minute %s was not looked at once", rec.Cid)
		}
	}
	before := f.fake.Called("PinTracker.Status")
	step(20 * time.Minute)
	// Of 10 s to 5 min it is 5 min in the end: about nine looks in 20 minutes.
	if looks := f.fake.Called("PinTracker.Status") - before; looks < 4*chains || looks > 15*chains {
		t.Errorf("%d looks at %d pins in 20 minutes", looks, chains)
	}
}
