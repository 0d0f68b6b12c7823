package statesync

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func key(n int) api.Cid { return api.NewCid(pinsvctest.RawCID(n)) }

func eventOf(rec api.Pin) Event {
	return Event{CID: rec.Cid.Cid, Written: rec.Timestamp, Form: pinrecord.Form(rec)}
}

func TestSyncer_EventsOfChangesByOthersReachTheSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := newState()
		s := running(t, state.syncer())
		rec := named(1, "theirs")
		state.set(func() { state.records[rec.Cid.Cid] = rec })
		s.Notify(eventOf(rec))
		synctest.Wait()
		if row, ok := state.row(1); !ok || row.Name != "theirs" {
			t.Errorf("row %+v, %t", row, ok)
		}
		state.set(func() { delete(state.records, rec.Cid.Cid) })
		s.Notify(Event{CID: rec.Cid.Cid, Removed: true})
		synctest.Wait()
		if n := state.len(); n != 0 {
			t.Errorf("%d rows after the removal", n)
		}
	})
}

// An event may come before its commit. Of two records of one second the form tells
// them apart.
func TestSyncer_AnEarlyEventIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := newState()
		s := running(t, state.syncer())
		for i, name := range []string{"first", "second", "third"} {
			rec := named(1, name)
			s.Notify(eventOf(rec))
			synctest.Wait()
			if row, ok := state.row(1); ok != (i > 0) || row.Name == name {
				t.Fatalf("before the commit of %q the row is %+v", name, row)
			}
			state.set(func() { state.records[rec.Cid.Cid] = rec })
			time.Sleep(rereadDelays[0])
			synctest.Wait()
			if row, ok := state.row(1); !ok || row.Name != name {
				t.Errorf("after the commit of %q the row is %+v", name, row)
			}
		}
	})
}

// A hook of a removal also comes when the pin of another peer survives.
func TestSyncer_AWrongEventOfARemovalRemovesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := newState(named(1, "kept"))
		s := running(t, state.syncer())
		s.Notify(Event{CID: pinsvctest.RawCID(1), Removed: true})
		time.Sleep(time.Minute)
		if n := state.reads(1); n != 1+len(rereadDelays) || state.len() != 1 {
			t.Errorf("%d rows after %d reads", state.len(), n)
		}
	})
}

func TestSyncer_TheStateIsResyncedWhenAnEventCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := newState(named(1, "theirs"))
		s := running(t, state.syncer())
		state.set(func() { state.err = errBroken })
		s.Notify(eventOf(named(1, "theirs")))
		time.Sleep(rereadDelays[len(rereadDelays)-1] + 10*time.Second)
		synctest.Wait()
		if !s.StateUnavailable() {
			t.Error("the state is taken to be available")
		}
		state.set(func() { state.err = nil })
		time.Sleep(2 * time.Minute)
		if _, ok := state.row(1); !ok {
			t.Error("the change is lost")
		}
	})
}

func TestSyncer_Get(t *testing.T) {
	shard := named(2, "shard")
	shard.Type = api.ShardType
	state := newState(named(1, "pin"), shard)
	s := state.syncer()
	if rec, found, err := s.Get(t.Context(), key(1)); err != nil || !found || rec.Name != "pin" {
		t.Errorf("%+v, %t, %v", rec, found, err)
	}
	if rec, found, err := s.Get(t.Context(), key(2)); err != nil || !found || rec.Name != "shard" {
		t.Errorf("%+v, %t, %v", rec, found, err)
	}
	if _, found, err := s.Get(t.Context(), key(3)); err != nil || found {
		t.Errorf("%t, %v", found, err)
	}
	if _, ok := state.row(1); !ok || state.len() != 1 {
		t.Errorf("%d rows, want the pin alone", state.len())
	}
	state.set(func() { state.err = errBroken })
	if _, _, err := s.Get(t.Context(), key(1)); pinsvc.KindOf(err) != pinsvc.KindUnavailable || !errors.Is(err, errBroken) || state.len() != 1 {
		t.Errorf("%v, %d rows", err, state.len())
	}
}

