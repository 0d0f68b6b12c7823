package statesync

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func TestResync_FindsWhatNoEventAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := newState(named(2, "new"), named(3, "new"))
		state.rows[pinsvctest.RawCID(1)] = named(1, "gone")
		running(t, state.syncer())
		time.Sleep(time.Hour)
		synctest.Wait()
		if _, gone := state.row(1); gone || state.len() != 2 || state.resyncs() != 1 || state.compacts != 1 {
			t.Errorf("%d rows after %d resyncs", state.len(), state.resyncs())
		}
	})
}

func TestResync_AStreamThatBreaksOffRemovesNothing(t *testing.T) {
	state := newState()
	for i := range 5 {
		state.rows[pinsvctest.RawCID(i)] = named(i, "row")
	}
	state.errAtEnd = errBroken
	s := state.syncer()
	if err := s.Resync(t.Context()); !errors.Is(err, errBroken) {
		t.Errorf("the resync ended with %v", err)
	}
	if stats := s.Stats().Resync; state.len() != 5 || stats.Failed != 1 || stats.Succeeded != 0 || !stats.Last.IsZero() {
		t.Errorf("%d rows are left; %+v", state.len(), stats)
	}
	// The next one does.
	state.errAtEnd = nil
	if err := s.Resync(t.Context()); err != nil || state.len() != 0 {
		t.Errorf("%v, %d rows are left", err, state.len())
	}
	if stats := s.Stats().Resync; stats.Succeeded != 1 || stats.Last.IsZero() {
		t.Errorf("%+v", stats)
	}
}

// Pins come and go while the state streams: a removal is believed only after a read.
func TestResync_APinThatCameWhileTheStateStreamedStays(t *testing.T) {
	state := newState(named(1, "old"))
	state.streamed = func(api.Pin) {
		state.set(func() {
			state.records[pinsvctest.RawCID(2)] = named(2, "new")
			state.rows[pinsvctest.RawCID(2)] = named(2, "new")
		})
	}
	if err := state.syncer().Resync(t.Context()); err != nil || state.len() != 2 || state.reads(2) != 1 {
		t.Errorf("%v, %d rows, %d reads", err, state.len(), state.reads(2))
	}
}

// What is read or written while the state streams is newer than the stream.
func TestResync_AStreamOfAnOlderStateOverwritesNothing(t *testing.T) {
	old, gone, written := named(1, "old"), named(2, "gone"), named(3, "old")
	state := newState(old, gone, written)
	s := state.syncer()
	first := true
	state.streamed = func(api.Pin) {
		if !first {
			return
		}
		first = false
		state.set(func() {
			state.records[old.Cid.Cid] = named(1, "new")
			delete(state.records, gone.Cid.Cid)
		})
		for n := 1; n <= 2; n++ {
			if _, _, err := s.Get(t.Context(), key(n)); err != nil {
				t.Error(err)
			}
		}
		if err := submit(t.Context(), t, s, write(3, version(written), version(named(3, "ours"))), accepted); err != nil {
			t.Error(err)
		}
	}
	if err := s.Resync(t.Context()); err != nil {
		t.Fatal(err)
	}
	row1, _ := state.row(1)
	_, has2 := state.row(2)
	row3, _ := state.row(3)
	if row1.Name != "new" || has2 || row3.Name != "ours" {
		t.Errorf("rows %q, %t, %q", row1.Name, has2, row3.Name)
	}
	if s.touched != nil {
		t.Error("keys are noted without a resync")
	}
}

// C4: a resync that fails is the only trace of the events that were lost.
func TestResync_IsRetriedWithBackOffUntilItSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := newState(named(1, "theirs"))
		s := running(t, state.syncer())
		state.set(func() { state.err = errBroken })
		s.RequestResync()
		var at []time.Duration
		began, seen := time.Now(), 0
		for time.Since(began) < 5*time.Minute {
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
			if n := state.resyncs(); n > seen {
				at, seen = append(at, time.Since(began)), n
			}
		}
		if len(at) < 8 || len(at) > 14 {
			t.Errorf("%d attempts in 5 minutes, at %v", len(at), at)
		}
		for i := 2; i < len(at); i++ {
			if pause, before := at[i]-at[i-1], at[i-1]-at[i-2]; pause > resyncRetry.Max+time.Second || i < 6 && pause < before {
				t.Errorf("pauses of %s and %s", before, pause)
			}
		}
		if s.Stats().Resync.Failed != uint64(len(at)) {
			t.Errorf("%+v", s.Stats().Resync)
		}
		state.set(func() { state.err = nil })
		time.Sleep(resyncRetry.Max)
		synctest.Wait()
		if _, ok := state.row(1); !ok || s.Stats().Resync.Succeeded != 1 {
			t.Errorf("row %t, %+v", ok, s.Stats().Resync)
		}
	})
}

// C4: the flag of the overflow is spent when the resync is requested.
func TestResync_AnOverflowWhileTheStateIsUnavailableIsMadeGoodSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := newState(named(1, "theirs"), named(2, "theirs"))
		s := running(t, state.syncer())
		state.set(func() { state.err = errBroken })
		s.events.mu.Lock()
		s.events.overflow() // The event of pin 1 finds the queue full.
		s.events.mu.Unlock()
		s.Notify(Event{CID: pinsvctest.RawCID(2), Removed: true})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if state.resyncs() == 0 || state.len() != 0 {
			t.Fatalf("%d resyncs", state.resyncs())
		}
		state.set(func() { state.err = nil })
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if _, ok := state.row(1); !ok {
			t.Error("the view is wrong until the next interval")
		}
		if stats := s.Stats(); stats.EventOverflows != 1 || stats.Resync.Failed == 0 || stats.Resync.Succeeded != 1 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestResync_EndsWithItsContext(t *testing.T) {
	state := newState(named(1, "a"), named(2, "b"))
	ctx, cancel := context.WithCancel(t.Context())
	s := state.syncer()
	state.streamed = func(rec api.Pin) {
		// Somebody has the key and does not give it back.
		if _, err := s.keys.Lock(t.Context(), rec.Cid.KeyString()); err != nil {
			t.Error(err)
		}
		cancel()
	}
	if err := s.Resync(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("the resync ended with %v", err)
	}
}

func TestResync_Progress(t *testing.T) {
	state := newState(named(1, "a"), named(2, "b"))
	s := state.syncer()
	if got := s.Progress(); got != "not begun" {
		t.Errorf("%q before the first", got)
	}
	if err := s.Resync(t.Context()); err != nil || !strings.HasPrefix(s.Progress(), "2 pins so far") {
		t.Errorf("%v, %q", err, s.Progress())
	}
}
