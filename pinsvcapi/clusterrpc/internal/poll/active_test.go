package poll

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

func TestActive_FollowsPinsInFlight(t *testing.T) {
	f := newFixture(t)
	f.pin(1, api.TrackerStatusPinning)
	f.pin(2, api.TrackerStatusPinQueued)
	if !f.poll() {
		t.Error("nothing may have changed")
	}
	f.want(1, pinning)
	f.want(2, queued)
	if n := f.fake.Called("PinTracker.Status"); n != 0 {
		t.Errorf("pins that the stream names were polled %d times", n)
	}
	f.report(1, api.TrackerStatusPinned) // Absent from the stream.
	f.report(2, api.TrackerStatusPinError)
	f.poll()
	f.want(1, pinned)
	f.want(2, failed)
	streams := f.fake.Called("PinTracker.StatusAll")
	for range 5 {
		if f.poll() {
			t.Error("settled pins may have changed")
		}
	}
	if n := f.fake.Called("PinTracker.StatusAll") - streams; n != 0 {
		t.Errorf("%d streams with nothing in flight", n)
	}
}

// The absence of a pin from a stream means something only if the stream came to its
// end.
func TestActive_ABrokenStreamConfirmsNothing(t *testing.T) {
	f := newFixture(t)
	f.pin(1, api.TrackerStatusPinning)
	f.poll()
	f.report(1, api.TrackerStatusPinned)
	f.fake.Fail("PinTracker.StatusAll at the end", errBroken)
	f.poll()
	if n := f.fake.Called("PinTracker.Status"); n != 0 {
		t.Errorf("polled %d times", n)
	}
	f.want(1, pinning)
	if f.breaker.Open(self) {
		t.Error("this peer takes itself to be unreachable")
	}
	f.fake.Fail("PinTracker.StatusAll at the end", nil)
	f.poll()
	f.want(1, pinned)
}

func TestActive_LeavesAPeerItsTime(t *testing.T) {
	f := newFixture(t)
	f.pin(1, api.TrackerStatusPinning)
	f.poll()
	f.active.mu.Lock()
	f.active.peers[self].ended, f.active.peers[self].pause = f.clock.Now(), activeShare*time.Second
	f.active.mu.Unlock()
	f.clock.Advance((activeShare - 1) * time.Second)
	if f.beginActivePeer(self) != nil {
		t.Error("a poll of a second was followed by another within 20")
	}
	f.clock.Advance(time.Second)
	end := f.beginActivePeer(self)
	if end == nil {
		t.Fatal("no further poll")
	}
	<-end
}

func TestActive_PollsNoMoreOftenThanTheInterval(t *testing.T) {
	f := newFixture(t)
	f.pin(1, api.TrackerStatusPinning)
	f.poll()
	before := f.fake.Called("PinTracker.StatusAll")
	f.clock.Advance(time.Second - 1)
	for range 10 {
		if f.Active(t.Context()) {
			t.Error("something may have changed")
		}
	}
	f.idle()
	if n := f.fake.Called("PinTracker.StatusAll"); n != before {
		t.Errorf("%d more polls within the interval", n-before)
	}
}

// C2: pins in flight were frozen until the clock had caught up.
func TestActive_PollsOnWhenTheClockIsSetBack(t *testing.T) {
	f := newFixture(t)
	f.pin(1, api.TrackerStatusPinning)
	f.poll()
	f.report(1, api.TrackerStatusPinned)
	f.clock.Advance(-time.Hour)
	if !f.Active(t.Context()) {
		t.Error("no poll")
	}
	f.idle()
	f.want(1, pinned)
	f.pin(2, api.TrackerStatusPinning)
	f.clock.Advance(time.Minute)
	if !f.Active(t.Context()) {
		t.Error("no poll a minute later")
	}
	f.idle()
	f.want(2, pinning)
	// A pin that is not polled for a while by the old time is polled, too.
	f.pin(3, api.TrackerStatusUnpinned)
	f.poll()
	f.report(3, api.TrackerStatusPinned)
	f.clock.Advance(-2 * time.Hour)
	f.Active(t.Context())
	f.idle()
	f.want(3, pinned)
}