// C20: the lock of a key is held while the state is read. Who waits for it does not
// wait longer than its request lasts.
func TestSyncer_GetOfAKeyThatHangsEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := newState(named(1, "pin"))
		hang := make(chan struct{})
		state.set(func() { state.hang[pinsvctest.RawCID(1)] = hang })
		s := state.syncer()
		var first atomic.Bool
		go func() {
			if _, _, err := s.Get(t.Context(), key(1)); err != nil {
				t.Error(err)
			}
			first.Store(true)
		}()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, _, err := s.Get(ctx, key(1))
			ended <- err
		}()
		synctest.Wait()
		cancel()
		synctest.Wait()
		select {
		case err := <-ended:
			if pinsvc.KindOf(err) != pinsvc.KindUnavailable || !errors.Is(err, context.Canceled) {
				t.Errorf("it ended with %v", err)
			}
		default:
			t.Error("it waits on")
		}
		if first.Load() {
			t.Error("the first does not hang")
		}
		close(hang)
		synctest.Wait()
		if !first.Load() {
			t.Error("the first hangs for ever")
		}
	})
}

func TestSyncer_AHangingStateEndsAReadInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := newState(named(1, "pin"))
		state.set(func() { state.hang[pinsvctest.RawCID(1)] = make(chan struct{}) })
		s, began := state.syncer(), time.Now()
		_, _, err := s.Get(t.Context(), key(1))
		if took := time.Since(began); pinsvc.KindOf(err) != pinsvc.KindUnavailable || took != 10*time.Second {
			t.Errorf("after %s: %v", took, err)
		}
	})
}

func TestSyncer_WrittenIsSeenBeforeItsCommit(t *testing.T) {
	state := newState()
	s := state.syncer()
	after := version(named(1, "ours"))
	s.Written(t.Context(), write(1, Versioned{}, after))
	if row, ok := state.row(1); !ok || row.Name != "ours" || s.Uncommitted().Len() != 1 {
		t.Errorf("row %+v, %d uncommitted", row, s.Uncommitted().Len())
	}
	if rec, found, err := s.Get(t.Context(), key(1)); err != nil || !found || rec.Name != "ours" {
		t.Errorf("%+v, %t, %v", rec, found, err)
	}
	state.set(func() { state.records[after.Rec.Cid.Cid] = after.Rec })
	if _, _, err := s.Get(t.Context(), key(1)); err != nil || s.Uncommitted().Any() {
		t.Errorf("%v, %d uncommitted after the commit", err, s.Uncommitted().Len())
	}
}

// The write is done, whatever becomes of the request and of the state.
func TestSyncer_WrittenIsEnteredWithoutTheState(t *testing.T) {
	state := newState()
	state.err = errBroken
	s := state.syncer()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Written(ctx, write(1, Versioned{}, version(named(1, "ours"))))
	if row, ok := state.row(1); !ok || row.Name != "ours" {
		t.Errorf("row %+v, %t", row, ok)
	}
}

func TestShows(t *testing.T) {
	rec := named(1, "a")
	other, later := named(1, "b"), named(1, "c")
	later.Timestamp = rec.Timestamp.Add(time.Second)
	earlier := named(1, "d")
	earlier.Timestamp = rec.Timestamp.Add(-time.Second)
	written := eventOf(rec)
	unknownForm := Event{CID: rec.Cid.Cid, Written: rec.Timestamp}
	removed := Event{CID: rec.Cid.Cid, Removed: true}
	for _, tt := range []struct {
		name  string
		event Event
		now   Versioned
		want  bool
	}{
		{"the record", written, version(rec), true},
		{"another record of that second", written, version(other), false},
		{"a later record", written, version(later), true},
		{"an earlier record", written, version(earlier), false},
		{"none yet", written, Versioned{}, false},
		{"form unknown, of that second", unknownForm, version(other), true},
		{"form unknown, earlier", unknownForm, version(earlier), false},
		{"removed", removed, Versioned{}, true},
		{"not removed yet", removed, version(rec), false},
	} {
		if got := shows(tt.event, tt.now); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
}
