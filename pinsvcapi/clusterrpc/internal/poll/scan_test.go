package poll

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
)

func TestScan_FindsWhatIPFSLost(t *testing.T) {
	f := newFixture(t)
	f.pin(1, api.TrackerStatusPinned)
	f.pin(2, api.TrackerStatusPinned)
	if err := f.Scan(t.Context(), self); err != nil {
		t.Fatal(err)
	}
	f.want(1, pinned)
	f.want(2, pinned)
	f.report(1, api.TrackerStatusUnexpectedlyUnpinned)
	if err := f.Scan(t.Context(), self); err != nil {
		t.Fatal(err)
	}
	f.want(1, pinning)
	f.want(2, pinned)
	if due := f.cfg.Tracker.DueRetries(10); len(due) != 1 || due[0].State != peerstatus.Lost {
		t.Errorf("retries %+v", due)
	}
}

func TestScan_AFailureChangesNothingAndIsDueAgainSoon(t *testing.T) {
	f := newFixture(t)
	f.pin(1, api.TrackerStatusPinned)
	if err := f.Scan(t.Context(), self); err != nil {
		t.Fatal(err)
	}
	completed := f.clock.Now()
	f.clock.Advance(time.Minute)
	f.fake.Fail("PinTracker.StatusAll", errBroken)
	if err := f.Scan(t.Context(), self); err == nil {
		t.Error("no error")
	}
	f.want(1, pinned)
	if f.scans.due(self, time.Hour) {
		t.Error("it is due at once")
	}
	if !f.scans.completed(self).Equal(completed) {
		t.Errorf("the last complete scan was at %s", f.scans.completed(self))
	}
	f.clock.Advance(time.Minute)
	if !f.scans.due(self, time.Hour) {
		t.Error("it is not due soon")
	}
}

// However long a scan took that failed, the next comes no later than it would have
// come anyway.
func TestScan_ASlowFailureIsDueAfterTheInterval(t *testing.T) {
	var clock clusterfake.Clock
	s := newScans(clock.Now)
	began := clock.Now()
	clock.Advance(scanStall)
	s.ended(other, began, false)
	clock.Advance(59 * time.Second)
	if s.due(other, time.Minute) {
		t.Error("it is due before the interval")
	}
	clock.Advance(time.Second)
	if !s.due(other, time.Minute) {
		t.Error("it is not due after the interval")
	}
}

func TestScan_IsDue(t *testing.T) {
	var clock clusterfake.Clock
	s := newScans(clock.Now)
	if !s.due(self, time.Hour) {
		t.Error("the first is not due")
	}
	began := clock.Now()
	clock.Advance(10 * time.Second)
	s.ended(self, began, true)
	clock.Advance(activeShare * 10 * time.Second)
	if s.due(self, time.Hour) {
		t.Error("due without a request")
	}
	s.requested[self] = struct{}{}
	if !s.due(self, time.Hour) {
		t.Error("a request is not met")
	}
	s.ended(self, clock.Now(), true)
	clock.Advance(-24 * time.Hour)
	if !s.due(self, time.Hour) {
		t.Error("not due when the clock was set back")
	}
}

// All members scan a peer that is requested to be. What it has to answer does not grow with their number.
func TestScan_RequestedInALargeClusterIsDueMoreRarely(t *testing.T) {
	for _, crowd := range []int{1, 3, 10} {
		var clock clusterfake.Clock
		s := newScans(clock.Now)
		s.crowd = func() int { return crowd }
		began := clock.Now()
		clock.Advance(time.Second)
		s.ended(self, began, true)
		s.requested[self] = struct{}{}
		pause := time.Duration(activeShare*crowd) * time.Second
		if clock.Advance(pause - time.Second); s.due(self, time.Hour) {
			t.Errorf("a crowd of %d: due before %s", crowd, pause)
		}
		if clock.Advance(time.Second); !s.due(self, time.Hour) {
			t.Errorf("a crowd of %d: not due after %s", crowd, pause)
		}
	}
}

// A scan is patient. A frozen peer must not have the others wait for that.
func TestScan_AFrozenPeerIsNotScanned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		if !f.responds(t.Context(), other) {
			t.Fatal("a peer that responds is taken to be frozen")
		}
		release := f.fake.Hang("PinTracker.StatusAll")
		began := time.Now()
		if f.responds(t.Context(), other) || !f.breaker.Open(other) {
			t.Error("a frozen peer is to be scanned")
		}
		if took := time.Since(began); took != f.cfg.StatusTimeout {
			t.Errorf("it took %s", took)
		}
		if !f.responds(t.Context(), self) {
			t.Error("this peer is not to be scanned")
		}
		release()
	})
}

