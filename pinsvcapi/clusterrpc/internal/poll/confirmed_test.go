package poll

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

const maxAge = 10 * time.Second

// confirming is a poller that keeps confirmations, with n pinned pins of this peer.
func confirming(t *testing.T, n int, holders ...peer.ID) fixture {
	f := newFixture(t)
	f.cfg.MaxAge = maxAge
	for i := range n {
		f.pin(i, api.TrackerStatusPinned, holders...)
	}
	return f
}

// confirmed is what GET does.
func (f fixture) isConfirmed(n int) bool {
	f.t.Helper()
	row, ok := f.cfg.View.Get(pinsvctest.RawCID(n))
	if !ok {
		f.t.Fatalf("there is no pin %d", n)
	}
	return f.Confirmed(row)
}

func (f fixture) scanned(id peer.ID) {
	f.t.Helper()
	if err := f.Scan(f.t.Context(), id); err != nil {
		f.t.Fatal(err)
	}
}

func TestConfirmed_ByAQuestionAboutThePin(t *testing.T) {
	f := confirming(t, 2)
	if f.isConfirmed(0) {
		t.Error("confirmed before any report")
	}
	f.pinAt(t.Context(), self, api.NewCid(pinsvctest.RawCID(0)))
	f.clock.Advance(maxAge - 1)
	if !f.isConfirmed(0) || f.isConfirmed(1) {
		t.Errorf("%t, another %t", f.isConfirmed(0), f.isConfirmed(1))
	}
	f.clock.Advance(1)
	if f.isConfirmed(0) {
		t.Error("confirmed for ever")
	}
	f.clock.Advance(-time.Hour)
	if f.isConfirmed(0) {
		t.Error("confirmed in the future")
	}
}

// As many holders have to confirm a pin as make it pinned.
func TestConfirmed_ByAsManyHoldersAsAreRequired(t *testing.T) {
	f := confirming(t, 1, self, other)
	f.scanned(self)
	f.scanned(other)
	f.want(0, pinned)
	if !f.isConfirmed(0) {
		t.Error("not confirmed by both")
	}
	f.clock.Advance(maxAge)
	f.pinAt(t.Context(), self, api.NewCid(pinsvctest.RawCID(0)))
	if f.isConfirmed(0) {
		t.Error("confirmed by one of two")
	}
	f.pinAt(t.Context(), other, api.NewCid(pinsvctest.RawCID(0)))
	if !f.isConfirmed(0) {
		t.Error("not confirmed by both")
	}
}

// While a holder has never confirmed a pin, GET asks, so that it shows how many do hold it.
func TestConfirmed_NotWhileAHolderHasNotReported(t *testing.T) {
	f := confirming(t, 1, self, other)
	rec, _ := f.fake.Record(pinsvctest.RawCID(0))
	rec.ReplicationFactorMin = 1
	f.cfg.Tracker.PutRecord(rec, false)
	f.scanned(self)
	f.want(0, pinned)
	if f.isConfirmed(0) {
		t.Error("confirmed although the other holder has not reported")
	}
	f.scanned(other)
	if !f.isConfirmed(0) {
		t.Error("not confirmed")
	}
}

// A scan confirms what it reported as pinned, from when it began, and nothing else.
func TestConfirmed_ByAScan(t *testing.T) {
	f := confirming(t, 3)
	f.scanned(self)
	if !f.isConfirmed(0) || !f.isConfirmed(1) {
		t.Error("not confirmed")
	}
	f.clock.Advance(maxAge / 2)
	f.report(1, api.TrackerStatusUnexpectedlyUnpinned)
	f.fake.Set(func() { delete(f.fake.Reports, pinsvctest.RawCID(2)) }) // The peer does not know it any more.
	f.scanned(self)
	f.clock.Advance(maxAge - time.Second)
	if !f.isConfirmed(0) || f.isConfirmed(1) || f.isConfirmed(2) {
		t.Errorf("%t, %t, %t", f.isConfirmed(0), f.isConfirmed(1), f.isConfirmed(2))
	}
	f.clock.Advance(time.Second)
	if f.isConfirmed(0) {
		t.Error("confirmed for ever")
	}
}

// A record that was written again is confirmed only by what is reported on it since.
func TestConfirmed_NotARewrittenRecord(t *testing.T) {
	f := confirming(t, 1)
	f.scanned(self)
	rec, _ := f.fake.Record(pinsvctest.RawCID(0))
	f.cfg.Tracker.PutRecord(rec, true)
	row, _ := f.cfg.View.Get(rec.Cid.Cid)
	if st, _ := f.cfg.Tracker.PeerState(pinset.Mutable{Placement: row.Placement, Vector: row.Vector}, self); st != peerstatus.Rewritten || f.isConfirmed(0) {
		t.Errorf("%s, confirmed %t", st, f.isConfirmed(0))
	}
}

func scansOf(f fixture) int { return f.fake.Called("PinTracker.StatusAll") }

// Clients that read many different pins cause scans, one in MaxAge; few do not, nor does one
// pin that is read often, nor a scan that would take too long.
func TestConfirmed_ScansWhenQuestionsWouldCostMore(t *testing.T) {
	for name, tt := range map[string]struct {
		pins, distinct int
		took           time.Duration // of the scan before
		want           bool
	}{
		"many pins":                 {pins: 300, distinct: 300, want: true},
		"few pins":                  {pins: 300, distinct: scanShare - 1},
		"one pin":                   {pins: 300, distinct: 1},
		"few of very many":          {pins: 4000, distinct: 4000/scanShare - 1},
		"scans that take too long":  {pins: 300, distinct: 300, took: maxAge/scanTime + 1},
		"scans that are just short": {pins: 300, distinct: 300, took: maxAge / scanTime, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := confirming(t, tt.pins)
				f.scanned(self)
				f.scans.mu.Lock()
				last := f.scans.last[self]
				last.took = tt.took
				f.scans.last[self] = last
				f.scans.mu.Unlock()
				f.clock.Advance(time.Minute)
				before := scansOf(f)
				for range 3 {
					for i := range 1000 {
						f.isConfirmed(i % tt.distinct)
					}
					synctest.Wait()
					f.clock.Advance(maxAge)
				}
				if got := scansOf(f) - before; (got > 0) != tt.want || got > 6 {
					t.Errorf("scanned %d times", got)
				}
			})
		})
	}
}

// A peer that does not respond keeps no request waiting, and is scanned by one at a time.
func TestConfirmed_WaitsForNoScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := confirming(t, 300, other)
		f.scanned(other)
		f.clock.Advance(time.Minute)
		before := scansOf(f)
		release := f.fake.Hang("PinTracker.StatusAll")
		began := time.Now()
		for i := range 1000 {
			f.isConfirmed(i % 300)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %s", took)
		}
		synctest.Wait()
		if n := scansOf(f) - before; n != 1 {
			t.Errorf("asked %d times at once", n)
		}
		release()
		synctest.Wait()
	})
}
