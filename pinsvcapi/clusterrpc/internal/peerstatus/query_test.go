package peerstatus

import (
	"slices"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func TestTracker_DetailsOfTheWorstPeer(t *testing.T) {
	tt := newTrackerTest(t)
	tt.allocate(3, peerA, peerB, peerC)
	tt.clock.advance(time.Minute)
	tt.observe(peerA, api.TrackerStatusUnexpectedlyUnpinned, "x", 0)
	tt.wantDetails("one does not have it", missingText)
	tt.observe(peerB, api.TrackerStatusPinError, textUnavailable, 1)
	tt.wantDetails("one is unavailable", "waiting for the IPFS node of a peer: it is unavailable")
	tt.observe(peerC, api.TrackerStatusPinError, textRefused, 3)
	tt.wantDetails("one failed", "merkledag: not found, attempt 3 of 3")
	if _, attempts := tt.Details(tt.key, failed); attempts != 3 {
		t.Errorf("%d attempts", attempts)
	}
	tt.observe(peerC, api.TrackerStatusPinned, "", 4)
	tt.wantDetails("it has succeeded", "waiting for the IPFS node of a peer: it is unavailable")
}

// A pinned pin has no text, but users see that a peer has trouble.
func TestTracker_DetailsOfAPinnedPinAreTheAttemptsAlone(t *testing.T) {
	tt := newTrackerTest(t)
	tt.observe(peerA, api.TrackerStatusPinned, "", 0)
	tt.observe(peerB, api.TrackerStatusPinError, textRefused, 2)
	if text, attempts := tt.Details(tt.key, tt.pin().Status); text != "" || attempts != 2 {
		t.Errorf("details %q, %d attempts", text, attempts)
	}
	if text, attempts := tt.Details(pinsvctest.RawCID(99), queued); text != "" || attempts != 0 {
		t.Errorf("details %q, %d attempts of no pin", text, attempts)
	}
}

// wantDelay fails the test unless a delay is that of the policy, minus at most
// the jitter of a tenth.
func wantDelay(t *testing.T, what string, got, policy time.Duration) {
	t.Helper()
	if got > policy || got < policy-policy/10 {
		t.Errorf("%s: the next attempt comes after %s, want %s or up to a tenth less", what, got, policy)
	}
}

// delay is the time to the next retry of the pin at A.
func (tt *trackerTest) delay() time.Duration {
	tt.t.Helper()
	failures := tt.failures.of(tt.key)
	if len(failures) != 1 || failures[0].due.IsZero() {
		tt.t.Fatalf("no retry is planned: %+v", failures)
	}
	return failures[0].due.Sub(tt.clock.now())
}

func TestTracker_RetryDelays(t *testing.T) {
	for range 50 { // Chance decides.
		tt := newTrackerTest(t)
		tt.cfg.MaxAttempts = 20
		for attempt, policy := range map[int]time.Duration{1: 10 * time.Second, 2: 20 * time.Second, 3: 40 * time.Second, 9: maxRetryDelay, 19: maxRetryDelay} {
			tt.observe(peerA, api.TrackerStatusPinError, textRefused, attempt)
			wantDelay(t, "after a failed attempt", tt.delay(), policy)
		}

		tt = newTrackerTest(t)
		tt.observe(peerA, api.TrackerStatusPinError, textUnavailable, 7)
		wantDelay(t, "unavailable", tt.delay(), 10*time.Second)
		tt.observe(peerA, api.TrackerStatusPinError, textUnavailable, 8)
		wantDelay(t, "still unavailable", tt.delay(), 10*time.Second)

		tt = newTrackerTest(t)
		tt.observe(peerA, api.TrackerStatusUnexpectedlyUnpinned, "x", 0)
		if got := tt.delay(); got != 0 {
			t.Errorf("the retry of missing content is due in %s", got)
		}
	}
}

// What failed together is not retried together.
func TestTracker_RetryDelaysDiffer(t *testing.T) {
	seen := make(map[time.Duration]bool)
	for range 50 {
		tt := newTrackerTest(t)
		tt.observe(peerA, api.TrackerStatusPinError, textRefused, 1)
		seen[tt.delay()] = true
	}
	if len(seen) < 25 {
		t.Errorf("50 retries have %d delays", len(seen))
	}
}

func TestTracker_RetryIsDueOnce(t *testing.T) {
	tt := newTrackerTest(t)
	tt.observe(peerA, api.TrackerStatusPinError, textRefused, 1)
	delay := tt.delay()
	tt.clock.advance(delay - 1)
	if due := tt.DueRetries(10); len(due) != 0 {
		t.Errorf("%+v too early", due)
	}
	tt.clock.advance(1)
	for sent, policy := range []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second, 160 * time.Second, maxRetryDelay, maxRetryDelay} {
		due := tt.DueRetries(10)
		if len(due) != 1 || due[0].Peer != peerA || due[0].State != Retrying || due[0].Yielded {
			t.Fatalf("retry %d: %+v", sent, due)
		}
		tt.RetrySent(due[0])
		wantDelay(t, "after a retry was sent", tt.delay(), policy)
		if due := tt.DueRetries(10); len(due) != 0 {
			t.Fatalf("%+v was sent just now", due)
		}
		tt.clock.advance(tt.delay())
	}
	tt.observe(peerA, api.TrackerStatusPinned, "", 2)
	if due := tt.DueRetries(10); len(due) != 0 || tt.FailurePins() != 0 {
		t.Errorf("%+v after a success", due)
	}
}