func TestScan_APeerThatStopsInTheMiddleIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.pin(1, api.TrackerStatusPinned)
		release := f.fake.Hang("PinTracker.StatusAll")
		began := time.Now()
		if err := f.Scan(t.Context(), self); !errors.Is(err, errStalled) {
			t.Errorf("it ended with %v", err)
		}
		if took := time.Since(began); took != scanStall {
			t.Errorf("it took %s", took)
		}
		release()
	})
}

// RunScans scans each member when it is due, and those that are requested.
func TestRunScans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		now := time.Now()
		f.cfg.Now, f.scans.now = time.Now, time.Now
		f.pin(1, api.TrackerStatusPinned, self, other)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			f.RunScans(ctx)
		}()
		synctest.Wait()
		f.want(1, pinned)
		for _, id := range []peer.ID{self, other} {
			if !f.scans.completed(id).Equal(now) {
				t.Errorf("peer %s was scanned at %s", id, f.scans.completed(id))
			}
		}
		time.Sleep(10 * time.Minute)
		f.report(1, api.TrackerStatusUnexpectedlyUnpinned)
		f.RequestScan(self)
		time.Sleep(time.Second)
		synctest.Wait()
		if !f.scans.completed(other).Equal(now) || f.scans.completed(self).Equal(now) {
			t.Error("the request was not met")
		}
		f.want(1, pinning)
		time.Sleep(time.Hour)
		if f.scans.completed(other).Equal(now) {
			t.Error("the other was scanned once only")
		}
		cancel()
		<-ended
	})
}

// scansHang is a client whose reports on all pins of a peer do not come, as while its IPFS node is frozen.
type scansHang struct{ Client }

func (c scansHang) TrackerStatuses(ctx context.Context, p peer.ID, filter api.TrackerStatus, each func(api.PinInfo) error) error {
	if filter == clusterapi.AllStatuses {
		<-ctx.Done()
		return ctx.Err()
	}
	return c.Client.TrackerStatuses(ctx, p, filter, each)
}

// A peer that responds again is noticed soon, however long a scan takes meanwhile.
func TestRunScans_APeerThatComesBackDuringAScanIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.cfg.Now, f.scans.now, f.breaker.now = time.Now, time.Now, time.Now
		f.cfg.Client = scansHang{f.cfg.Client}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			f.RunScans(ctx)
		}()
		synctest.Wait()
		f.breaker.Failure(other)
		time.Sleep(breakerPause + scanCheck + time.Second)
		synctest.Wait()
		if f.breaker.Open(other) {
			t.Error("the peer counts as one that does not respond for as long as the scan takes")
		}
		cancel()
		<-ended
	})
}

// scanStops is a client whose reports on all pins of one peer stop in the middle.
type scanStops struct {
	Client
	at peer.ID
}

func (c scanStops) TrackerStatuses(ctx context.Context, p peer.ID, filter api.TrackerStatus, each func(api.PinInfo) error) error {
	if p != c.at {
		return c.Client.TrackerStatuses(ctx, p, filter, each)
	}
	return scansHang{c.Client}.TrackerStatuses(ctx, p, filter, each)
}

// A peer that stops in the middle of its pins is given up late. The others are scanned meanwhile, and it is
// scanned once at a time.
func TestRunScans_APeerThatStopsInTheMiddleHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.cfg.Now, f.scans.now, f.breaker.now = time.Now, time.Now, time.Now
		f.cfg.Client = scanStops{f.cfg.Client, other}
		f.pin(1, api.TrackerStatusPinned)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			f.RunScans(ctx)
		}()
		synctest.Wait()
		time.Sleep(time.Minute)
		f.report(1, api.TrackerStatusUnexpectedlyUnpinned)
		f.RequestScan(self)
		f.RequestScan(other)
		time.Sleep(2 * scanCheck)
		synctest.Wait()
		f.want(1, pinning)
		time.Sleep(scanStall)
		synctest.Wait()
		if last := f.scans.last[other]; last.complete || last.took != scanStall {
			t.Errorf("the other peer's scan: %+v", last)
		}
		cancel()
		<-ended
	})
}