func TestActive_PinsThatAPeerDoesNotKnowArePolledLessAndLess(t *testing.T) {
	a := newActivePolls()
	quiet, now := quietKey{key(1), self}, time.Unix(1_800_000_000, 0)
	var waited []time.Duration
	for range soonQuiet + 1 {
		a.polled(quiet, false, now, 1)
		from := now
		for a.isQuiet(quiet, now) {
			now = now.Add(10 * time.Millisecond)
		}
		waited = append(waited, now.Sub(from))
	}
	within := func(got, want time.Duration) bool {
		return got <= want+10*time.Millisecond && got >= want-time.Duration(quietDelays.Jitter*float64(want))
	}
	if !within(waited[0], quietDelays.Min) || !within(waited[9], soonDelay) || !within(waited[soonQuiet], quietDelays.Max) {
		t.Errorf("waited %v", waited)
	}
	a.polled(quiet, true, now, 1)
	if a.isQuiet(quiet, now) || a.quiet.Len() != 0 {
		t.Error("a pin that is held is remembered")
	}
	for n := range 2 * maxQuiet {
		a.polled(quietKey{key(n), self}, false, now, 1)
	}
	if n := a.quiet.Len(); n != maxQuiet {
		t.Errorf("%d pins are remembered", n)
	}
}

// All members poll a peer for what it does not know. What it has to answer does not grow with their number.
func TestActive_InALargeClusterSuchPollsAreRarer(t *testing.T) {
	const pins = 550 // Enough for a pace above soonDelay.
	now := time.Unix(1_800_000_000, 0)
	for _, crowd := range []int{1, 2, 3} {
		a := newActivePolls()
		for range soonQuiet / 2 { // The delay would be quietDelays.Max by then.
			for n := range pins {
				a.polled(quietKey{key(n), self}, false, now, crowd)
			}
		}
		q, _ := a.quiet.Get(quietKey{key(0), self})
		if got, want := q.until.Sub(now), time.Duration(pins*crowd)*quietPace; got != want {
			t.Errorf("a crowd of %d: asked again after %s, want %s", crowd, got, want)
		}
	}
}

// A peer that gets a pin late is seen to have it soon, whether or not it was seen at work on it: the delays until then
// say nothing of that.
func TestActive_APeerThatCatchesUpIsCountedSoon(t *testing.T) {
	for name, works := range map[string]bool{"seen at work": true, "done at once": false} {
		f := newFixture(t)
		f.pin(1, api.TrackerStatusUnpinned, other)
		advance := func(seconds int) {
			for range seconds {
				f.clock.Advance(time.Second)
				f.Active(t.Context())
				f.idle()
			}
		}
		advance(60)
		within := 6
		if works {
			f.report(1, api.TrackerStatusPinning)
			advance(2)
			f.want(1, pinning)
			within = 2
		}
		f.report(1, api.TrackerStatusPinned)
		if advance(within); f.row(1).Status != pinned {
			t.Errorf("%s: after %d s it is %s", name, within, f.row(1).Status)
		}
	}
}

// A request waits for no peer that does not respond, and the others are polled.
func TestActive_AFrozenPeerCostsARequestLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.pin(1, api.TrackerStatusPinning, self, other)
		release := f.fake.Hang("PinTracker.StatusAll")
		began := time.Now()
		for range 20 {
			f.clock.Advance(time.Second)
			f.Active(t.Context())
		}
		if took := time.Since(began); took > 20*activeWait {
			t.Errorf("20 requests waited %s", took)
		}
		if n := f.fake.Called("PinTracker.StatusAll"); n != 2 {
			t.Errorf("a peer that does not respond was polled: %d calls", n)
		}
		release()
		synctest.Wait()
		f.want(1, pinning)
	})
}