func TestTracker_RetryDeferred(t *testing.T) {
	tt := newTrackerTest(t)
	tt.observe(peerA, api.TrackerStatusPinned, "", 0)
	tt.observe(peerA, api.TrackerStatusUnexpectedlyUnpinned, "x", 0)
	due := tt.DueRetries(10)
	if len(due) != 1 || due[0].Yielded || due[0].State != Lost {
		t.Fatalf("%+v", due)
	}
	tt.RetryDeferred(due[0], 7*time.Second)
	if got := tt.delay(); got != 7*time.Second {
		t.Errorf("deferred by %s", got)
	}
	tt.clock.advance(7 * time.Second)
	if due = tt.DueRetries(10); len(due) != 1 || !due[0].Yielded {
		t.Fatalf("the closer peers had their time: %+v", due)
	}
	tt.RetrySent(due[0]) // The delay of the first retry, not of a second.
	wantDelay(t, "sent after it was deferred", tt.delay(), 10*time.Second)
	tt.clock.advance(tt.delay())
	if due = tt.DueRetries(10); len(due) != 1 || due[0].Yielded {
		t.Errorf("closer peers have their time again after each retry: %+v", due)
	}
}

func TestTracker_DueRetriesAreLimited(t *testing.T) {
	tt := newTrackerTest(t)
	const pins, limit = 10, 3
	for i := range pins {
		rec := tt.rec
		rec.Cid, rec.Metadata = api.NewCid(pinsvctest.RawCID(100+i)), nil
		tt.PutRecord(rec, false)
		tt.Observe(peerA, rec.Cid.Cid, ReportOf(pinInfo(api.TrackerStatusUnexpectedlyUnpinned, "x")))
	}
	var keys []string
	for range pins {
		due := tt.DueRetries(limit)
		if len(due) == 0 {
			break
		}
		if len(due) > limit {
			t.Fatalf("%d retries", len(due))
		}
		for _, retry := range due {
			keys = append(keys, retry.Key.KeyString())
			tt.RetrySent(retry)
		}
	}
	slices.Sort(keys)
	if n := len(keys); n != pins || len(slices.Compact(keys)) != pins {
		t.Errorf("%d retries of %d pins", n, pins)
	}
}

// A retry that is due soon must not wait for one that is due late.
func TestTracker_EarlierRetryIsDueFirst(t *testing.T) {
	tt := newTrackerTest(t)
	tt.observe(peerA, api.TrackerStatusPinError, textRefused, 2)
	tt.DueRetries(10)
	tt.observe(peerB, api.TrackerStatusUnexpectedlyUnpinned, "x", 0)
	if due := tt.DueRetries(10); len(due) != 1 || due[0].Peer != peerB {
		t.Errorf("%+v, want the one at B", due)
	}
	tt.clock.advance(20 * time.Second)
	if due := tt.DueRetries(10); len(due) != 2 {
		t.Errorf("%+v, want both", due)
	}
}

// The IPFS node of a peer that is Pinned may be unavailable: it is asked to retry,
// in case the content was to be pinned for a new record.
func TestTracker_RetryOfAPinnedPeerIsOneOfWaiting(t *testing.T) {
	tt := newTrackerTest(t)
	tt.observe(peerA, api.TrackerStatusPinned, "", 0)
	tt.observe(peerA, api.TrackerStatusPinError, textUnavailable, 1)
	tt.clock.advance(10 * time.Second)
	due := tt.DueRetries(10)
	if len(due) != 1 || due[0].State != Waiting || due[0].Peer != peerA {
		t.Errorf("%+v", due)
	}
	tt.wantState("meanwhile", peerA, Pinned, pinned)
}

func TestTracker_DueRetriesDropWhatIsOver(t *testing.T) {
	tests := map[string]func(*trackerTest){
		"the pin was removed":           func(tt *trackerTest) { tt.view.Remove(tt.key) },
		"the peer should not hold it":   func(tt *trackerTest) { tt.allocate(1, peerB) },
		"the peer is no member":         func(tt *trackerTest) { tt.SetMembers([]peer.ID{peerB}) },
		"the record was written again":  func(tt *trackerTest) { tt.rewrite(0) },
		"the peer holds the pin":        func(tt *trackerTest) { tt.observe(peerA, api.TrackerStatusPinned, "", 1) },
		"the peer has begun to pin it":  func(tt *trackerTest) { tt.observe(peerA, api.TrackerStatusPinning, "", 1) },
		"the pin was removed and added": func(tt *trackerTest) { tt.DeleteRecord(tt.key); tt.PutRecord(tt.rec, false) },
	}
	for name, end := range tests {
		tt := newTrackerTest(t)
		tt.everywhere()
		tt.observe(peerA, api.TrackerStatusPinError, textUnavailable, 1)
		end(tt)
		tt.clock.advance(time.Hour)
		if due := tt.DueRetries(10); len(due) != 0 {
			t.Errorf("%s: %+v", name, due)
		}
		// In these cases the table keeps the number of attempts that do not count.
		count := []string{"the record was written again", "the peer should not hold it", "the peer has begun to pin it"}
		if !slices.Contains(count, name) && tt.FailurePins() != 0 {
			t.Errorf("%s: the failure is kept", name)
		}
	}
}
