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
	return Event{CID: rec.Cid.Cid, Form: pinrecord.Form(rec)}
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

// On a full disk what was changed since cannot be read, and all else can, for as long as that lasts.
// Then it is seen at once, without a read of the whole state.
func TestSyncer_AnEventIsReadUntilThatSucceeds(t *testing.T) {
	const pins = 1000
	for _, full := range []time.Duration{50 * time.Millisecond, 5 * time.Second, 10 * time.Minute} {
		t.Run(full.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				state := newState()
				for n := range pins {
					rec := named(n, "before")
					state.records[rec.Cid.Cid], state.unread[rec.Cid.Cid] = rec, n > 0
				}
				s := running(t, state.syncer())
				if _, _, err := s.Get(t.Context(), key(0)); err != nil {
					t.Fatal(err)
				}
				for n := range pins {
					s.Notify(eventOf(named(n, "after")))
				}
				time.Sleep(full)
				if n, limit := state.reads(1), 6+int(full/failedPause/(pins/2)); n > limit {
					t.Errorf("a pin was read %d times, at most %d are wanted", n, limit)
				}
				state.set(func() {
					for n := range pins {
						rec := named(n, "after")
						state.records[rec.Cid.Cid] = rec
					}
					clear(state.unread)
				})
				time.Sleep(failedPause)
				synctest.Wait()
				for n := 1; n < pins; n++ {
					if row, ok := state.row(n); !ok || row.Name != "after" {
						t.Fatalf("pin %d: row %q, %t", n, row.Name, ok)
					}
				}
				if n := state.resyncs(); n != 0 {
					t.Errorf("the whole state was read %d times", n)
				}
			})
		})
	}
}

