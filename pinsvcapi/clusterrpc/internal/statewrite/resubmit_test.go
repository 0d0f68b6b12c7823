package statewrite

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/statesync"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// C1: whatever is resubmitted while clients write, the newer write is in the state in
// the end, and clients never see the older one.
func TestResubmit_NeverUndoesANewerWrite(t *testing.T) {
	const pins, workers = 200, 8
	w := newFixture(t)
	w.fake.Set(func() { w.fake.Batching = true })
	for n := range pins {
		w.mustPut(n, "a")
	}
	w.fake.Lose()
	w.clock.Advance(commitTime)
	var wg sync.WaitGroup
	wg.Go(func() { w.SettleUncommitted(t.Context()) })
	for worker := range workers {
		wg.Go(func() {
			for n := worker; n < pins; n += workers {
				if err := w.put(t.Context(), n, "b"); err != nil {
					t.Error(err)
				}
				if got := w.rows.name(n); got != "b" {
					t.Errorf("pin %d was written as %q and is seen as %q", n, "b", got)
				}
			}
		})
	}
	wg.Wait()
	for round := range 3 {
		w.fake.Commit()
		w.clock.Advance(time.Second)
		w.SettleUncommitted(t.Context())
		for n := range pins {
			if w.name(n) != "b" || w.rows.name(n) != "b" || w.pending(n) {
				t.Fatalf("round %d: the state of pin %d has %q, the view %q, pending %t", round, n, w.name(n), w.rows.name(n), w.pending(n))
			}
		}
	}
}

// C1: a client has the lock of the pin while a resubmission waits for it.
func TestResubmit_IsDecidedUnderTheLockOfThePin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		w.fake.Set(func() { w.fake.Batching = true })
		w.mustPut(1, "a")
		w.fake.Lose()
		w.clock.Advance(commitTime)
		c := pinsvctest.RawCID(1)
		unlock, err := w.Lock(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		go w.SettleUncommitted(t.Context())
		synctest.Wait() // It waits for the lock.
		before, err := w.syncer.Read(t.Context(), api.NewCid(c))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Put(t.Context(), before, rename(1, "b")); err != nil {
			t.Fatal(err)
		}
		unlock()
		synctest.Wait()
		w.fake.Commit()
		if w.name(1) != "b" || w.fake.Called("Cluster.Pin") != 2 {
			t.Errorf("the state has %q after %d submissions", w.name(1), w.fake.Called("Cluster.Pin"))
		}
	})
}

// Each time with the changes of clients that came in between.
func TestResubmit_LostWritesAreSubmittedUntilTheyAreCommitted(t *testing.T) {
	w := newFixture(t)
	w.fake.Set(func() { w.fake.Batching = true })
	w.mustPut(1, "a")
	w.mustPut(2, "kept")
	w.fake.Held(pinsvctest.RawCID(3))
	if found, err := w.delete(3); !found || err != nil {
		t.Fatal(found, err)
	}
	submitted := w.fake.Called("Cluster.Pin")
	w.clock.Advance(commitTime - time.Second)
	w.SettleUncommitted(t.Context())
	if n := w.fake.Called("Cluster.Pin"); n != submitted {
		t.Errorf("submitted %d times before its time", n)
	}
	for again := range 3 {
		if w.fake.Lose(); again == 1 {
			w.mustPut(1, "b")
			w.fake.Lose()
			w.clock.Advance(commitTime)
		}
		w.clock.Advance(commitTime << again)
		w.SettleUncommitted(t.Context())
	}
	w.fake.Commit()
	w.clock.Advance(10 * time.Minute)
	w.SettleUncommitted(t.Context())
	if w.name(1) != "b" || w.name(2) != "kept" || w.name(3) != "" || w.fake.Len() != 2 || w.syncer.Uncommitted().Any() {
		t.Errorf("the state has %q, %q, %q; %d are uncommitted", w.name(1), w.name(2), w.name(3), w.syncer.Uncommitted().Len())
	}
}

// Another tool wrote while the write of this peer was lost: its record is newer.
func TestResubmit_LeavesWhatOthersWroteSince(t *testing.T) {
	w := newFixture(t)
	w.fake.Set(func() { w.fake.Batching = true })
	w.mustPut(1, "ours")
	w.fake.Lose()
	rec := w.fake.Held(pinsvctest.RawCID(1))
	rec.Name = "theirs"
	w.fake.Put(rec)
	submitted := w.fake.Called("Cluster.Pin")
	w.clock.Advance(commitTime)
	w.SettleUncommitted(t.Context())
	w.fake.Commit()
	if w.name(1) != "theirs" || w.rows.name(1) != "theirs" || w.pending(1) || w.fake.Called("Cluster.Pin") != submitted {
		t.Errorf("the state has %q, the view %q", w.name(1), w.rows.name(1))
	}
}

