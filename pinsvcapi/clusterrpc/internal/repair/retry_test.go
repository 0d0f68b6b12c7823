package repair

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/poll"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

const (
	retryDelay = 10 * time.Second
	// lost, waiting and retrying are reports that leave something to retry.
	lost     = api.TrackerStatusUnexpectedlyUnpinned
	recovers = "PinTracker.Recover"
)

// retryFixture is a retrier over the services of a peer.
type retryFixture struct {
	*Retrier
	t       testing.TB
	fake    *clusterfake.Services
	clock   *clusterfake.Clock
	view    *pinset.View
	tracker *peerstatus.Tracker
}

func newRetryFixture(t testing.TB) retryFixture {
	f := retryFixture{t: t, fake: clusterfake.New(), clock: &clusterfake.Clock{}, view: pinset.NewLoading()}
	f.view.FinishLoad()
	f.tracker = peerstatus.NewTracker(peerstatus.Config{
		View: f.view, Now: f.clock.Now, Clock: pinrecord.NewClock(f.clock.Now), MaxAttempts: 3, RetryDelay: retryDelay,
	})
	f.tracker.SetMembers([]peer.ID{clusterfake.Self(), clusterfake.Other()})
	f.Retrier = NewRetrier(RetrierConfig{
		Client: clusterapi.New(f.fake.Client(t)), Tracker: f.tracker, Breaker: poll.NewBreaker(f.clock.Now),
		Self: clusterfake.Self(), Now: f.clock.Now, Timeout: 2 * time.Second, RetryDelay: retryDelay,
	})
	return f
}

// observe enters a pin that one peer should hold and the report of that peer.
func (f retryFixture) observe(n int, holder peer.ID, info api.PinInfo) {
	rec := f.fake.Held(pinsvctest.RawCID(n))
	rec.Allocations = []peer.ID{holder}
	f.tracker.PutRecord(rec, false)
	f.tracker.Observe(holder, rec.Cid.Cid, peerstatus.ReportOf(info))
}

// step lets time pass and retries what is due then.
func (f retryFixture) step(d time.Duration) {
	f.clock.Advance(d)
	f.RetryDue(f.t.Context())
}

func (f retryFixture) want(when string, retries int) {
	f.t.Helper()
	if n := f.fake.Called(recovers); n != retries || f.Sent() != uint64(retries) {
		f.t.Errorf("%s the peer was asked %d times, counted %d, want %d", when, n, f.Sent(), retries)
	}
}

func TestRetrier_LostContentIsFetchedAgainAtOnce(t *testing.T) {
	f := newRetryFixture(t)
	f.observe(1, clusterfake.Self(), clusterfake.Report(lost, "gone"))
	f.step(0)
	f.want("at once", 1)
	f.step(retryDelay / 2)
	f.want("before the delay", 1)
	f.step(retryDelay)
	f.want("after the delay", 2)
}

func TestRetrier_AttemptsComeLessAndLessOften(t *testing.T) {
	f := newRetryFixture(t)
	info := clusterfake.Report(api.TrackerStatusPinError, "merkledag: not found")
	f.observe(1, clusterfake.Self(), info)
	f.step(0)
	f.want("at once", 0)
	f.step(retryDelay)
	f.want("after the delay", 1)
	info.AttemptCount = 2
	f.tracker.Observe(clusterfake.Self(), pinsvctest.RawCID(1), peerstatus.ReportOf(info))
	f.step(retryDelay)
	f.want("after the first delay", 1)
	f.step(retryDelay)
	f.want("after twice the delay", 2)
	info.AttemptCount = 3 // That was the last.
	f.tracker.Observe(clusterfake.Self(), pinsvctest.RawCID(1), peerstatus.ReportOf(info))
	f.step(24 * time.Hour)
	f.want("after the last", 2)
	if m, _ := f.view.Lookup(pinsvctest.RawCID(1)); m.Status != pinsvc.StatusFailed {
		t.Errorf("it is %s", m.Status)
	}
}

