package clusterrpc

import (
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// bookTest is a book, a record of ours and a peer that reports on it.
type bookTest struct {
	clock fakeClock
	book  *book
	rec   api.Pin
}

func newBookTest() *bookTest {
	bt := &bookTest{}
	bt.book = newBook(bt.clock.now, 100)
	bt.rec = asked(newRecord(pinsvc.Pin{CID: pinsvctest.RawCID(1)}), pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	bt.rec.Timestamp = bt.clock.now()
	stamp(bt.rec, bt.clock.now())
	bt.clock.advance(time.Minute)
	return bt
}

// hears the tracker say this of the record.
func (bt *bookTest) hears(status api.TrackerStatus, text string) (standing, bool) {
	info := says(status, text)
	info.Created = bt.rec.Timestamp
	r, retry := bt.book.heard(bt.rec, me, info)
	return r.standing, retry
}

func TestUnreachablePeersKeepTheirLastAnswer(t *testing.T) {
	bt := newBookTest()
	if r := bt.book.recalled(bt.rec, me); r.standing != standingUnknown {
		t.Errorf("before it said anything: %d", r.standing)
	}
	for _, status := range []api.TrackerStatus{api.TrackerStatusPinned, api.TrackerStatusPinError} {
		bt.hears(status, "merkledag: not found")
		want := reportOf(says(status, "")).standing
		if r := bt.book.recalled(bt.rec, me); r.standing != want {
			t.Errorf("recalled %d, want %d", r.standing, want)
		}
		// The tracker answers, but cannot tell.
		if got, retry := bt.hears(api.TrackerStatusClusterError, refused); got != want || retry {
			t.Errorf("a tracker that cannot ask IPFS makes %d of %d", got, want)
		}
	}
	other := bt.rec
	other.Cid = api.NewCid(pinsvctest.RawCID(2))
	if r := bt.book.recalled(other, me); r.standing != standingUnknown {
		t.Errorf("another pin has the answer: %d", r.standing)
	}
	if r := bt.book.recalled(bt.rec, peer.ID("other")); r.standing != standingUnknown {
		t.Errorf("another peer has the answer: %d", r.standing)
	}
}

func TestAnswersDoNotOutliveThePin(t *testing.T) {
	bt := newBookTest()
	bt.hears(api.TrackerStatusPinned, "")
	bt.rec.Metadata = map[string]string{}
	stamp(bt.rec, bt.clock.now()) // removed and made again
	if r := bt.book.recalled(bt.rec, me); r.standing != standingUnknown {
		t.Errorf("a new pin has the answer about the old one: %d", r.standing)
	}
}

func TestAPeerWithoutItsIPFSNodeStillHoldsWhatItHeld(t *testing.T) {
	bt := newBookTest()
	bt.hears(api.TrackerStatusPinned, "")
	if got, retry := bt.hears(api.TrackerStatusPinError, refused); got != standingHolds || !retry {
		t.Errorf("standing %d, retry %t", got, retry)
	}
}

// TestARecordThatChangesDoesNotWithdrawAConfirmation: the trackers queue the
// pin again although its content is there.
func TestARecordThatChangesDoesNotWithdrawAConfirmation(t *testing.T) {
	inFlight := []api.TrackerStatus{api.TrackerStatusPinQueued, api.TrackerStatusPinning}
	t.Run("written by this peer", func(t *testing.T) {
		bt := newBookTest()
		bt.hears(api.TrackerStatusPinned, "")
		bt.book.changed(bt.rec, []peer.ID{me})
		for range 3 { // Also when its turn comes much later.
			for _, status := range inFlight {
				if got, _ := bt.hears(status, ""); got != standingHolds {
					t.Errorf("%s makes %d", status, got)
				}
			}
			bt.clock.advance(time.Hour)
		}
		// The news of the old record may come first.
		bt.book.changed(bt.rec, []peer.ID{me})
		bt.hears(api.TrackerStatusPinned, "")
		if got, _ := bt.hears(api.TrackerStatusPinQueued, ""); got != standingHolds {
			t.Errorf("queued after an early answer makes %d", got)
		}
	})
	t.Run("written by another peer", func(t *testing.T) {
		bt := newBookTest()
		bt.hears(api.TrackerStatusPinned, "")
		bt.rec.Timestamp = bt.rec.Timestamp.Add(time.Minute)
		for _, status := range inFlight {
			if got, _ := bt.hears(status, ""); got != standingHolds {
				t.Errorf("%s makes %d", status, got)
			}
		}
	})
	t.Run("but bad news do", func(t *testing.T) {
		for _, status := range []api.TrackerStatus{api.TrackerStatusPinError, api.TrackerStatusUnexpectedlyUnpinned, api.TrackerStatusUnpinned} {
			bt := newBookTest()
			bt.hears(api.TrackerStatusPinned, "")
			bt.book.changed(bt.rec, []peer.ID{me})
			if got, _ := bt.hears(status, "merkledag: not found"); got == standingHolds {
				t.Errorf("%s leaves it held", status)
			}
			if got, _ := bt.hears(api.TrackerStatusPinQueued, ""); got != standingQueued {
				t.Errorf("queued after %s makes %d", status, got)
			}
		}
	})
}

func TestRecoveryOfLostContentIsNotPinned(t *testing.T) {
	bt := newBookTest()
	bt.hears(api.TrackerStatusPinned, "")
	// The loss itself was not noticed; the tracker pins the same record.
	if got, _ := bt.hears(api.TrackerStatusPinning, ""); got != standingWorking {
		t.Errorf("standing %d", got)
	}
	if got, retry := bt.hears(api.TrackerStatusUnexpectedlyUnpinned, ""); got != standingLost || !retry {
		t.Errorf("standing %d, retry %t", got, retry)
	}
}

func TestANewPinOfAnotherToolIsNotPinnedByAnOldAnswer(t *testing.T) {
	bt := newBookTest()
	bt.rec.Metadata = nil
	bt.hears(api.TrackerStatusPinned, "")
	bt.rec.Timestamp = bt.rec.Timestamp.Add(time.Minute) // unpinned and pinned again
	if got, _ := bt.hears(api.TrackerStatusPinning, ""); got != standingWorking {
		t.Errorf("standing %d", got)
	}
}

func TestANewPinIsQueuedAndNotLost(t *testing.T) {
	bt := newBookTest()
	bt.rec.Timestamp = bt.clock.now()
	// The state has it and the tracker has not been told yet.
	if got, retry := bt.hears(api.TrackerStatusUnexpectedlyUnpinned, ""); got != standingQueued || retry {
		t.Errorf("standing %d, retry %t", got, retry)
	}
}

func TestAReAddStartsTheTriesAnew(t *testing.T) {
	bt := newBookTest()
	bt.hears(api.TrackerStatusPinError, "merkledag: not found")
	bt.book.changed(bt.rec, []peer.ID{me})
	if r := bt.book.recalled(bt.rec, me); r.standing != standingUnknown {
		t.Errorf("the failure is remembered: %d", r.standing)
	}
}

func TestTheBookIsBounded(t *testing.T) {
	bt := newBookTest()
	for i := range 1000 {
		rec := newRecord(pinsvc.Pin{CID: pinsvctest.RawCID(i)})
		bt.book.heard(rec, me, says(api.TrackerStatusPinned, ""))
	}
	if n := bt.book.entries.Len(); n != 100 {
		t.Errorf("%d entries", n)
	}
}

func TestAPeerThatDidNotAnswerIsLeftAloneForAWhile(t *testing.T) {
	var clock fakeClock
	a := newAbsences(clock.now)
	if a.is(me) {
		t.Error("away from the start")
	}
	a.did(me)
	if !a.is(me) || a.is(peer.ID("other")) {
		t.Error("the wrong peer is away")
	}
	clock.advance(silence)
	if a.is(me) {
		t.Error("nobody tries again")
	}
	if !a.is(me) {
		t.Error("everybody tries again")
	}
	a.back(me)
	if a.is(me) {
		t.Error("still away after an answer")
	}
}

// TestAHolderThatIsNoMemberAnyMoreStillHolds: under CRDT a stopped peer drops
// out of the members, and a pin that is pinned everywhere has no allocations.
func TestAHolderThatIsNoMemberAnyMoreStillHolds(t *testing.T) {
	s := newServices()
	rec := s.held(1)
	other := peer.ID("other")
	s.set(func() {
		rec.Allocations, rec.ReplicationFactorMin, rec.ReplicationFactorMax = nil, -1, -1
		s.pins[rec.Cid.Cid] = rec
		s.peers = []peer.ID{me, other}
	})
	var clock fakeClock
	b := s.backend(t, Options{Now: clock.now})
	status := func() pinsvc.Status {
		t.Helper()
		st, err := b.Get(t.Context(), "", requestID(rec))
		if err != nil {
			t.Fatal(err)
		}
		return st.Status
	}
	if got := status(); got != pinsvc.StatusPinned {
		t.Fatalf("%s", got)
	}
	s.set(func() {
		s.peers = []peer.ID{me}
		s.answers[rec.Cid.Cid] = says(api.TrackerStatusPinError, "merkledag: not found")
	})
	b.away.did(other)
	if got := status(); got != pinsvc.StatusPinned {
		t.Errorf("%s, but one peer holds it", got)
	}
	clock.advance(2 * memberFor)
	if got := status(); got != pinsvc.StatusFailed {
		t.Errorf("%s, long after the holder left", got)
	}
}
