package statewrite

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/statesync"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

var errNoLeader = pinsvc.Wrap(pinsvc.KindUnavailable, errors.New("unreachable: QmOther"), "no Raft leader: 1 of 3 peers")

func TestWriter_AFailureWithoutConsensusIsThatOfTheConsensus(t *testing.T) {
	for _, tt := range []struct {
		name    string
		failure error
		isIt    bool
	}{
		{"timed out", errors.New("timed out waiting for leader: context deadline exceeded"), true},
		{"unknown", errors.New("something else"), true},
		{"not enough peers", errors.New("not enough peers to allocate CID"), false},
		{"follower", errors.New("this peer is configured to be in follower mode"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newFixture(t)
			w.fake.Held(pinsvctest.RawCID(1))
			w.health.Set(errNoLeader, nil)
			w.fake.Fail("Consensus.LogPin", tt.failure)
			w.fake.Fail("Consensus.LogUnpin", tt.failure)
			_, deleteErr := w.delete(1)
			for _, err := range []error{w.put(t.Context(), 1, "b"), deleteErr} {
				if got := pinsvc.FailureOf(err).Details; (got == errNoLeader.Details) != tt.isIt {
					t.Errorf("%v: %q", err, got)
				}
			}
			if w.pending(1) || w.rows.name(1) == "b" {
				t.Error("a write that failed is seen")
			}
		})
	}
}

func TestWriter_AWriteInProgressEndsWhenTheConsensusIsLost(t *testing.T) {
	for name, write := range map[string]func(fixture) error{
		"put": func(f fixture) error { return f.put(f.t.Context(), 1, "b") },
		"delete": func(f fixture) error {
			_, err := f.delete(1)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			w.fake.Held(pinsvctest.RawCID(1))
			t.Cleanup(w.fake.Hang("Consensus.LogPin"))
			t.Cleanup(w.fake.Hang("Consensus.LogUnpin"))
			ended := make(chan error, 1)
			go func() { ended <- write(w) }()
			await.True(t, "submitted", func() bool { return w.fake.Called("Consensus.LogPin")+w.fake.Called("Consensus.LogUnpin") > 0 })
			w.health.Set(errNoLeader, nil)
			if err := w.Available(); err != nil {
				t.Errorf("an election is an outage: %v", err)
			}
			w.clock.Advance(electionTime)
			if err := w.Available(); !errors.Is(err, errNoLeader) {
				t.Errorf("available: %v", err)
			}
			if err := <-ended; pinsvc.FailureOf(err).Details != errNoLeader.Details {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

// Half a change is worse than a whole one.
func TestWriter_AWriteGoesOnWithoutItsRequest(t *testing.T) {
	w := newFixture(t)
	release := w.fake.Hang("Consensus.LogPin")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.put(ctx, 1, "a") }()
	await.True(t, "submitted", func() bool { return w.fake.Called("Consensus.LogPin") > 0 })
	cancel()
	release()
	if err := <-ended; err != nil || w.name(1) != "a" || w.rows.name(1) != "a" {
		t.Errorf("%v, the state has %q, the view %q", err, w.name(1), w.rows.name(1))
	}
}

// C10: a write that took too long for its client takes effect later. Until then no other
// write to the pin begins, so that it cannot overtake one; other pins do not wait.
func TestWriter_AnOverdueWriteKeepsItsLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixtureFor(t, true)
		w.mustPut(1, "first")
		release := w.fake.Hang("Consensus.LogPin")
		began := time.Now()
		err := w.put(t.Context(), 1, "overdue")
		if took := time.Since(began); pinsvc.KindOf(err) != pinsvc.KindUnavailable || took != w.cfg.Timeout {
			t.Fatalf("after %s: %v", took, err)
		}
		if found, err := w.delete(1); found || pinsvc.KindOf(err) != pinsvc.KindUnavailable {
			t.Errorf("a delete behind it: %t, %v", found, err)
		}
		w.fake.Held(pinsvctest.RawCID(2))
		if found, err := w.delete(2); !found || err != nil {
			t.Errorf("a delete of another pin: %t, %v", found, err)
		}
		release()
		synctest.Wait()
		w.mustPut(1, "later")
		synctest.Wait()
		if w.name(1) != "later" || w.rows.name(1) != "later" || len(w.overdue.writes) != 0 {
			t.Errorf("the state has %q, the view %q, %d are overdue", w.name(1), w.rows.name(1), len(w.overdue.writes))
		}
	})
}

// What does not heed its context does not end; what does ends in bounded time.
func TestWriter_AnOverdueWriteEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixtureFor(t, true)
		ended := make(chan time.Duration, 1)
		unlock, err := w.Lock(t.Context(), pinsvctest.RawCID(1))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		err = w.submit(t.Context(), &statesync.Write{Key: pinsvctest.RawCID(1)}, func(ctx context.Context) (none statesync.Versioned, err error) {
			<-ctx.Done()
			ended <- time.Since(began)
			return none, ctx.Err()
		})
		unlock()
		if err == nil {
			t.Error("it succeeded")
		}
		if took := <-ended; took != w.cfg.Timeout+maxOverdue {
			t.Errorf("it ended after %s", took)
		}
		synctest.Wait()
		w.mustPut(1, "free again")
	})
}

// A write behind one that hangs without a consensus is refused as soon as that is known. A
// free lock is had all the same: what only reads goes on.
func TestWriter_AnOutageEndsTheWaitForALock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixtureFor(t, true)
		unlock, err := w.Lock(t.Context(), pinsvctest.RawCID(1))
		if err != nil {
			t.Fatal(err)
		}
		away := pinsvc.Errorf(pinsvc.KindUnavailable, "no Raft leader")
		began := time.Now()
		waited := make(chan error, 1)
		go func() {
			_, err := w.Lock(t.Context(), pinsvctest.RawCID(1))
			waited <- err
		}()
		synctest.Wait()
		_ = w.outage.observe(away)
		w.clock.Advance(electionTime)
		_ = w.outage.observe(away)
		if err := <-waited; !errors.Is(err, away) || time.Since(began) != 0 {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		if _, err := w.Lock(t.Context(), pinsvctest.RawCID(1)); !errors.Is(err, away) {
			t.Errorf("during the outage: %v", err)
		}
		other, err := w.Lock(t.Context(), pinsvctest.RawCID(2))
		if err != nil {
			t.Fatal(err)
		}
		other()
		unlock()
	})
}