// A peer whose storage was full tries again by itself: it is only polled.
func TestRetrier_PollsForPinsThatLackedSpace(t *testing.T) {
	f := newRetryFixture(t)
	info := clusterfake.Report(api.TrackerStatusPinError, "IPFS error (pin/add). Code: 200. Message: write x: no space left on device")
	info.AttemptCount = 4 // One more than there are, by another tool.
	f.observe(1, clusterfake.Self(), info)
	f.fake.Report(pinsvctest.RawCID(1), info)
	text, attempts := f.tracker.Details(pinsvctest.RawCID(1), pinsvc.StatusFailed)
	if attempts != 3 || text != "write x: no space left on device, attempt 3 of 3" {
		t.Errorf("details %q, %d attempts", text, attempts)
	}
	for range 3 {
		f.step(checkDelay)
	}
	f.want("while there is no space", 0)
	if m, _ := f.view.Lookup(pinsvctest.RawCID(1)); m.Status != pinsvc.StatusFailed {
		t.Errorf("it is %s", m.Status)
	}
	f.fake.Report(pinsvctest.RawCID(1), clusterfake.Report(api.TrackerStatusPinned, ""))
	f.step(checkDelay)
	if m, _ := f.view.Lookup(pinsvctest.RawCID(1)); m.Status != pinsvc.StatusPinned {
		t.Errorf("it is %s after the peer pinned it", m.Status)
	}
}

// A pin that waits for its IPFS node is not retried before the node is back.
func TestRetrier_WaitsForTheIPFSNode(t *testing.T) {
	f := newRetryFixture(t)
	node := f.fake.ID.IPFS
	f.fake.Set(func() { f.fake.ID.IPFS = api.IPFSID{Error: "connection refused"} })
	for n := range 50 {
		f.observe(n, clusterfake.Self(), clusterfake.Report(api.TrackerStatusPinError, "dial tcp 127.0.0.1:5001: connect: connection refused"))
	}
	f.step(retryDelay)
	f.want("without the node", 0)
	if n := f.fake.Called("Cluster.ID"); n != 1 {
		t.Errorf("the node was probed %d times for 50 pins", n)
	}
	f.fake.Set(func() { f.fake.ID.IPFS = node })
	f.step(retryDelay + time.Second)
	f.want("with the node", 50)
}

// A frozen peer costs one wait, not one for each pin: other work is behind it.
func TestRetrier_AFrozenPeerCostsOneWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newRetryFixture(t)
		for n := range 10 * retryWorkers {
			f.observe(n, clusterfake.Other(), clusterfake.Report(lost, "gone"))
		}
		release := f.fake.Hang(recovers)
		f.step(0)
		f.want("while it is left to the frozen peer itself", 0)
		began := time.Now()
		f.step(2 * lostSlotTime)
		if n := f.fake.Called(recovers); n == 0 || n > 2*retryWorkers {
			t.Errorf("a peer that does not respond was asked to retry %d of %d pins", n, 10*retryWorkers)
		}
		if took := time.Since(began); took > 2*f.cfg.Timeout {
			t.Errorf("it took %s", took)
		}
		if !f.cfg.Breaker.Open(clusterfake.Other()) {
			t.Error("the peer is taken to be reachable")
		}
		release()
	})
}

func TestRetrier_OneCallIsBounded(t *testing.T) {
	f := newRetryFixture(t)
	for n := range maxRetries + 10 {
		f.observe(n, clusterfake.Self(), clusterfake.Report(lost, "gone"))
	}
	f.step(0)
	f.want("in one call", maxRetries)
	f.step(0)
	f.want("in two calls", maxRetries+10)
}

// What is pinned meanwhile is not retried.
func TestRetrier_WhatIsSettledIsDropped(t *testing.T) {
	f := newRetryFixture(t)
	f.observe(1, clusterfake.Self(), clusterfake.Report(lost, "gone"))
	f.observe(2, clusterfake.Self(), clusterfake.Report(lost, "gone"))
	f.tracker.Observe(clusterfake.Self(), pinsvctest.RawCID(1), peerstatus.ReportOf(clusterfake.Report(api.TrackerStatusPinned, "")))
	f.tracker.DeleteRecord(pinsvctest.RawCID(2))
	f.step(time.Hour)
	f.want("an hour later", 0)
	if n := f.tracker.FailurePins(); n != 0 {
		t.Errorf("%d failures are left", n)
	}
}

func TestRetrier_ARequestThatFailsIsMadeAgain(t *testing.T) {
	f := newRetryFixture(t)
	f.observe(1, clusterfake.Self(), clusterfake.Report(lost, "gone"))
	f.fake.Fail(recovers, errBroken)
	for n := 1; n <= 3; n++ {
		f.step(time.Hour)
		f.want("after "+strings.Repeat("an hour and ", n), n)
	}
}
