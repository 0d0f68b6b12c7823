package clusterrpc

import (
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"go.uber.org/goleak"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// answers sets what the trackers say of a record.
func (s *services) answersOf(rec api.Pin, info api.PinInfo) {
	s.set(func() { s.answers[rec.Cid.Cid] = info })
}

// becomes waits until a list says that status of the only pin.
func becomes(t *testing.T, b *Backend, rec api.Pin, want pinsvc.Status) pinsvc.PinStatus {
	t.Helper()
	var last pinsvc.PinStatus
	until(t, want.String(), func() bool {
		page, err := pinsvctest.Results(b.List(t.Context(), "", pinsvc.Query{Limit: 1, Statuses: pinsvc.AllStatuses}))
		if err != nil || len(page.Results) != 1 {
			t.Fatalf("%d pins, %v", len(page.Results), err)
		}
		last = page.Results[0]
		return last.Status == want
	})
	return last
}

// held in flight: the tracker is at work on it.
func (s *services) inFlight(n int) api.Pin {
	rec := s.held(n)
	s.answersOf(rec, says(api.TrackerStatusPinning, ""))
	return rec
}

func TestPinsInFlightAreFollowedByLists(t *testing.T) {
	s := newServices()
	rec := s.inFlight(1)
	b := s.backend(t, Options{})
	if st := becomes(t, b, rec, pinning); st.Info["replicas"] != "0/1" {
		t.Errorf("info %v", st.Info)
	}
	asked := s.called("PinTracker.Status")
	b.freshen(t.Context())
	if n := s.called("PinTracker.Status") - asked; n != 0 {
		t.Errorf("a pin that the stream names was asked about %d times", n)
	}
	s.answersOf(rec, says(api.TrackerStatusPinned, "")) // Absent from the stream.
	if st := becomes(t, b, rec, pinned); st.Info["replicas"] != "1/1" {
		t.Errorf("info %v", st.Info)
	}
	streams := s.called("PinTracker.StatusAll")
	for range 5 {
		b.listed(t)
	}
	if n := s.called("PinTracker.StatusAll") - streams; n != 0 {
		t.Errorf("%d streams with nothing in flight", n)
	}
}

// That a pin is absent from a stream means something only if that came to its
// end.
func TestABrokenStreamConfirmsNothing(t *testing.T) {
	s := newServices()
	rec := s.inFlight(1)
	b := s.backend(t, Options{})
	becomes(t, b, rec, pinning)
	s.answersOf(rec, says(api.TrackerStatusPinned, ""))
	s.fail("PinTracker.StatusAll in the middle", errBroken)
	asked := s.called("PinTracker.Status")
	b.round(t.Context(), me)
	if n := s.called("PinTracker.Status") - asked; n != 0 {
		t.Errorf("asked about %d pins", n)
	}
	if p, _ := b.view.Get(rec.Cid.Cid); p.Status != pinning {
		t.Errorf("%s", p.Status)
	}
	if b.away.now(me) {
		t.Error("this peer takes itself to be away")
	}
	s.fail("PinTracker.StatusAll in the middle", nil)
	b.round(t.Context(), me)
	if p, _ := b.view.Get(rec.Cid.Cid); p.Status != pinned {
		t.Errorf("%s", p.Status)
	}
}

func TestRoundsLeaveAPeerItsTime(t *testing.T) {
	s := newServices()
	rec := s.inFlight(1)
	b := s.backend(t, Options{})
	becomes(t, b, rec, pinning)
	now := time.Now()
	b.rounds.mu.Lock()
	b.rounds.peers[me].ended, b.rounds.peers[me].took = now, time.Second
	b.rounds.mu.Unlock()
	if b.beginRound(me, now.Add(19*time.Second)) != nil {
		t.Error("a round of a second was followed by another within 20")
	}
	end := b.beginRound(me, now.Add(21*time.Second))
	if end == nil {
		t.Fatal("no further round")
	}
	<-end
}

func TestPinsThatAPeerDoesNotKnowAreAskedAboutLessAndLess(t *testing.T) {
	r := newRounds()
	key, now := quietKey{pinsvctest.RawCID(1), me}, time.Unix(1_800_000_000, 0)
	var waited []time.Duration
	for range 10 {
		r.asked(key, false, now)
		from := now
		for r.isQuiet(key, now) {
			now = now.Add(50 * time.Millisecond)
		}
		waited = append(waited, now.Sub(from))
	}
	if waited[0] != quietFirst || waited[9] != quietMost {
		t.Errorf("waited %v", waited)
	}
	r.asked(key, true, now)
	if r.isQuiet(key, now) || len(r.quiet) != 0 {
		t.Error("a pin that is held is remembered")
	}
}

// A request does not wait for a peer that does not answer.
func TestAFrozenPeerCostsAListLittle(t *testing.T) {
	s := newServices()
	rec := s.inFlight(1)
	b := s.backend(t, Options{})
	becomes(t, b, rec, pinning)
	release := s.hang("PinTracker.StatusAll")
	defer release()
	began := time.Now()
	for range 20 {
		b.listed(t)
	}
	if took := time.Since(began); took > 20*roundWait+5*time.Second {
		t.Errorf("20 lists took %s", took)
	}
	if got, err := b.Get(t.Context(), "", requestID(rec)); err != nil || got.Status != pinning {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAGetWaitsForAFrozenPeerNoLongerThanItMay(t *testing.T) {
	s := newServices()
	rec := s.held(1)
	b := s.backend(t, Options{StatusTimeout: 50 * time.Millisecond})
	release := s.hang("PinTracker.Status")
	defer release()
	before := runtime.NumGoroutine()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if got, err := b.Get(t.Context(), "", requestID(rec)); err != nil || got.Status != pinned {
				t.Errorf("%s, %v: what was confirmed was withdrawn", got.Status, err)
			}
		})
	}
	wg.Wait()
	// Each call that hangs is one goroutine of the RPC library's; they end
	// with the peer's silence.
	if n := runtime.NumGoroutine() - before; n > 200 {
		t.Errorf("%d more goroutines", n)
	}
}

