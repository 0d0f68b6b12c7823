package peerstatus

import (
	"maps"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

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

// A record of another tool that is written again has another creation time (D2),
// and is a re-add all the same: trackers go on counting their attempts.
func TestTracker_ReAddByAnotherToolStartsTheAttemptsAnew(t *testing.T) {
	tt := newTrackerTest(t)
	tt.DeleteRecord(tt.key)
	tt.rec.Metadata = nil
	tt.allocate(1, peerA)
	fails(peerA, 1, 3)(tt)
	tt.wantState("failed", peerA, Failed, failed)
	tt.clock.advance(time.Minute)
	tt.rec.Timestamp = tt.clock.now()
	tt.PutRecord(tt.rec, false)
	tt.wantState("pinned again", peerA, Unknown, queued)
	tt.wantDetails("pinned again", "")
	tt.observe(peerA, api.TrackerStatusPinError, textRefused, 4)
	tt.wantState("the first attempt for it", peerA, Retrying, pinning)
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
	t.Run("failures of before do not count", func(t *testing.T) {
		tt := direct(t)
		tt.observe(peerA, api.TrackerStatusUnexpectedlyUnpinned, "x", 0)
		recursive(tt)
		tt.wantDetails("the loss of the direct pin", "")
		if due := tt.DueRetries(10); len(due) != 0 {
			t.Errorf("retries of the direct pin: %+v", due)
		}
	})
	t.Run("the attempts start anew", func(t *testing.T) {
		tt := direct(t)
		fails(peerA, 1, 3)(tt)
		tt.wantState("the direct pin", peerA, Failed, failed)
		recursive(tt)
		tt.observe(peerA, api.TrackerStatusPinError, textRefused, 4) // The tracker goes on counting.
		tt.wantState("the first attempt for all of it", peerA, Retrying, pinning)
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
	if row.CID != tt.key || row.Name != "as requested" || row.Meta != nil || row.Direct || !row.Stamped || row.OtherFormRequested {
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

// Another peer's re-add comes whose record has the same second as the one before: the pin failed at
// once (max_pin_attempts 1), or the clock of that peer is behind. It has another revision, so it is a
// request of its own, and nothing has failed since.
func TestTracker_AReAddOfTheSameSecondElsewhereEndsAFailure(t *testing.T) {
	tt := newTrackerTest(t)
	for _, p := range tt.rec.Allocations {
		tt.observe(p, api.TrackerStatusPinError, textRefused, 3)
	}
	if tt.pin().Status != failed {
		t.Fatalf("it is %s", tt.pin().Status)
	}
	tt.rec.Metadata = maps.Clone(tt.rec.Metadata)
	pinrecord.Revise(tt.rec, tt.clock.now().Add(time.Second))
	tt.PutRecord(tt.rec, false) // As an event has it read.
	if got := tt.pin().Status; got == failed {
		t.Errorf("after the re-add it is %s", got)
	}
}
