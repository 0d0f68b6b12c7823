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
