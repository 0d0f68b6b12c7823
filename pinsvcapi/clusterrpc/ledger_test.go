package clusterrpc

import (
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// other is a peer beside me.
const other = peer.ID("other")

// ledgerTest is a ledger, a record of ours in it that two peers should hold,
// one of them to make it pinned, and the peer me that reports on it.
type ledgerTest struct {
	*ledger
	t     *testing.T
	clock *fakeClock
	rec   api.Pin
	wiped []cid.Cid
}

func newLedgerTest(t *testing.T) *ledgerTest {
	lt := &ledgerTest{t: t, clock: &fakeClock{}}
	lt.ledger = &ledger{
		view: pinset.New(), places: newPlaces(), troubles: newTroubles(lt.clock.now, 10*time.Second), extras: &extras{},
		now: lt.clock.now, maxAttempts: 3,
	}
	lt.ledger.wiped = func(c cid.Cid) { lt.wiped = append(lt.wiped, c) }
	lt.places.setMembers([]peer.ID{me, other, "third"}, lt.clock.now())
	lt.rec = asked(newRecord(pinsvc.Pin{CID: pinsvctest.RawCID(1)}), pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	lt.rec.Allocations = []peer.ID{me, other}
	lt.rec.ReplicationFactorMin, lt.rec.ReplicationFactorMax = 1, 2
	lt.rec.Timestamp = lt.clock.now()
	stamp(lt.rec, lt.clock.now())
	lt.enter(lt.rec, false)
	lt.clock.advance(time.Minute)
	return lt
}

// hears a tracker say this of the record as it is.
func (lt *ledgerTest) hears(p peer.ID, status api.TrackerStatus, text string, attempts int) {
	a := answerOf(says(status, text))
	a.written, a.attempts = lt.rec.Timestamp.Unix(), attempts
	lt.heard(p, lt.rec.Cid.Cid, a)
}

// stands fails the test unless a peer does, and the pin has that status.
func (lt *ledgerTest) stands(when string, p peer.ID, want standing, status pinsvc.Status) {
	lt.t.Helper()
	pin, ok := lt.view.Get(lt.rec.Cid.Cid)
	got, counts := lt.places.look(pin.Placement, pin.Vector, p)
	if !ok || !counts || got != want || pin.Status != status {
		lt.t.Errorf("%s: standing %d (counts: %t), status %s, want %d and %s", when, got, counts, pin.Status, want, status)
	}
}

// rewrite writes the record again, as a re-add does.
func (lt *ledgerTest) rewrite(later time.Duration) {
	lt.clock.advance(later)
	lt.rec.Timestamp = lt.clock.now()
	lt.enter(lt.rec, true)
}

const (
	queued, pinning = pinsvc.StatusQueued, pinsvc.StatusPinning
	pinned, failed  = pinsvc.StatusPinned, pinsvc.StatusFailed
)

func TestNothingIsPinnedBeforeItIsConfirmed(t *testing.T) {
	lt := newLedgerTest(t)
	lt.stands("at first", me, standingUnknown, queued)
	for _, status := range []api.TrackerStatus{
		api.TrackerStatusPinQueued, api.TrackerStatusPinning, api.TrackerStatusClusterError, api.TrackerStatusRemote,
		api.TrackerStatusUnpinned, api.TrackerStatusSharded, api.TrackerStatusUndefined,
	} {
		lt.hears(me, status, "", 0)
		if p, _ := lt.view.Get(lt.rec.Cid.Cid); p.Status == pinned {
			t.Errorf("pinned by %s", status)
		}
	}
	lt.hears("third", api.TrackerStatusPinned, "", 0)
	if p, _ := lt.view.Get(lt.rec.Cid.Cid); p.Status == pinned {
		t.Error("pinned by a peer that should not hold it")
	}
	lt.hears(me, api.TrackerStatusPinned, "", 0)
	lt.stands("in the end", me, standingHolds, pinned)
}

func TestAPeerThatCannotTellChangesNothing(t *testing.T) {
	lt := newLedgerTest(t)
	lt.hears(me, api.TrackerStatusPinned, "", 0)
	lt.hears(me, api.TrackerStatusClusterError, refused, 0)
	lt.stands("the tracker cannot ask IPFS", me, standingHolds, pinned)
	lt.hears(me, api.TrackerStatusPinError, refused, 1)
	lt.stands("IPFS is away", me, standingHolds, pinned)
	for _, text := range []string{"context deadline exceeded", "context canceled", "merkledag: not found"} {
		lt.hears(me, api.TrackerStatusPinError, text, 0)
		lt.stands("without a try: "+text, me, standingHolds, pinned)
	}
	lt.hears(other, api.TrackerStatusPinError, refused, 1)
	lt.stands("the other's IPFS is away", other, standingWaits, pinned)
}

// The trackers queue a pin again when its record changes, although its content
// is there.
func TestARecordThatChangesDoesNotWithdrawAConfirmation(t *testing.T) {
	inFlight := []api.TrackerStatus{api.TrackerStatusPinQueued, api.TrackerStatusPinning}
	t.Run("seen before the trackers' answers", func(t *testing.T) {
		lt := newLedgerTest(t)
		lt.hears(me, api.TrackerStatusPinned, "", 0)
		lt.rewrite(time.Minute)
		for range 3 { // Also when its turn comes much later.
			for _, status := range inFlight {
				lt.hears(me, status, "", 0)
				lt.stands(status.String(), me, standingRewritten, pinned)
			}
			lt.clock.advance(time.Hour)
		}
		lt.hears(me, api.TrackerStatusPinned, "", 0)
		lt.stands("done", me, standingHolds, pinned)
	})
	t.Run("seen after the trackers' answers", func(t *testing.T) {
		lt := newLedgerTest(t)
		lt.hears(me, api.TrackerStatusPinned, "", 0)
		lt.rec.Timestamp = lt.clock.now()
		for _, status := range inFlight {
			lt.hears(me, status, "", 0)
			lt.stands(status.String(), me, standingRewritten, pinned)
		}
	})
	t.Run("and an answer of before", func(t *testing.T) {
		lt := newLedgerTest(t)
		lt.hears(me, api.TrackerStatusPinned, "", 0)
		lt.rewrite(time.Minute)
		lt.hears(me, api.TrackerStatusPinned, "", 0)
		lt.hears(me, api.TrackerStatusPinQueued, "", 0)
		lt.stands("queued after an early answer", me, standingRewritten, pinned)
	})
	t.Run("but bad news do", func(t *testing.T) {
		for _, status := range []api.TrackerStatus{api.TrackerStatusPinError, api.TrackerStatusUnexpectedlyUnpinned, api.TrackerStatusUnpinned} {
			lt := newLedgerTest(t)
			lt.hears(me, api.TrackerStatusPinned, "", 0)
			lt.rewrite(time.Minute)
			lt.hears(me, status, "merkledag: not found", 1)
			if p, _ := lt.view.Get(lt.rec.Cid.Cid); p.Status == pinned {
				t.Errorf("%s leaves it pinned", status)
			}
		}
	})
}

func TestAllocationsThatChangeKeepWhatPeersSaid(t *testing.T) {
	lt := newLedgerTest(t)
	lt.hears(me, api.TrackerStatusPinned, "", 0)
	lt.rec.Allocations = []peer.ID{"third", me}
	lt.rewrite(time.Minute)
	lt.stands("it stays allocated", me, standingRewritten, pinned)
	lt.stands("it comes in", "third", standingUnknown, pinned)
	lt.rec.Allocations = []peer.ID{"third", other}
	lt.rewrite(time.Minute)
	lt.stands("the only holder goes", other, standingUnknown, queued)
}

func TestRecoveryOfLostContentIsNotPinned(t *testing.T) {
	lt := newLedgerTest(t)
	lt.hears(me, api.TrackerStatusPinned, "", 0)
	// The loss itself was not noticed; the tracker pins the same record.
	lt.hears(me, api.TrackerStatusPinning, "", 0)
	lt.stands("it is fetched", me, standingLost, pinning)
	lt.hears(me, api.TrackerStatusPinned, "", 0)
	lt.hears(me, api.TrackerStatusUnexpectedlyUnpinned, "x", 0)
	lt.stands("it is lost", me, standingLost, pinning)
	if due := lt.troubles.due(10); len(due) != 1 {
		t.Errorf("%d pins are to be recovered", len(due))
	}
	lt.hears(me, api.TrackerStatusPinQueued, "", 0)
	lt.stands("it is queued", me, standingLost, pinning)
	lt.hears(me, api.TrackerStatusPinned, "", 0)
	if due := lt.troubles.of(lt.rec.Cid.Cid); len(due) != 0 {
		t.Errorf("what is over is remembered: %v", due)
	}
}

func TestANewPinOfTheSameContentIsUnconfirmed(t *testing.T) {
	t.Run("of ours", func(t *testing.T) {
		lt := newLedgerTest(t)
		lt.hears(me, api.TrackerStatusPinned, "", 0)
		before := lt.rec.Timestamp
		lt.rec.Metadata = map[string]string{}
		stamp(lt.rec, lt.clock.now())
		lt.rewrite(0)
		lt.stands("removed and made again", me, standingUnknown, queued)
		lt.heard(me, lt.rec.Cid.Cid, answer{status: api.TrackerStatusPinned, written: before.Unix()})
		lt.stands("an answer about the old one", me, standingQueued, queued)
	})
	t.Run("of another tool", func(t *testing.T) {
		lt := newLedgerTest(t)
		lt.drop(lt.rec.Cid.Cid)
		lt.rec.Metadata = nil
		lt.enter(lt.rec, false)
		lt.hears(me, api.TrackerStatusPinned, "", 0)
		lt.stands("at first", me, standingHolds, pinned)
		lt.rec.Timestamp = lt.rec.Timestamp.Add(time.Minute)
		lt.enter(lt.rec, false)
		lt.stands("pinned again", me, standingUnknown, queued)
	})
}

func TestANewPinIsQueuedAndNotLost(t *testing.T) {
	lt := newLedgerTest(t)
	lt.rewrite(0)
	// The state has it and the tracker has not been told yet.
	lt.hears(me, api.TrackerStatusUnexpectedlyUnpinned, "x", 0)
	lt.stands("at first", me, standingQueued, queued)
	lt.clock.advance(time.Minute)
	lt.hears(me, api.TrackerStatusUnexpectedlyUnpinned, "x", 0)
	lt.stands("much later", me, standingLost, pinning)
}

func TestFailedComesAfterAsManyTriesAsThereAre(t *testing.T) {
	const why = "merkledag: not found"
	lt := newLedgerTest(t)
	lt.rec.Allocations = []peer.ID{me}
	lt.rewrite(0)
	for try, want := range []string{
		"try 1 of 3 failed: merkledag: not found; the next try is in 10s",
		"try 2 of 3 failed: merkledag: not found; the next try is in 20s",
	} {
		lt.hears(me, api.TrackerStatusPinError, why, try+1)
		lt.hears(me, api.TrackerStatusPinError, why, try+1) // Heard twice, it is one try.
		lt.stands(want, me, standingTrying, pinning)
		if got := lt.troubles.of(lt.rec.Cid.Cid)[0].tell(lt.clock.now(), 3); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
		lt.hears(me, api.TrackerStatusPinning, "", try+1)
		lt.stands("the next is under way", me, standingTrying, pinning)
	}
	lt.hears(me, api.TrackerStatusPinError, why, 3)
	lt.stands("the last", me, standingGaveUp, failed)
	// The cluster itself queues what is in error every 12 minutes.
	for range 3 {
		for _, status := range []api.TrackerStatus{api.TrackerStatusPinQueued, api.TrackerStatusPinning} {
			lt.hears(me, status, "", 4)
			lt.stands(status.String(), me, standingGaveUp, failed)
		}
		lt.hears(me, api.TrackerStatusPinError, why, 4)
		lt.stands("once more", me, standingGaveUp, failed)
	}
	if got := lt.troubles.of(lt.rec.Cid.Cid)[0].tell(lt.clock.now(), 3); got != why {
		t.Errorf("told %q", got)
	}
	lt.rewrite(time.Minute)
	lt.stands("written again", me, standingQueued, queued)
	lt.hears(me, api.TrackerStatusPinError, why, 5) // The tracker goes on counting.
	lt.stands("the first try of the new ones", me, standingTrying, pinning)
	lt.hears(me, api.TrackerStatusPinned, "", 6)
	lt.stands("a success", me, standingHolds, pinned)
	lt.hears(me, api.TrackerStatusPinError, why, 1)
	lt.stands("and it counts anew", me, standingTrying, pinning)
}

// Under batching, and at other peers, a re-add reaches the tracker late.
func TestAFailureOfBeforeAReAddIsNoNewOne(t *testing.T) {
	lt := newLedgerTest(t)
	lt.maxAttempts = 1
	lt.rec.Allocations = []peer.ID{me}
	lt.rewrite(0)
	lt.hears(me, api.TrackerStatusPinError, "merkledag: not found", 2)
	lt.stands("failed", me, standingGaveUp, failed)
	old := answer{status: api.TrackerStatusPinError, text: "merkledag: not found", attempts: 2, written: lt.rec.Timestamp.Unix()}
	for _, later := range []time.Duration{0, time.Minute} { // Also within one second.
		lt.rewrite(later)
		lt.heard(me, lt.rec.Cid.Cid, old)
		lt.stands("the old failure", me, standingQueued, queued)
	}
	lt.hears(me, api.TrackerStatusPinError, "merkledag: not found", 3)
	lt.stands("a new one", me, standingGaveUp, failed)
}

func TestTriesWithoutAnIPFSNodeDoNotCount(t *testing.T) {
	lt := newLedgerTest(t)
	lt.rec.Allocations = []peer.ID{me}
	lt.rewrite(0)
	for n := range 5 {
		lt.hears(me, api.TrackerStatusPinError, refused, n+1)
		lt.stands("IPFS is away", me, standingWaits, queued)
	}
	for range 5 {
		lt.hears(me, api.TrackerStatusPinError, "context canceled", 0)
		lt.stands("the look was given up", me, standingWaits, queued)
	}
	lt.hears(me, api.TrackerStatusPinError, "merkledag: not found", 6)
	lt.stands("the first real failure", me, standingTrying, pinning)
}

func TestARecordThatAnotherToolWipedKeepsItsCreationTime(t *testing.T) {
	lt := newLedgerTest(t)
	lt.hears(me, api.TrackerStatusPinned, "", 0)
	created, _ := createdOf(lt.rec)
	lt.rec.Metadata, lt.rec.Name = map[string]string{"of": "ctl"}, "changed"
	lt.rewrite(time.Minute)
	p, _ := lt.view.Get(lt.rec.Cid.Cid)
	if !p.Created.Equal(created) || !p.Stamped || p.Name != "changed" || p.Meta["of"] != "ctl" {
		t.Errorf("%+v, want it created %v", p, created)
	}
	lt.stands("wiped", me, standingRewritten, pinned)
	if len(lt.wiped) != 1 {
		t.Errorf("%d pins are to be mended", len(lt.wiped))
	}
}

func TestTroublesAreBounded(t *testing.T) {
	tr := newTroubles((&fakeClock{}).now, time.Second)
	for i := range maxTroubles + 10 {
		tr.lost(pinsvctest.RawCID(i), 0)
	}
	if n := len(tr.pins); n != maxTroubles {
		t.Errorf("%d pins", n)
	}
}

func TestAPeerThatDidNotAnswerIsLeftAloneForAWhile(t *testing.T) {
	var clock fakeClock
	a := newAbsences(clock.now)
	if a.is(me) {
		t.Error("away from the start")
	}
	a.did(me)
	if !a.is(me) || a.is(other) || !a.now(me) {
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
	if a.is(me) || a.now(me) {
		t.Error("still away after an answer")
	}
}

// Under CRDT a stopped peer drops out of the members, and a pin that is pinned
// everywhere has no allocations.
func TestAHolderThatIsNoMemberAnyMoreStillHolds(t *testing.T) {
	lt := newLedgerTest(t)
	lt.rec.Allocations, lt.rec.ReplicationFactorMin, lt.rec.ReplicationFactorMax = nil, -1, -1
	lt.rewrite(0)
	lt.hears(other, api.TrackerStatusPinned, "", 0)
	lt.stands("it holds", other, standingHolds, pinned)
	status := func() pinsvc.Status {
		if lt.places.setMembers([]peer.ID{me}, lt.clock.now()) {
			lt.rejudge()
		}
		p, _ := lt.view.Get(lt.rec.Cid.Cid)
		return p.Status
	}
	if got := status(); got != pinned {
		t.Errorf("%s, but one peer holds it", got)
	}
	lt.clock.advance(2 * memberFor)
	if got := status(); got == pinned {
		t.Errorf("%s, long after the holder left", got)
	}
}