func TestSweepsFindWhatIPFSLostAndHaveItRecovered(t *testing.T) {
	s := newServices()
	rec := s.held(1)
	b := s.backend(t, Options{})
	becomes(t, b, rec, pinned)
	s.answersOf(rec, says(api.TrackerStatusUnexpectedlyUnpinned, "the item should be pinned but it is not"))
	if err := b.sweep(t.Context(), me); err != nil {
		t.Fatal(err)
	}
	st := becomes(t, b, rec, pinning)
	if !strings.Contains(st.Info[infoDetails], "lost the content") {
		t.Errorf("info %v", st.Info)
	}
	until(t, "recovered", func() bool { return s.called("PinTracker.Recover of "+requestID(rec)) == 1 })
	s.answersOf(rec, says(api.TrackerStatusPinned, ""))
	if st := becomes(t, b, rec, pinned); st.Info[infoDetails] != "" {
		t.Errorf("info %v", st.Info)
	}
}

func TestASweepThatFailsChangesNothingAndIsDueAgain(t *testing.T) {
	s := newServices()
	rec := s.held(1)
	b := s.backend(t, Options{SweepInterval: time.Hour})
	becomes(t, b, rec, pinned)
	s.fail("PinTracker.StatusAll", errBroken)
	if err := b.sweep(t.Context(), me); err == nil {
		t.Error("no error")
	}
	becomes(t, b, rec, pinned)
	now := time.Now()
	if b.sweeps.due(me, time.Hour, now) || !b.sweeps.due(me, time.Hour, now.Add(time.Minute)) {
		t.Error("it is due at once or not soon")
	}
}