// A submission that fails is counted and made again, no sooner than after a loss.
func TestResubmit_AFailureIsNoEnd(t *testing.T) {
	w := newFixture(t)
	w.fake.Set(func() { w.fake.Batching = true })
	w.mustPut(1, "a")
	w.fake.Lose()
	w.fake.Fail("Cluster.Pin", fmt.Errorf("no"))
	for range 10 {
		w.clock.Advance(commitTime)
		w.SettleUncommitted(t.Context())
	}
	if n := w.fake.Called("Cluster.Pin") - 1; n < 2 || n > 4 {
		t.Errorf("submitted %d times in 10 commit times", n)
	}
	if w.rows.name(1) != "a" {
		t.Errorf("the view has %q", w.rows.name(1))
	}
	w.fake.Fail("Cluster.Pin", nil)
	w.clock.Advance(commitTime << 6)
	w.SettleUncommitted(t.Context())
	w.fake.Commit()
	w.clock.Advance(time.Minute)
	w.SettleUncommitted(t.Context())
	if w.name(1) != "a" || w.pending(1) {
		t.Errorf("the state has %q, pending %t", w.name(1), w.pending(1))
	}
}

// What the state has as the write wanted it is not submitted again.
func TestResubmit_WhatIsThereIsSettled(t *testing.T) {
	w := newFixture(t)
	w.fake.Set(func() {
		w.fake.Batching = true
		w.fake.Written = func() time.Time { return time.Unix(1_700_000_000, 0) }
	})
	for _, name := range []string{"a", "b", "a"} {
		w.mustPut(1, name)
	}
	w.fake.Commit() // Of the three versions two are the same.
	w.clock.Advance(commitTime)
	w.SettleUncommitted(t.Context())
	if n := w.fake.Called("Cluster.Pin"); n != 3 || w.pending(1) || w.name(1) != "a" {
		t.Errorf("submitted %d times, pending %t, %q", n, w.pending(1), w.name(1))
	}
}

// newDurable is a writer on a Raft follower, which applies its log late.
func newDurable(t *testing.T) fixture {
	w := newFixture(t)
	w.syncer = statesync.New(statesync.Config{
		Reader: clusterapi.New(w.fake.Client(t)), Sink: w.rows, Now: w.clock.Now, CommitTime: commitTime,
		StateTimeout: commitTime, ResyncInterval: commitTime, Durable: true,
	})
	w.Writer = New(Config{
		Submitter: clusterapi.New(w.fake.Client(t)), Syncer: w.syncer, Now: w.clock.Now, Timeout: commitTime, Consensus: w.health.Consensus,
	})
	w.fake.Set(func() { w.fake.Batching = true })
	return w
}

// A Raft follower is behind: another peer has deleted the pin after it was made.
func TestResubmit_AFollowerThatIsBehindBringsNothingBack(t *testing.T) {
	w := newDurable(t)
	w.mustPut(1, "ours")
	if err := clusterapi.New(w.fake.Client(t)).LogUnpin(t.Context(), api.NewCid(pinsvctest.RawCID(1))); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(commitTime)
	w.SettleUncommitted(t.Context())
	if w.rows.name(1) != "ours" {
		t.Errorf("the view has %q before the commit", w.rows.name(1))
	}
	w.fake.Commit()
	if w.name(1) != "" {
		t.Errorf("the deleted pin is back: %q", w.name(1))
	}
	w.clock.Advance(commitTime << 6)
	w.SettleUncommitted(t.Context())
	if w.rows.name(1) != "" || w.pending(1) {
		t.Errorf("the view has %q, pending %t", w.rows.name(1), w.pending(1))
	}
}

// A Raft follower is behind: another peer has added what this one deleted.
func TestResubmit_AFollowerThatIsBehindDeletesNothing(t *testing.T) {
	w := newDurable(t)
	w.fake.Held(pinsvctest.RawCID(1))
	if found, err := w.delete(1); !found || err != nil {
		t.Fatal(found, err)
	}
	rec := pinrecord.New(pinsvctest.RawCID(1))
	rec.Name = "theirs"
	if _, err := clusterapi.New(w.fake.Client(t)).Pin(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(commitTime)
	w.SettleUncommitted(t.Context())
	w.fake.Commit()
	if w.name(1) != "theirs" {
		t.Errorf("the pin that another peer added is gone: %q", w.name(1))
	}
}

// Raft announces a write and its removal by another peer in the wrong order.
func TestSettle_TheViewForgetsAWriteThatIsNotSubmittedAgain(t *testing.T) {
	w := newDurable(t)
	w.mustPut(1, "ours")
	w.fake.Commit()
	rec, _ := w.fake.Record(pinsvctest.RawCID(1))
	w.fake.Remove(rec)
	w.syncer.Notify(statesync.Event{CID: rec.Cid.Cid, Removed: true})
	w.syncer.Notify(statesync.Event{CID: rec.Cid.Cid, Written: rec.Timestamp, Form: pinrecord.Form(rec)})
	w.clock.Advance(commitTime)
	w.SettleUncommitted(t.Context())
	if w.rows.name(1) != "" || w.pending(1) {
		t.Errorf("the view has %q for a pin that the state does not have; pending %t", w.rows.name(1), w.pending(1))
	}
}