// While the state cannot be read nothing is taken for missing.
func TestSyncer_AStateThatCannotBeReadIsUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := newState(named(1, "theirs"))
		s := running(t, state.syncer())
		state.set(func() { state.err = errBroken })
		s.Notify(eventOf(named(1, "theirs")))
		time.Sleep(time.Minute)
		if !s.unavailable.Load() || !s.Behind(key(2).Cid) {
			t.Error("the state is taken to be available")
		}
		state.set(func() { state.err = nil })
		time.Sleep(failedPause)
		synctest.Wait()
		if _, ok := state.row(1); !ok || s.Behind(key(2).Cid) {
			t.Error("the change is lost, or the state is taken to be unavailable")
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

func accepted() error { return nil }

// submit is what a writer does with a write of pin n.
func submit(ctx context.Context, t *testing.T, s *Syncer, w Write, send func() error) error {
	t.Helper()
	defer s.Begin(w.Key)()
	return s.Submit(ctx, &w, send)
}

func TestSubmit_AWriteIsSeenBeforeItsCommit(t *testing.T) {
	state := newState()
	s := state.syncer()
	after := version(named(1, "ours"))
	if err := submit(t.Context(), t, s, write(1, Versioned{}, after), accepted); err != nil {
		t.Fatal(err)
	}
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
func TestSubmit_AWriteIsEnteredWithoutTheState(t *testing.T) {
	state := newState()
	state.err = errBroken
	s := state.syncer()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := submit(ctx, t, s, write(1, Versioned{}, version(named(1, "ours"))), accepted); err != nil {
		t.Fatal(err)
	}
	if row, ok := state.row(1); !ok || row.Name != "ours" {
		t.Errorf("row %+v, %t", row, ok)
	}
}

// waiting is a syncer over a consensus that waits for the commit.
func waiting(state *sharedState) *Syncer {
	s := state.syncer()
	s.cfg.WaitsForCommit = true
	return s
}

// The state has what such a consensus accepted: nothing is read back, neither by the
// writer nor for the event of the write.
func TestSubmit_ACommittedWriteIsNotReadBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := newState()
		s := running(t, waiting(state))
		ours := version(named(1, "ours"))
		for _, w := range []Write{write(1, Versioned{}, ours), write(1, ours, Versioned{})} {
			if err := submit(t.Context(), t, s, w, func() error {
				s.Reread(write(2, Versioned{}, Versioned{})) // Another key is none of ours.
				e := Event{CID: w.Key, Form: w.After.form(), Removed: !w.After.Found}
				s.Notify(e)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if row, ok := state.row(1); ok != w.After.Found || row.Name != w.After.Rec.Name {
				t.Errorf("row %+v, %t", row, ok)
			}
		}
		time.Sleep(time.Minute)
		if n := state.reads(1); n != 0 || s.Uncommitted().Any() {
			t.Errorf("%d reads, %d uncommitted", n, s.Uncommitted().Len())
		}
	})
}

// Another peer's write came in between: what the state has is for the consensus to decide.
func TestSubmit_AnotherChangeInFlightIsReadBack(t *testing.T) {
	theirs := named(1, "theirs")
	for name, announce := range map[string]func(s *Syncer, before bool){
		"before it was submitted": func(s *Syncer, before bool) {
			if before {
				s.Notify(eventOf(theirs))
			}
		},
		"while it was submitted": func(s *Syncer, before bool) {
			if !before {
				s.Notify(eventOf(theirs))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			state := newState()
			s := waiting(state)
			w := write(1, Versioned{}, version(named(1, "ours")))
			defer s.Begin(w.Key)()
			announce(s, true)
			err := s.Submit(t.Context(), &w, func() error {
				announce(s, false)
				state.set(func() { state.records[w.Key] = theirs })
				return nil
			})
			if row, _ := state.row(1); err != nil || row.Name != "theirs" {
				t.Errorf("%v, row %+v", err, row)
			}
		})
	}
}

// A write that failed may take effect all the same, and its event may have come before.
func TestSubmit_AFailedWriteThatTakesEffectIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := newState()
		s := running(t, waiting(state))
		w := write(1, Versioned{}, version(named(1, "ours")))
		err := submit(t.Context(), t, s, w, func() error {
			s.Notify(eventOf(w.After.Rec))
			return errBroken
		})
		if !errors.Is(err, errBroken) || state.len() != 0 {
			t.Errorf("%v, %d rows", err, state.len())
		}
		time.Sleep(4 * time.Second)
		state.set(func() { state.records[w.Key] = w.After.Rec })
		time.Sleep(rereadDelays[2])
		synctest.Wait()
		if row, ok := state.row(1); !ok || row.Name != "ours" {
			t.Errorf("row %+v, %t", row, ok)
		}
	})
}

// The clock of the peer that wrote is half an hour back: its record is older by the time in
// it, and newer all the same. The event comes before the commit, as with a CRDT.
func TestSyncer_ARecordWithAnOlderClockReachesTheSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before, renamed := named(1, "before"), named(1, "renamed")
		renamed.Timestamp = before.Timestamp.Add(-30 * time.Minute)
		state := newState(before)
		s := running(t, state.syncer())
		s.Notify(eventOf(renamed))
		synctest.Wait()
		state.set(func() { state.records[renamed.Cid.Cid] = renamed })
		time.Sleep(rereadDelays[0])
		synctest.Wait()
		if row, _ := state.row(1); row.Name != "renamed" {
			t.Errorf("row %+v", row)
		}
	})
}

func TestShows(t *testing.T) {
	rec, other := named(1, "a"), named(1, "b")
	later := named(1, "c")
	later.Timestamp = rec.Timestamp.Add(time.Second)
	removed := Event{CID: rec.Cid.Cid, Removed: true}
	for _, tt := range []struct {
		name  string
		event Event
		now   Versioned
		want  bool
	}{
		{"the record", eventOf(rec), version(rec), true},
		{"another record of that second", eventOf(rec), version(other), false},
		{"a record with a later time", eventOf(rec), version(later), false},
		{"none yet", eventOf(rec), Versioned{}, false},
		{"removed", removed, Versioned{}, true},
		{"not removed yet", removed, version(rec), false},
	} {
		if got := shows(tt.event, tt.now); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
}