// A start with the IPFS node in trouble assumes nothing.
func TestPinsThatCannotBeConfirmedAtStartAreQueued(t *testing.T) {
	s := newServices()
	rec := s.held(1)
	s.fails["PinTracker.StatusAll"] = errBroken
	s.fails["PinTracker.Status"] = errBroken
	b := s.backend(t, Options{})
	becomes(t, b, rec, queued)
	s.fail("PinTracker.Status", nil)
	s.fail("PinTracker.StatusAll", nil)
	becomes(t, b, rec, pinned)
}

func TestFailedPinsAreTriedAgainAndThenFailed(t *testing.T) {
	s := newServices()
	rec := s.held(1)
	var clock fakeClock
	try := func(n int) api.PinInfo {
		info := says(api.TrackerStatusPinError, "merkledag: not found")
		info.AttemptCount = n
		return info
	}
	s.answersOf(rec, try(1))
	b := s.backend(t, Options{Now: clock.now, MaxPinAttempts: 3})
	recovers := func() int { return s.called("PinTracker.Recover of " + requestID(rec)) }
	for n := 1; n <= 2; n++ {
		st := becomes(t, b, rec, pinning)
		if !strings.Contains(st.Info[infoDetails], "failed: merkledag: not found") {
			t.Errorf("info %v", st.Info)
		}
		if got := recovers(); got != n-1 {
			t.Errorf("recovered %d times before its time", got)
		}
		clock.advance(time.Minute)
		until(t, "tried again", func() bool { return recovers() == n })
		s.answersOf(rec, try(n+1))
	}
	st := becomes(t, b, rec, failed)
	if st.Info[infoDetails] != "merkledag: not found" || st.Info[infoAttempts] != "3" {
		t.Errorf("info %v", st.Info)
	}
	clock.advance(time.Hour)
	// The cluster's own rounds put it into the queue; that is no news.
	s.answersOf(rec, says(api.TrackerStatusPinQueued, ""))
	b.round(t.Context(), me)
	if st, err := b.Get(t.Context(), "", requestID(rec)); err != nil || st.Status != failed {
		t.Errorf("%s, %v", st.Status, err)
	}
	if got := recovers(); got != 2 {
		t.Errorf("recovered %d times", got)
	}
	if st, err := b.Add(t.Context(), "", pinsvc.Pin{CID: rec.Cid.Cid}); err != nil || st.Status != queued {
		t.Errorf("added again it is %s, %v", st.Status, err)
	}
	s.answersOf(rec, try(4))
	becomes(t, b, rec, pinning)
}

func TestPinsWaitForTheIPFSNodeAndGoOnWhenItIsBack(t *testing.T) {
	s := newServices()
	rec := s.held(1)
	s.answersOf(rec, says(api.TrackerStatusPinError, refused))
	var clock fakeClock
	b := s.backend(t, Options{Now: clock.now})
	st := becomes(t, b, rec, queued)
	if st.Info[infoDetails] != "waiting for the IPFS node of a peer that should hold the pin" {
		t.Errorf("info %v", st.Info)
	}
	node := s.id.IPFS
	s.set(func() { s.id.IPFS = api.IPFSID{Error: "connection refused"} })
	looks := s.called("Cluster.ID")
	clock.advance(time.Minute)
	until(t, "looked", func() bool { return s.called("Cluster.ID") > looks })
	if n := s.called("PinTracker.Recover"); n != 0 {
		t.Errorf("recovered %d times with the node away", n)
	}
	s.set(func() { s.id.IPFS = node })
	until(t, "recovered", func() bool {
		clock.advance(time.Second)
		return s.called("PinTracker.Recover") > 0
	})
}

