package poll

import (
	"context"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
)

// confirm is ConfirmOwn, from its begin to its end.
func (f fixture) confirm() {
	f.t.Helper()
	if err := f.ConfirmOwn(f.t.Context())(); err != nil {
		f.t.Error(err)
	}
}

// What a start enters is what a scan enters, whatever the tracker reports, and whether few
// pins or many are missing.
func TestConfirmOwn_EntersWhatAScanEnters(t *testing.T) {
	reports := []api.TrackerStatus{
		api.TrackerStatusPinned, api.TrackerStatusUnexpectedlyUnpinned, api.TrackerStatusPinning,
		api.TrackerStatusPinQueued, api.TrackerStatusPinError, api.TrackerStatusUnpinning,
		api.TrackerStatusUnpinQueued, api.TrackerStatusUnpinError,
	}
	for _, lost := range []int{0, maxAsked + 1} {
		start, scan := newFixture(t), newFixture(t)
		for _, f := range []fixture{start, scan} {
			n := 0
			for _, status := range reports {
				f.pin(n, status)
				f.pin(n+1, status, other)
				f.pin(n+2, status, self, other)
				n += 3
			}
			for range lost {
				f.pin(n, api.TrackerStatusUnexpectedlyUnpinned)
				n++
			}
		}
		start.confirm()
		if err := scan.Scan(t.Context(), self); err != nil {
			t.Fatal(err)
		}
		for n := range 3*len(reports) + lost {
			got, _ := start.cfg.Tracker.PeerState(mutableOf(start.row(n)), self)
			want, _ := scan.cfg.Tracker.PeerState(mutableOf(scan.row(n)), self)
			if got != want || start.row(n).Status != scan.row(n).Status {
				t.Errorf("pin %d is %s, %s at this peer; a scan enters %s, %s", n, start.row(n).Status, got, scan.row(n).Status, want)
			}
		}
		if a, b := start.Stats()[self].Scanned, scan.Stats()[self].Scanned; !a.Equal(b) || a.IsZero() {
			t.Errorf("scanned at %s and %s", a, b)
		}
	}
}

// The tracker reads the whole state for a report on all pins, and is not asked for it.
func TestConfirmOwn_AsksTheTrackerForOperationsOnly(t *testing.T) {
	f := newFixture(t)
	f.pin(1, api.TrackerStatusPinned)
	f.pin(2, api.TrackerStatusPinning)
	f.pin(3, api.TrackerStatusUnexpectedlyUnpinned)
	f.confirm()
	if all, one := f.fake.Called("PinTracker.StatusAll"), f.fake.Called("PinTracker.Status"); all != 1 || one != 1 {
		t.Errorf("asked for many pins %d times and for one %d times", all, one)
	}
}

// The node still has the pin that its tracker fetches anew or has given up.
func TestConfirmOwn_OperationsCountMoreThanTheNode(t *testing.T) {
	f := newFixture(t)
	rec := f.pin(1, api.TrackerStatusPinned)
	node := &nodePins{began: f.clock.Now(), pinned: []uint64{f.confirmed.hash(rec.Cid.Cid)}}
	f.report(1, api.TrackerStatusPinning)
	if err := f.confirmFrom(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	f.want(1, pinning)
}

// A pin that was completed after the node's pins were read is not lost.
func TestConfirmOwn_FindsWhatWasPinnedMeanwhile(t *testing.T) {
	f := newFixture(t)
	f.pin(1, api.TrackerStatusPinned)
	if err := f.confirmFrom(t.Context(), &nodePins{began: f.clock.Now()}); err != nil {
		t.Fatal(err)
	}
	f.want(1, pinned)
	if retries := f.cfg.Tracker.DueRetries(10); len(retries) > 0 {
		t.Errorf("retries %+v", retries)
	}
}

func TestConfirmOwn_AsksTheTrackerWhenTheNodeCannotBeRead(t *testing.T) {
	for _, where := range []string{"", " at the end"} {
		f := newFixture(t)
		f.pin(1, api.TrackerStatusPinned)
		f.fake.Fail("IPFSConnector.PinLs"+where, errBroken)
		f.confirm()
		f.want(1, pinned)
	}
}

func TestConfirmOwn_AssumesNothing(t *testing.T) {
	f := newFixture(t)
	f.pin(1, api.TrackerStatusPinned)
	f.fake.Fail("PinTracker.StatusAll", errBroken)
	if err := f.ConfirmOwn(t.Context())(); err == nil {
		t.Error("no error")
	}
	f.want(1, queued)
}

// What a start confirmed need not be asked for again, as after a scan.
func TestConfirmOwn_ConfirmationsCount(t *testing.T) {
	f := newFixture(t)
	f.cfg.MaxAge = time.Minute
	f.pin(1, api.TrackerStatusPinned)
	f.confirm()
	if !f.Confirmed(f.row(1)) {
		t.Error("it is not confirmed")
	}
	if st, _ := f.cfg.Tracker.PeerState(mutableOf(f.row(1)), self); st != peerstatus.Pinned {
		t.Errorf("this peer is %s", st)
	}
}

func mutableOf(row pinset.Pin) pinset.Mutable {
	return pinset.Mutable{Placement: row.Placement, Vector: row.Vector}
}

// rootOnly is a client whose IPFS node has a direct pin of one CID, and no others.
type rootOnly struct {
	Client
	pin api.Cid
}

func (c rootOnly) NodePins(_ context.Context, each func(api.IPFSPinInfo) error) error {
	return each(api.IPFSPinInfo{Cid: c.pin, Type: api.IPFSPinStatusDirect})
}

// A direct pin in the IPFS node is the root alone, whoever made it: it does not confirm a recursive pin.
func TestConfirmOwn_ADirectPinConfirmsNoRecursiveOne(t *testing.T) {
	f := newFixture(t)
	rec := f.pin(1, api.TrackerStatusUnexpectedlyUnpinned)
	f.cfg.Client = rootOnly{f.cfg.Client, rec.Cid}
	f.confirm()
	if status := f.row(1).Status; status == pinned {
		t.Errorf("it is %s", status)
	}
}