// So many pins that a scan costs less than a poll of each.
func TestActive_ManyAbsentPinsHaveThePeerScanned(t *testing.T) {
	f := newFixture(t)
	for n := range scanInstead {
		f.pin(n, api.TrackerStatusPinned)
	}
	f.poll()
	if n := f.fake.Called("PinTracker.Status"); n != 0 {
		t.Errorf("%d pins were polled", n)
	}
	f.clock.Advance(2 * time.Hour)
	if !f.scans.due(self, 100*time.Hour) {
		t.Error("no scan is due")
	}
	if _, requested := f.scans.requested[self]; !requested {
		t.Error("no scan was requested")
	}
}

func TestActive_OnePollIsBounded(t *testing.T) {
	f := newFixture(t)
	for n := range maxAbsent + 10 {
		f.pin(n, api.TrackerStatusPinned)
	}
	f.poll()
	if n := f.fake.Called("PinTracker.Status"); n != maxAbsent {
		t.Errorf("%d pins were polled one by one", n)
	}
	f.poll()
	if n := f.cfg.View.Count(pinsvc.SetOf(pinned)); n != maxAbsent+10 {
		t.Errorf("%d pins are pinned", n)
	}
}

func TestActive_AnUnreachablePeerIsLeftAlone(t *testing.T) {
	f := newFixture(t)
	f.pin(1, api.TrackerStatusPinning, other)
	f.breaker.Failure(other)
	f.clock.Advance(time.Second)
	f.Active(t.Context())
	f.idle()
	if n := f.fake.Called("PinTracker.StatusAll"); n != 0 {
		t.Errorf("polled %d times", n)
	}
}

func TestActive_EndsWithTheGroup(t *testing.T) {
	f := newFixture(t)
	f.pin(1, api.TrackerStatusPinning)
	release := f.fake.Hang("PinTracker.StatusAll")
	defer release()
	go f.Active(t.Context())
	await.True(t, "polled", func() bool { return f.fake.Called("PinTracker.StatusAll") > 0 })
	f.cfg.Tasks.Close()
	f.clock.Advance(time.Hour)
	f.Active(t.Context())
	if n := f.fake.Called("PinTracker.StatusAll"); n != 1 {
		t.Errorf("%d polls", n)
	}
}

// A hundred pins stayed queued for minutes after a cut link had healed: polls that nobody
// answered had been counted.
func TestActive_StatusesAreTrueSoonAfterALinkHeals(t *testing.T) {
	f := newFixture(t)
	for n := range 100 {
		f.pin(n, api.TrackerStatusPinned, other)
	}
	f.fake.Fail("PinTracker.Status", errBroken)
	for range 60 {
		f.clock.Advance(10 * time.Second)
		f.Active(t.Context())
		f.idle()
	}
	f.want(1, queued)
	f.fake.Fail("PinTracker.Status", nil)
	for range 3 { // The rounds that no client requests, in 30 s.
		f.clock.Advance(10 * time.Second)
		f.probeOpen(t.Context())
		f.Active(t.Context())
		f.idle()
	}
	if n := f.cfg.View.Count(pinsvc.SetOf(pinned)); n != 100 {
		t.Errorf("%d of 100 pins are pinned 30 s later", n)
	}
}

// A slow link makes polls long, and they must not become rare for it.
func TestActive_PausesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.pin(1, api.TrackerStatusPinning, other)
		release := f.fake.Hang("PinTracker.StatusAll")
		f.clock.Advance(time.Second)
		go f.Active(t.Context())
		time.Sleep(9 * time.Second)
		release()
		synctest.Wait()
		f.active.mu.Lock()
		defer f.active.mu.Unlock()
		if pause := f.active.peers[other].pause; pause > maxPause {
			t.Errorf("the next poll is in %s", pause)
		}
	})
}