func TestGetInFlightIsAnsweredFromMemory(t *testing.T) {
	s := newServices()
	rec := s.inFlight(1)
	origin, err := api.NewMultiaddr("/ip4/203.0.113.9/tcp/4001")
	if err != nil {
		t.Fatal(err)
	}
	s.set(func() {
		rec.Origins = []api.Multiaddr{origin} // Every client sends some.
		s.pins[rec.Cid.Cid] = rec
	})
	b := s.backend(t, Options{RoundInterval: time.Hour})
	if _, err := b.Get(t.Context(), "", requestID(rec)); err != nil {
		t.Fatal(err)
	}
	s.set(func() { s.calls = nil })
	for range 100 {
		if st, err := b.Get(t.Context(), "", requestID(rec)); err != nil || st.Status != pinning || len(st.Pin.Origins) != 1 {
			t.Fatalf("%s, %v, %v", st.Status, st.Pin.Origins, err)
		}
	}
	for _, method := range []string{"Cluster.PinGet", "PinTracker.Status", "PinTracker.StatusAll"} {
		if n := s.called(method); n != 0 {
			t.Errorf("%s was called %d times", method, n)
		}
	}
	// But what is away is not served from memory as if it were there.
	s.fail("Cluster.PinGet", errBroken)
	_, err = b.Get(t.Context(), "", pinsvctest.RawCID(9).String())
	wantKind(t, "Get of another", err, pinsvc.KindUnavailable)
	_, err = b.Get(t.Context(), "", requestID(rec))
	wantKind(t, "Get", err, pinsvc.KindUnavailable)
}

// Whatever is read while a record changes, what is kept is not of before.
func TestExtrasAreNoOlderThanTheView(t *testing.T) {
	var e extras
	key := pinsvctest.RawCID(1)
	old, fresh := extra{expires: time.Unix(1, 0)}, extra{expires: time.Unix(2, 0)}
	_, mark, _ := e.get(key)
	e.drop(key) // The record changes while it is read.
	e.put(key, old, mark)
	if _, _, ok := e.get(key); ok {
		t.Error("an old record is kept")
	}
	_, mark, _ = e.get(key)
	e.put(key, fresh, mark)
	if x, _, ok := e.get(key); !ok || x.expires != fresh.expires {
		t.Errorf("%v", x)
	}
	for i := range maxExtras + 5 {
		e.put(pinsvctest.RawCID(i), fresh, mark)
	}
	if n := len(e.pins); n > maxExtras {
		t.Errorf("%d are kept", n)
	}
}

func TestQueuedPinsSayWhereTheyAre(t *testing.T) {
	s := newServices()
	var last api.Pin
	for i := range 3 {
		last = s.held(i)
		info := says(api.TrackerStatusPinQueued, "")
		info.TS = time.Unix(1_800_000_000+int64(i), 0)
		s.answersOf(last, info)
	}
	b := s.backend(t, Options{})
	until(t, "told", func() bool {
		b.freshen(t.Context())
		st, err := b.Get(t.Context(), "", requestID(last))
		return err == nil && st.Info[infoDetails] == "number 3 of 3 in the queue of this peer"
	})
}

func TestThePinsExpiryIsTold(t *testing.T) {
	s := newServices()
	rec := s.held(1)
	expires := time.Now().Add(time.Hour).Truncate(time.Second)
	s.set(func() {
		rec.ExpireAt = expires
		s.pins[rec.Cid.Cid] = rec
	})
	b := s.backend(t, Options{})
	if st := becomes(t, b, rec, pinned); st.Info[infoUntil] != expires.UTC().Format(time.RFC3339) {
		t.Errorf("info %v", st.Info)
	}
}

func TestCloseInTheMidstOfRoundsAndSweepsLeavesNothing(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s := newServices()
	for i := range 500 {
		s.inFlight(i)
	}
	b := New(s.client(t), Options{Self: me, RoundInterval: time.Microsecond, Hints: &fakeHints{}})
	ready(t, b)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				b.listed(t)
				b.sweeps.soon(me)
				b.feed.soon()
			}
		})
	}
	b.Close()
	wg.Wait()
}
