package peerstatus

import (
	"strings"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func TestFailures_AreBounded(t *testing.T) {
	table := newFailureTable((&fakeClock{}).now, time.Second)
	for i := range maxFailures + 10 {
		table.contentLost(pinsvctest.RawCID(i), 0, false)
	}
	if n := table.len(); n != maxFailures {
		t.Errorf("%d pins", n)
	}
	// Pins that are in the table have room for their other peers.
	table.contentLost(pinsvctest.RawCID(0), 1, false)
	if n := len(table.of(pinsvctest.RawCID(0))); n != 2 {
		t.Errorf("%d failures of a pin at two peers", n)
	}
}

// For pins that have no room in the table, the tracker's count decides.
func TestFailures_TrackersCountDecidesWithoutRoom(t *testing.T) {
	table := newFailureTable((&fakeClock{}).now, time.Second)
	for i := range maxFailures {
		table.contentLost(pinsvctest.RawCID(i), 0, false)
	}
	key := pinsvctest.RawCID(maxFailures)
	for attempt, want := range map[int]bool{1: false, 2: false, 3: true, 4: true} {
		r := Report{Status: api.TrackerStatusPinError, Error: textRefused, Attempts: attempt}
		if got := table.attemptFailed(key, 0, r, 3); got != want {
			t.Errorf("attempt %d of 3 is the last: %t", attempt, got)
		}
	}
	if table.len() != maxFailures || table.of(key) != nil {
		t.Error("the bound is passed")
	}
}

// One peer that holds the pin has no failure; those of the others stay.
func TestFailures_ResolvedByPeer(t *testing.T) {
	table := newFailureTable((&fakeClock{}).now, time.Second)
	key := pinsvctest.RawCID(1)
	table.contentLost(key, 0, true)
	table.contentLost(key, 1, true)
	table.resolved(key, 0)
	if left := table.of(key); len(left) != 1 || left[0].peer != 1 {
		t.Errorf("%+v are left", left)
	}
	table.resolved(key, 1)
	table.resolved(key, 1)
	if table.len() != 0 {
		t.Error("a pin without failures is kept")
	}
}

// A tracker that restarts counts its attempts from 1 again.
func TestFailures_TrackerThatCountsAnew(t *testing.T) {
	table := newFailureTable((&fakeClock{}).now, time.Second)
	key := pinsvctest.RawCID(1)
	attempt := func(n int) bool {
		return table.attemptFailed(key, 0, Report{Status: api.TrackerStatusPinError, Error: textRefused, Attempts: n}, 3)
	}
	attempt(5)
	table.restart(key) // The record was written again: five attempts do not count.
	if attempt(6) || attempt(7) {
		t.Error("failed before the third attempt for the record")
	}
	if attempt(1) || attempt(2) {
		t.Error("failed before the third attempt of the restarted tracker")
	}
	if !attempt(3) {
		t.Error("not failed after the third")
	}
}

// The texts of info.status_details: the cause in words of the field, and the
// configuration key.
func TestFailure_Texts(t *testing.T) {
	const pinError = api.TrackerStatusPinError
	long := strings.Repeat("ä", 1000)
	tests := []struct {
		name     string
		text     string
		attempts int
		want     string
	}{
		{"stalled", textStalled, 1, "no data for 2m0s (ipfs_connector.ipfshttp.pin_timeout), attempt 1 of 3; next attempt in 10s"},
		{"stalled for the last time", textStalled, 3, "no data for 2m0s (ipfs_connector.ipfshttp.pin_timeout), attempt 3 of 3"},
		{"refused", "IPFS error (pin/add?arg=x). Code: 500. Message: " + textRefused, 2, "merkledag: not found, attempt 2 of 3; next attempt in 20s"},
		{"no reason", "", 3, "failed for an unknown reason, attempt 3 of 3"},
		{"too long", long, 3, long[:256] + "…, attempt 3 of 3"},
		{"unavailable", textUnavailable, 1, "waiting for the IPFS node of a peer: it is unavailable"},
		{"no response", textTimedOut, 1, "waiting for the IPFS node of a peer: it did not respond in time"},
		{"queue full", textQueueFull, 1, "waiting for room in a peer's pin queue (pin_tracker.stateless.max_pin_queue_size)"},
	}
	for _, tt := range tests {
		test := newTrackerTest(t)
		test.failures.backoff.Jitter = 0
		test.observe(peerA, pinError, tt.text, tt.attempts)
		test.wantDetails(tt.name, tt.want)
		test.clock.advance(time.Hour) // The next attempt is due, or in progress.
		want, _, _ := strings.Cut(tt.want, "; next attempt")
		test.wantDetails(tt.name+", later", want)
	}
	unknown := failure{state: Retrying, cause: 0, reason: "", attempts: 1}
	if got := unknown.describe(time.Time{}, 3, 0); got != "failed for an unknown reason, attempt 1 of 3" {
		t.Errorf("without a reason: %q", got)
	}
	noTimeout := newTrackerTest(t)
	noTimeout.cfg.PinTimeout = 0
	noTimeout.observe(peerA, pinError, textStalled, 3)
	noTimeout.wantDetails("the time limit is not known", "no data within ipfs_connector.ipfshttp.pin_timeout, attempt 3 of 3")
}

func TestFailure_TextOfAnotherStateIsEmpty(t *testing.T) {
	for _, st := range []State{Unknown, Queued, Pinning, Pinned, Rewritten} {
		if got := (failure{state: st}).describe(time.Time{}, 3, 0); got != "" {
			t.Errorf("%s is described as %q", st, got)
		}
	}
}
