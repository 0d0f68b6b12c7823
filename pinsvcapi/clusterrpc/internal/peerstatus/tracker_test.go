package peerstatus

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// The members of the cluster of a trackerTest.
const (
	peerA = peer.ID("A")
	peerB = peer.ID("B")
	peerC = peer.ID("C")
)

// Texts of failures that trackers report.
const (
	textRefused     = "merkledag: not found"
	textUnavailable = `Post "http://127.0.0.1:5001/api/v0/pin/add": dial tcp 127.0.0.1:5001: connect: connection refused`
	textQueueFull   = "pin/unpin operation queue is full. Try increasing max_pin_queue_size"
	textStalled     = "context canceled"
	textTimedOut    = "context deadline exceeded"
)

const (
	queued, pinning = pinsvc.StatusQueued, pinsvc.StatusPinning
	pinned, failed  = pinsvc.StatusPinned, pinsvc.StatusFailed
)

// fakeClock stands still until a test moves it.
type fakeClock struct{ ahead atomic.Int64 }

func (c *fakeClock) now() time.Time {
	return time.Unix(1_800_000_000, 0).Add(time.Duration(c.ahead.Load()))
}

func (c *fakeClock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// trackerTest is a tracker with one record of the service. The record was
// written a minute ago; A and B should hold it, and one of them makes it pinned.
// A pin fails after three attempts.
type trackerTest struct {
	*Tracker
	t            testing.TB
	clock        *fakeClock
	rec          api.Pin
	key          cid.Cid
	metadataLost []cid.Cid
}

func newTrackerTest(t testing.TB) *trackerTest {
	tt := &trackerTest{t: t, clock: &fakeClock{}, key: pinsvctest.RawCID(1)}
	tt.Tracker = NewTracker(Config{
		View: pinset.New(), Now: tt.clock.now, Clock: pinrecord.NewClock(tt.clock.now),
		MaxAttempts: 3, RetryDelay: 10 * time.Second, PinTimeout: 2 * time.Minute,
		OnMetadataLost: func(c cid.Cid) { tt.metadataLost = append(tt.metadataLost, c) },
	})
	tt.SetMembers([]peer.ID{peerA, peerB, peerC})
	pin := pinsvc.Pin{CID: tt.key, Name: "as requested"}
	tt.rec = pinrecord.WithRequest(pinrecord.New(pin.CID), pin)
	tt.rec.Allocations = []peer.ID{peerA, peerB}
	tt.rec.ReplicationFactorMin, tt.rec.ReplicationFactorMax = 1, 2
	tt.rec.Timestamp = tt.clock.now()
	pinrecord.Stamp(tt.rec, tt.clock.now())
	tt.PutRecord(tt.rec, false)
	tt.clock.advance(time.Minute)
	return tt
}

// allocate writes the record again with other holders.
func (tt *trackerTest) allocate(minimum int, peers ...peer.ID) {
	tt.rec.Allocations = peers
	tt.rec.ReplicationFactorMin, tt.rec.ReplicationFactorMax = minimum, max(minimum, len(peers))
	tt.rewrite(0)
}

// everywhere writes the record again for all members.
func (tt *trackerTest) everywhere() {
	tt.rec.Allocations = nil
	tt.rec.ReplicationFactorMin, tt.rec.ReplicationFactorMax = -1, -1
	tt.rewrite(0)
}

// rewrite writes the record again, as a re-add does.
func (tt *trackerTest) rewrite(later time.Duration) {
	tt.clock.advance(later)
	tt.rec.Timestamp = tt.clock.now()
	tt.PutRecord(tt.rec, true)
}

// observe enters the report of a tracker on the record as it is.
func (tt *trackerTest) observe(p peer.ID, status api.TrackerStatus, text string, attempts int) {
	r := ReportOf(pinInfo(status, text))
	r.RecordTime, r.Attempts = tt.rec.Timestamp.Unix(), attempts
	tt.Observe(p, tt.key, r)
}

// pin returns the pin in the view.
func (tt *trackerTest) pin() pinset.Pin {
	tt.t.Helper()
	pin, ok := tt.view.Get(tt.key)
	if !ok {
		tt.t.Fatal("the view does not have the pin")
	}
	return pin
}

// stateOf returns the state of the pin at a peer.
func (tt *trackerTest) stateOf(p peer.ID) (st State, counts bool) {
	tt.t.Helper()
	m, ok := tt.view.Lookup(tt.key)
	if !ok {
		tt.t.Fatal("the view does not have the pin")
	}
	return tt.PeerState(m, p)
}

// wantState fails the test unless the pin has a state at a peer, and a status.
func (tt *trackerTest) wantState(when string, p peer.ID, want State, status pinsvc.Status) {
	tt.t.Helper()
	got, counts := tt.stateOf(p)
	if pin := tt.pin(); !counts || got != want || pin.Status != status {
		tt.t.Errorf("%s: state %s (counts: %t), status %s, want %s and %s", when, got, counts, pin.Status, want, status)
	}
}

// wantDetails fails the test unless the pin has this text.
func (tt *trackerTest) wantDetails(when, want string) {
	tt.t.Helper()
	if got, _ := tt.Details(tt.key, tt.pin().Status); got != want {
		tt.t.Errorf("%s: details %q, want %q", when, got, want)
	}
}

func TestTracker_NothingIsPinnedBeforeItIsConfirmed(t *testing.T) {
	tt := newTrackerTest(t)
	tt.wantState("at first", peerA, Unknown, queued)
	for _, status := range []api.TrackerStatus{
		api.TrackerStatusPinQueued, api.TrackerStatusPinning, api.TrackerStatusClusterError, api.TrackerStatusRemote,
		api.TrackerStatusUnpinned, api.TrackerStatusSharded, api.TrackerStatusUndefined,
	} {
		tt.observe(peerA, status, "", 0)
		if tt.pin().Status == pinned {
			t.Errorf("pinned by %s", status)
		}
	}
	tt.observe(peerC, api.TrackerStatusPinned, "", 0)
	if tt.pin().Status == pinned {
		t.Error("pinned by a peer that should not hold it")
	}
	tt.observe(peerA, api.TrackerStatusPinned, "", 0)
	tt.wantState("in the end", peerA, Pinned, pinned)
}

func TestTracker_ReportThatSaysNothingOfTheContentChangesNothing(t *testing.T) {
	tt := newTrackerTest(t)
	tt.observe(peerA, api.TrackerStatusPinned, "", 0)
	tt.observe(peerA, api.TrackerStatusClusterError, textUnavailable, 0)
	tt.wantState("the tracker cannot read its IPFS node", peerA, Pinned, pinned)
	tt.observe(peerA, api.TrackerStatusPinError, textUnavailable, 1)
	tt.wantState("the IPFS node is unavailable", peerA, Pinned, pinned)
	for _, text := range []string{textTimedOut, textStalled, textRefused} {
		tt.observe(peerA, api.TrackerStatusPinError, text, 0)
		tt.wantState("without an attempt: "+text, peerA, Pinned, pinned)
	}
	tt.observe(peerB, api.TrackerStatusPinError, textUnavailable, 1)
	tt.wantState("the other's IPFS node is unavailable", peerB, Waiting, pinned)
}

// The trackers queue a pin again when its record changes, although its content is
// there.
func TestTracker_RewrittenRecordDoesNotWithdrawAConfirmation(t *testing.T) {
	active := []api.TrackerStatus{api.TrackerStatusPinQueued, api.TrackerStatusPinning}
	t.Run("record before the reports", func(t *testing.T) {
		tt := newTrackerTest(t)
		tt.observe(peerA, api.TrackerStatusPinned, "", 0)
		tt.rewrite(time.Minute)
		for range 3 { // Also when its turn comes much later.
			for _, status := range active {
				tt.observe(peerA, status, "", 0)
				tt.wantState(status.String(), peerA, Rewritten, pinned)
			}
			tt.clock.advance(time.Hour)
		}
		tt.observe(peerA, api.TrackerStatusPinned, "", 0)
		tt.wantState("done", peerA, Pinned, pinned)
	})
	t.Run("record after the reports", func(t *testing.T) {
		tt := newTrackerTest(t)
		tt.observe(peerA, api.TrackerStatusPinned, "", 0)
		tt.rec.Timestamp = tt.clock.now()
		for _, status := range active {
			tt.observe(peerA, status, "", 0)
			tt.wantState(status.String(), peerA, Rewritten, pinned)
		}
	})
	t.Run("report from before the record", func(t *testing.T) {
		tt := newTrackerTest(t)
		tt.observe(peerA, api.TrackerStatusPinned, "", 0)
		tt.rewrite(time.Minute)
		tt.observe(peerA, api.TrackerStatusPinned, "", 0)
		tt.observe(peerA, api.TrackerStatusPinQueued, "", 0)
		tt.wantState("queued after an early report", peerA, Rewritten, pinned)
	})
	t.Run("but a failure does", func(t *testing.T) {
		for _, status := range []api.TrackerStatus{
			api.TrackerStatusPinError, api.TrackerStatusUnexpectedlyUnpinned, api.TrackerStatusUnpinned,
		} {
			tt := newTrackerTest(t)
			tt.observe(peerA, api.TrackerStatusPinned, "", 0)
			tt.rewrite(time.Minute)
			tt.observe(peerA, status, textRefused, 1)
			if tt.pin().Status == pinned {
				t.Errorf("%s leaves it pinned", status)
			}
		}
	})
}

func TestTracker_NewAllocationsKeepTheStatesOfPeersThatStay(t *testing.T) {
	tt := newTrackerTest(t)
	tt.observe(peerA, api.TrackerStatusPinned, "", 0)
	tt.rec.Allocations = []peer.ID{peerC, peerA}
	tt.rewrite(time.Minute)
	tt.wantState("it stays allocated", peerA, Rewritten, pinned)
	tt.wantState("it is new", peerC, Unknown, pinned)
	tt.rec.Allocations = []peer.ID{peerC, peerB}
	tt.rewrite(time.Minute)
	tt.wantState("the only holder leaves", peerB, Unknown, queued)
}

func TestTracker_RecoveryOfLostContentIsNotPinned(t *testing.T) {
	tt := newTrackerTest(t)
	tt.observe(peerA, api.TrackerStatusPinned, "", 0)
	// The loss itself was not observed; the tracker pins the same record.
	tt.observe(peerA, api.TrackerStatusPinning, "", 0)
	tt.wantState("it is fetched", peerA, Lost, pinning)
	tt.observe(peerA, api.TrackerStatusPinned, "", 0)
	tt.observe(peerA, api.TrackerStatusUnexpectedlyUnpinned, "x", 0)
	tt.wantState("it is lost", peerA, Lost, pinning)
	if due := tt.DueRetries(10); len(due) != 1 || due[0].State != Lost {
		t.Errorf("retries %+v, want one of lost content", due)
	}
	tt.observe(peerA, api.TrackerStatusPinQueued, "", 0)
	tt.wantState("it is queued", peerA, Lost, pinning)
	tt.observe(peerA, api.TrackerStatusPinned, "", 0)
	if n := tt.FailurePins(); n != 0 {
		t.Errorf("%d failures are kept after they are over", n)
	}
}

func TestTracker_NewPinOfTheSameContentIsUnconfirmed(t *testing.T) {
	t.Run("of the service", func(t *testing.T) {
		tt := newTrackerTest(t)
		tt.observe(peerA, api.TrackerStatusPinned, "", 0)
		before := tt.rec.Timestamp
		tt.rec.Metadata = map[string]string{}
		pinrecord.Stamp(tt.rec, tt.clock.now())
		tt.rewrite(0)
		tt.wantState("removed and made again", peerA, Unknown, queued)
		tt.Observe(peerA, tt.key, Report{Status: api.TrackerStatusPinned, RecordTime: before.Unix()})
		tt.wantState("a report on the earlier pin", peerA, Queued, queued)
	})
	t.Run("of another tool", func(t *testing.T) {
		tt := newTrackerTest(t)
		tt.DeleteRecord(tt.key)
		tt.rec.Metadata = nil
		tt.PutRecord(tt.rec, false)
		tt.observe(peerA, api.TrackerStatusPinned, "", 0)
		tt.wantState("at first", peerA, Pinned, pinned)
		tt.rec.Timestamp = tt.rec.Timestamp.Add(time.Minute)
		tt.PutRecord(tt.rec, false)
		tt.wantState("pinned again", peerA, Unknown, queued)
	})
}

func TestTracker_NewPinIsQueuedAndNotLost(t *testing.T) {
	tt := newTrackerTest(t)
	tt.rewrite(0)
	// The state has the record and the tracker has not seen it yet.
	tt.observe(peerA, api.TrackerStatusUnexpectedlyUnpinned, "x", 0)
	tt.wantState("at first", peerA, Queued, queued)
	tt.clock.advance(time.Minute)
	tt.observe(peerA, api.TrackerStatusUnexpectedlyUnpinned, "x", 0)
	tt.wantState("much later", peerA, Lost, pinning)
}

func TestTracker_FailedAfterMaxAttempts(t *testing.T) {
	tt := newTrackerTest(t)
	tt.failures.backoff.Jitter = 0
	tt.allocate(1, peerA)
	for attempt, want := range []string{
		"merkledag: not found, attempt 1 of 3; next attempt in 10s",
		"merkledag: not found, attempt 2 of 3; next attempt in 20s",
	} {
		tt.observe(peerA, api.TrackerStatusPinError, textRefused, attempt+1)
		tt.observe(peerA, api.TrackerStatusPinError, textRefused, attempt+1) // Two reports, one attempt.
		tt.wantState(want, peerA, Retrying, pinning)
		tt.wantDetails("between two attempts", want)
		tt.observe(peerA, api.TrackerStatusPinning, "", attempt+1)
		tt.wantState("the next attempt is in progress", peerA, Retrying, pinning)
	}
	tt.observe(peerA, api.TrackerStatusPinError, textRefused, 3)
	tt.wantState("the last", peerA, Failed, failed)
	tt.wantDetails("the last", "merkledag: not found, attempt 3 of 3")
	// The cluster itself queues what is in error every 12 minutes.
	for range 3 {
		for _, status := range []api.TrackerStatus{api.TrackerStatusPinQueued, api.TrackerStatusPinning} {
			tt.observe(peerA, status, "", 4)
			tt.wantState(status.String(), peerA, Failed, failed)
		}
		tt.observe(peerA, api.TrackerStatusPinError, textRefused, 4)
		tt.wantState("once more", peerA, Failed, failed)
	}
	tt.wantDetails("once more", "merkledag: not found, attempt 4 of 4")
	tt.rewrite(time.Minute)
	tt.wantState("written again", peerA, Queued, queued)
	tt.wantDetails("written again", "")
	tt.observe(peerA, api.TrackerStatusPinError, textRefused, 5) // The tracker goes on counting.
	tt.wantState("the first attempt for the new record", peerA, Retrying, pinning)
	tt.observe(peerA, api.TrackerStatusPinned, "", 6)
	tt.wantState("a success", peerA, Pinned, pinned)
	tt.observe(peerA, api.TrackerStatusPinError, textRefused, 1)
	tt.wantState("and the count begins anew", peerA, Retrying, pinning)
}

// Under batching, and at other peers, a re-add reaches the tracker late.
func TestTracker_FailureFromBeforeAReAddDoesNotCount(t *testing.T) {
	tt := newTrackerTest(t)
	tt.cfg.MaxAttempts = 1
	tt.allocate(1, peerA)
	tt.observe(peerA, api.TrackerStatusPinError, textRefused, 2)
	tt.wantState("failed", peerA, Failed, failed)
	old := Report{Status: api.TrackerStatusPinError, Error: textRefused, Attempts: 2, RecordTime: tt.rec.Timestamp.Unix()}
	for _, later := range []time.Duration{0, time.Minute} { // Also within one second.
		tt.rewrite(later)
		tt.Observe(peerA, tt.key, old)
		tt.wantState("the earlier failure", peerA, Queued, queued)
	}
	tt.observe(peerA, api.TrackerStatusPinError, textRefused, 3)
	tt.wantState("a new one", peerA, Failed, failed)
}

// C12: a user re-adds a failed pin through a peer whose clock is five minutes
// behind that of the peer that made it. The record has an earlier time then.
func TestTracker_ReAddWithAnEarlierTimestampStartsTheAttemptsAnew(t *testing.T) {
	tt := newTrackerTest(t)
	tt.allocate(1, peerA)
	for attempt := range 3 {
		tt.observe(peerA, api.TrackerStatusPinError, textRefused, attempt+1)
	}
	tt.wantState("failed", peerA, Failed, failed)
	old := Report{Status: api.TrackerStatusPinError, Error: textRefused, Attempts: 3, RecordTime: tt.rec.Timestamp.Unix()}

	tt.rec.Timestamp = tt.rec.Timestamp.Add(-5 * time.Minute)
	tt.PutRecord(tt.rec, false) // The syncer cannot know that it was written again.
	tt.wantState("re-added", peerA, Queued, queued)
	tt.wantDetails("re-added", "")
	tt.Observe(peerA, tt.key, old)
	tt.wantState("the tracker has not seen the new record", peerA, Queued, queued)
	tt.observe(peerA, api.TrackerStatusPinError, textRefused, 4)
	tt.wantState("the first attempt for it", peerA, Retrying, pinning)

	tt.PutRecord(tt.rec, false)
	tt.wantState("the same record again", peerA, Retrying, pinning)
}

// The same record with an earlier time is no loss of a confirmation either.
func TestTracker_EarlierTimestampKeepsAConfirmation(t *testing.T) {
	tt := newTrackerTest(t)
	tt.rewrite(10 * time.Minute)
	tt.observe(peerA, api.TrackerStatusPinned, "", 0)
	tt.clock.advance(time.Minute)
	tt.rec.Timestamp = tt.rec.Timestamp.Add(-5 * time.Minute)
	tt.PutRecord(tt.rec, false)
	tt.wantState("written again", peerA, Rewritten, pinned)
	tt.observe(peerA, api.TrackerStatusPinQueued, "", 0)
	tt.wantState("queued for it", peerA, Rewritten, pinned)
}

func TestTracker_AttemptsWithoutAnIPFSNodeDoNotCount(t *testing.T) {
	tt := newTrackerTest(t)
	tt.allocate(1, peerA)
	for n := range 5 {
		tt.observe(peerA, api.TrackerStatusPinError, textUnavailable, n+1)
		tt.wantState("the IPFS node is unavailable", peerA, Waiting, queued)
	}
	for range 5 {
		tt.observe(peerA, api.TrackerStatusPinError, textStalled, 0)
		tt.wantState("the check was cancelled", peerA, Waiting, queued)
	}
	tt.observe(peerA, api.TrackerStatusPinError, textRefused, 6)
	tt.wantState("the first real failure", peerA, Retrying, pinning)
}

func TestTracker_LostMetadataKeepTheCreationTime(t *testing.T) {
	tt := newTrackerTest(t)
	tt.observe(peerA, api.TrackerStatusPinned, "", 0)
	created, _ := pinrecord.CreatedOf(tt.rec)
	tt.rec.Metadata, tt.rec.Name = map[string]string{"of": "ctl"}, "changed"
	tt.rewrite(time.Minute)
	p := tt.pin()
	if !p.Created.Equal(created) || !p.Stamped || p.Name != "changed" || p.Meta["of"] != "ctl" {
		t.Errorf("%+v, want it created %v", p, created)
	}
	tt.wantState("metadata lost", peerA, Rewritten, pinned)
	if len(tt.metadataLost) != 1 || tt.metadataLost[0] != tt.key {
		t.Errorf("pins to be repaired: %v", tt.metadataLost)
	}
}

// lostText and missingText are what users read of content that is not there.
const (
	lostText    = "the IPFS node of a peer lost the content; it is being fetched again"
	missingText = "the IPFS node of a peer does not have the content yet; it is being fetched"
)

func TestTracker_LostIsSaidOnlyOfConfirmedContent(t *testing.T) {
	lose := func(tt *trackerTest) { tt.observe(peerA, api.TrackerStatusUnexpectedlyUnpinned, "x", 0) }
	t.Run("never confirmed", func(t *testing.T) {
		tt := newTrackerTest(t)
		lose(tt)
		tt.wantState("no operation of the tracker", peerA, Lost, pinning)
		tt.wantDetails("no operation of the tracker", missingText)
	})
	t.Run("waiting for the IPFS node", func(t *testing.T) {
		tt := newTrackerTest(t)
		tt.observe(peerA, api.TrackerStatusPinError, textUnavailable, 1)
		lose(tt)
		tt.wantDetails("it is back", missingText)
	})
	t.Run("confirmed", func(t *testing.T) {
		tt := newTrackerTest(t)
		tt.observe(peerA, api.TrackerStatusPinned, "", 0)
		lose(tt)
		tt.wantDetails("lost", lostText)
		lose(tt)
		tt.wantDetails("reported twice", lostText)
	})
	t.Run("confirmed for an earlier record", func(t *testing.T) {
		tt := newTrackerTest(t)
		tt.observe(peerA, api.TrackerStatusPinned, "", 0)
		tt.rewrite(time.Minute)
		lose(tt)
		tt.wantDetails("lost", lostText)
	})
	t.Run("confirmed, then fetched again", func(t *testing.T) {
		tt := newTrackerTest(t)
		tt.observe(peerA, api.TrackerStatusPinned, "", 0)
		tt.observe(peerA, api.TrackerStatusPinning, "", 1)
		tt.wantDetails("lost", lostText)
	})
	t.Run("confirmed, then unavailable", func(t *testing.T) {
		tt := newTrackerTest(t)
		tt.observe(peerA, api.TrackerStatusPinned, "", 0)
		tt.observe(peerA, api.TrackerStatusPinError, textUnavailable, 1)
		lose(tt)
		tt.wantState("lost", peerA, Lost, pinning)
		tt.wantDetails("lost", lostText)
	})
	t.Run("no attempt had it", func(t *testing.T) {
		tt := newTrackerTest(t)
		tt.allocate(1, peerA)
		tt.clock.advance(time.Minute)
		for attempt, want := range []State{Retrying, Retrying, Failed} {
			tt.observe(peerA, api.TrackerStatusPinError, textRefused, attempt+1)
			details, _ := tt.Details(tt.key, pinning)
			lose(tt)
			tt.wantState("the operation is gone", peerA, want, tt.pin().Status)
			tt.wantDetails("the operation is gone", details)
		}
	})
}

// A record of another tool may pin the root alone. A service that is asked for
// the same CID makes it recursive: the children are not confirmed.
func TestTracker_DirectPinThatBecomesRecursiveIsUnconfirmed(t *testing.T) {
	direct := func(t *testing.T) *trackerTest {
		tt := newTrackerTest(t)
		tt.rec.Mode, tt.rec.MaxDepth = api.PinModeDirect, 0
		tt.allocate(1, peerA)
		tt.clock.advance(time.Minute)
		tt.observe(peerA, api.TrackerStatusPinned, "", 0)
		tt.wantState("direct", peerA, Pinned, pinned)
		if !tt.pin().Direct {
			t.Error("the row does not say that it is direct")
		}
		return tt
	}
	recursive := func(tt *trackerTest) {
		tt.rec = pinrecord.WithRequest(tt.rec, pinsvc.Pin{CID: tt.key, Name: "recursive"})
		tt.rewrite(time.Minute)
	}
	t.Run("unconfirmed", func(t *testing.T) {
		tt := direct(t)
		recursive(tt)
		tt.wantState("recursive", peerA, Unknown, queued)
		tt.observe(peerA, api.TrackerStatusPinning, "", 1)
		tt.wantState("the children are fetched", peerA, Pinning, pinning)
		tt.observe(peerA, api.TrackerStatusPinned, "", 1)
		tt.wantState("all of it", peerA, Pinned, pinned)
		if tt.pin().Direct {
			t.Error("the row says that it is direct")
		}
	})
	t.Run("failures of before are dropped", func(t *testing.T) {
		tt := direct(t)
		tt.observe(peerA, api.TrackerStatusUnexpectedlyUnpinned, "x", 0)
		recursive(tt)
		if tt.FailurePins() != 0 {
			t.Error("the failure of the direct pin is kept")
		}
	})
	t.Run("a report on the direct pin confirms nothing", func(t *testing.T) {
		tt := direct(t)
		old := Report{Status: api.TrackerStatusPinned, RecordTime: tt.rec.Timestamp.Unix()}
		recursive(tt)
		tt.Observe(peerA, tt.key, old)
		if tt.pin().Status == pinned {
			t.Error("pinned by a tracker that has not seen the recursive record")
		}
	})
	t.Run("the other way round a confirmation stays", func(t *testing.T) {
		tt := newTrackerTest(t)
		tt.observe(peerA, api.TrackerStatusPinned, "", 0)
		tt.rec.Mode, tt.rec.MaxDepth = api.PinModeDirect, 0
		tt.rewrite(time.Minute)
		tt.wantState("direct now", peerA, Rewritten, pinned)
	})
}

func TestTracker_RecordsMoveTheClock(t *testing.T) {
	tt := newTrackerTest(t)
	ahead := tt.clock.now().Add(time.Hour)
	pinrecord.Stamp(tt.rec, ahead)
	tt.PutRecord(tt.rec, false)
	if next := tt.cfg.Clock.Next(); !next.After(ahead) {
		t.Errorf("the next pin is created %v, want it after %v", next, ahead)
	}
}

func TestTracker_RowOfARecord(t *testing.T) {
	tt := newTrackerTest(t)
	tt.rec.ExpireAt = tt.clock.now().Add(time.Hour)
	row := tt.Row(tt.rec)
	if row.CID != tt.key || row.Name != "as requested" || row.Meta != nil || row.Direct || !row.Stamped || row.AskedOtherForm {
		t.Errorf("%+v", row)
	}
	if int64(row.Written) != tt.rec.Timestamp.Unix() || int64(row.ExpiresAt) != tt.rec.ExpireAt.Unix() {
		t.Errorf("written %d, expires %d", row.Written, row.ExpiresAt)
	}
	if row.Status != queued || row.Vector != 0 {
		t.Errorf("%s, vector %d, without any report", row.Status, row.Vector)
	}
	for at, want := range map[time.Time]uint32{
		{}:                                  0,
		time.Unix(-5, 0):                    1, // It expired long ago, and 0 is never.
		time.Unix(1<<40, 0):                 1<<32 - 1,
		time.Unix(1_900_000_000, 5_000_000): 1_900_000_000,
	} {
		tt.rec.ExpireAt = at
		if got := tt.Row(tt.rec).ExpiresAt; got != want {
			t.Errorf("expiry %v is kept as %d, want %d", at, got, want)
		}
	}
}

func TestTracker_DeletedRecordLeavesNothing(t *testing.T) {
	tt := newTrackerTest(t)
	tt.observe(peerA, api.TrackerStatusPinError, textRefused, 1)
	tt.DeleteRecord(tt.key)
	if _, ok := tt.view.Get(tt.key); ok || tt.FailurePins() != 0 {
		t.Errorf("in the view: %t, %d failures", ok, tt.FailurePins())
	}
	tt.observe(peerA, api.TrackerStatusPinError, textRefused, 2)
	if tt.FailurePins() != 0 {
		t.Error("a report on a removed pin is kept")
	}
}

// A sharded root has one state: that of its shards together. Reports of peers on
// the root itself do not count.
func TestTracker_ObserveRoot(t *testing.T) {
	tt := newTrackerTest(t)
	tt.DeleteRecord(tt.key)
	tt.rec.Type = api.MetaType
	tt.everywhere()
	if !tt.AnySharded() || !tt.Sharded(tt.pin().Placement) {
		t.Error("the root is not known to be sharded")
	}
	tt.observe(peerA, api.TrackerStatusPinned, "", 0)
	if got := tt.pin().Status; got != queued {
		t.Errorf("%s by a report on the root", got)
	}
	for _, want := range []pinsvc.Status{pinning, failed, pinned, queued} {
		tt.ObserveRoot(tt.key, want, "shard 3: "+textRefused)
		if got := tt.pin().Status; got != want {
			t.Errorf("the shards are %s, the root is %s", want, got)
		}
		details := ""
		if want == failed {
			details = "shard 3: " + textRefused
		}
		tt.wantDetails(want.String(), details)
		if m, _ := tt.view.Lookup(tt.key); !tt.Observed(m.Placement, m.Vector) {
			t.Errorf("%s is not observed", want)
		}
	}
	plain := newTrackerTest(t)
	plain.ObserveRoot(plain.key, failed, "x")
	plain.wantState("no root", peerA, Unknown, queued)
}
