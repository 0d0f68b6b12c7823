package remoteread

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// After a restart nothing was seen to be removed, but the state knows.
func TestReader_AStateThatKnowsOfARemovalCountsMore(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		first, second := record(pinsvctest.RawCID(1), 100), record(pinsvctest.RawCID(1), 101)
		w.reader.cfg.Buried = func(_ context.Context, key api.Cid) ([]api.Pin, error) {
			if key.Equals(first.Cid) {
				return []api.Pin{second, first}, nil
			}
			return nil, nil
		}
		var have api.Pin
		w.pinGet = func(context.Context, peer.ID, api.Cid) (api.Pin, error) { return have, nil }
		for _, have = range []api.Pin{first, second} {
			isKind(t, "a removed record", w.reader.Await(t.Context(), "", have.Cid.Cid), pinsvc.KindNotFound)
			never := func() bool { return false }
			if _, rewritten, _ := w.reader.Rewritten(t.Context(), "", record(have.Cid.Cid, 50), never); rewritten {
				t.Error("a record that was removed here counts")
			}
		}
		have.Name = "written meanwhile" // In the same second, and not removed.
		if _, found, err := w.reader.Find(t.Context(), "", have.Cid.Cid); !found {
			t.Errorf("a record that was not removed: %v", err)
		}
		w.reader.cfg.Buried = func(context.Context, api.Cid) ([]api.Pin, error) { return nil, errors.New("closed") }
		if _, found, err := w.reader.Find(t.Context(), "", have.Cid.Cid); !found {
			t.Errorf("the state cannot be read: %v", err)
		}
	})
}

// A pin was renamed and then replaced, at a peer whose clock had been set back. Another peer had the
// record before both, with a time that seemed the newer one: a read at the first peer showed that.
func TestReader_ARecordBeforeAReplacedOneIsNoPin(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		before, replaced := record(pinsvctest.RawCID(1), 3700), record(pinsvctest.RawCID(1), 100)
		w.past = []api.Pin{before, replaced}
		w.setPinGet(func(context.Context, peer.ID, api.Cid) (api.Pin, error) { return before, nil })
		isKind(t, "the record before", w.reader.Await(t.Context(), "", before.Cid.Cid), pinsvc.KindNotFound)
		again := record(before.Cid.Cid, 50)
		w.setPinGet(func(context.Context, peer.ID, api.Cid) (api.Pin, error) { return again, nil })
		if _, found, err := w.reader.Find(t.Context(), "", again.Cid.Cid); !found {
			t.Errorf("one that never came to this peer: %v", err)
		}
		w.past = append(w.past, again) // It comes while the question is being answered.
		w.looks = func(cid.Cid) (api.Pin, bool) { return again, true }
		if got := w.reader.askPeer(t.Context(), far, again.Cid.Cid); !got.found {
			t.Errorf("one that this peer shows: %+v", got)
		}
	})
}

// Where there is a leader, nobody else's record or silence counts.
func TestReader_OnlyTheLeaderIsAsked(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		rec := record(pinsvctest.RawCID(1), 1)
		var leader peer.ID
		failure := error(nil)
		w.reader.cfg.Leader = func(context.Context) (peer.ID, error) { return leader, failure }
		w.pinGet = func(_ context.Context, p peer.ID, _ api.Cid) (api.Pin, error) {
			if p == far {
				return rec, nil
			}
			return api.Pin{}, state.ErrNotFound
		}
		find := func() (bool, error) {
			_, found, err := w.reader.Find(t.Context(), "", rec.Cid.Cid)
			return found, err
		}
		_, err := find()
		isKind(t, "no leader", err, pinsvc.KindUnavailable)
		leader = far
		if found, err := find(); !found {
			t.Errorf("the leader has it: %v", err)
		}
		for _, leader = range []peer.ID{near, self} {
			_, err := find()
			isKind(t, "the leader "+string(leader)+" does not have it", err, pinsvc.KindNotFound)
		}
		failure = errors.New("no leader")
		_, err = find()
		isKind(t, "an unknown leader", err, pinsvc.KindUnavailable)
	})
}

// A pin was removed here, and added again in the same second at a peer that had not heard of that: its
// record, which was accepted, is none that was removed. What is older than that still is.
func TestRemoved_AReAddOfTheSameSecondIsNot(t *testing.T) {
	start := time.UnixMilli(1_800_000_000_100)
	made := func(after time.Duration) api.Pin {
		c := pinsvctest.RawCID(1)
		rec := pinrecord.WithRequest(pinrecord.New(c), pinsvc.Pin{CID: c})
		rec.Timestamp = start.Add(after)
		pinrecord.Stamp(rec, start)
		if after > 0 {
			pinrecord.Revise(rec, rec.Timestamp)
		}
		return rec
	}
	first, second, again := made(0), made(200*time.Millisecond), made(400*time.Millisecond)
	later := made(time.Minute + 6*time.Second) // Its revision ends in the bits of a smaller one.
	r := NewRemoved()
	for _, rec := range []api.Pin{second, first} { // In whatever order this peer hears of the removals.
		r.Add(rowOf(rec))
	}
	for name, tt := range map[string]struct {
		rec     api.Pin
		removed bool
	}{"the removed one": {second, true}, "an older one": {first, true}, "added again": {again, false}, "added later": {later, false}} {
		if r.has(tt.rec) != tt.removed {
			t.Errorf("%s: removed %t", name, !tt.removed)
		}
	}
}
