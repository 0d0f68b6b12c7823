package poll

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"
)

func TestRecord_EntersTheReportsOfAllHolders(t *testing.T) {
	f := newFixture(t)
	rec := f.pin(1, api.TrackerStatusPinned, self, other)
	f.Record(t.Context(), rec)
	f.want(1, pinned)
	if n := f.fake.Called("PinTracker.Status"); n != 2 {
		t.Errorf("%d calls", n)
	}
	everywhere := f.pin(2, api.TrackerStatusPinned)
	everywhere.Allocations, everywhere.ReplicationFactorMin, everywhere.ReplicationFactorMax = nil, -1, -1
	f.cfg.Tracker.PutRecord(everywhere, true)
	f.Record(t.Context(), everywhere)
	f.want(2, pinned)
}

// What was confirmed is not withdrawn because a peer does not respond, and it costs
// one timeout, not one for each request.
func TestRecord_AFrozenPeerCostsOneTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		rec := f.pin(1, api.TrackerStatusPinned, self, other)
		f.Record(t.Context(), rec)
		release := f.fake.Hang("PinTracker.Status")
		began := time.Now()
		f.Record(t.Context(), rec)
		if took := time.Since(began); took != f.cfg.StatusTimeout {
			t.Errorf("the first took %s", took)
		}
		calls := f.fake.Called("PinTracker.Status")
		for range 20 {
			f.Record(t.Context(), rec)
		}
		if n := f.fake.Called("PinTracker.Status") - calls; n != 20 { // This peer itself.
			t.Errorf("%d calls for 20 requests", n)
		}
		f.want(1, pinned)
		release()
	})
}

// A report that is too late for the request counts all the same.
func TestRecord_LateReportsAreEntered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		rec := f.pin(1, api.TrackerStatusPinned, self, other)
		release := f.fake.Hang("PinTracker.Status")
		go f.Record(t.Context(), rec)
		synctest.Wait()
		f.want(1, queued)
		release()
		synctest.Wait()
		f.want(1, pinned)
	})
}

func TestRow(t *testing.T) {
	f := newFixture(t)
	f.pin(1, api.TrackerStatusPinned)
	<-f.Row(t.Context(), f.row(1))
	f.want(1, pinned)
	root := f.pin(2, api.TrackerStatusPinned)
	root.Type = api.MetaType
	f.cfg.Tracker.PutRecord(root, true)
	if f.Row(t.Context(), f.row(2)) != nil {
		t.Error("a sharded root is polled without its record")
	}
	f.cfg.Tasks.Close()
	if f.Row(t.Context(), f.row(1)) != nil {
		t.Error("a closed group runs a poll")
	}
}

func TestPollTargets(t *testing.T) {
	f := newFixture(t)
	var many []peer.ID
	for n := range 20 {
		many = append(many, peer.ID(rune('a'+n)))
	}
	withSelf := append(slices.Clone(many[:5]), self)
	for _, tt := range []struct {
		name     string
		holders  []peer.ID
		required int
		want     []peer.ID
	}{
		{"one", []peer.ID{other}, 1, []peer.ID{other}},
		{"this peer first", withSelf, 2, append([]peer.ID{self}, many[:5]...)},
		{"not all of many", many, 3, many[:3+maxSpare]},
		{"all that are required", many, 20, many},
	} {
		if got := f.pollTargets(tt.holders, tt.required); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	if withSelf[5] != self {
		t.Error("the holders were changed")
	}
}
