package clusterrpc

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"pgregory.net/rapid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func named(name string) api.Pin {
	rec := newRecord(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	rec.Name, rec.Timestamp = name, time.Unix(1_700_000_000, 0)
	return rec
}

// TestWhoWroteReadsWhatWasWritten commits accepted writes late, in order and
// in batches of any size, and reads in between.
func TestWhoWroteReadsWhatWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var clock fakeClock
		p := newPending(clock.now)
		key := pinsvctest.RawCID(1)
		type value struct {
			rec   api.Pin
			found bool
		}
		var state, last value // what is committed, and what was written last
		var log []value       // accepted, not committed
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				v := value{found: rapid.Bool().Draw(t, "pin")}
				if v.found {
					v.rec = named(rapid.StringMatching("[ab]").Draw(t, "name"))
				}
				p.wrote(key, form(state.rec, state.found), v.rec, !v.found)
				log, last = append(log, v), v
			case 1:
				if n := rapid.IntRange(0, len(log)).Draw(t, "commit"); n > 0 {
					state, log = log[n-1], log[n:]
				}
			}
			got, found := p.resolve(key, p.mark(), state.rec, state.found)
			if found != last.found || got.Name != last.rec.Name {
				t.Fatalf("read %t %q, wrote %t %q", found, got.Name, last.found, last.rec.Name)
			}
		}
	})
}

func TestANewerWriteOfAnotherPeerWins(t *testing.T) {
	p := newPending(time.Now)
	key := pinsvctest.RawCID(1)
	p.wrote(key, absent, named("ours"), false)
	got, found := p.resolve(key, p.mark(), named("theirs"), true)
	if !found || got.Name != "theirs" || p.has(key) {
		t.Errorf("%t %q, pending %t", found, got.Name, p.has(key))
	}
}

func TestAStateReadBeforeTheWriteTellsNothingOfIt(t *testing.T) {
	p := newPending(time.Now)
	key := pinsvctest.RawCID(1)
	mark := p.mark()
	p.wrote(key, form(named("before"), true), named("ours"), false)
	if got, _ := p.resolve(key, mark, named("long before"), true); got.Name != "ours" || !p.has(key) {
		t.Errorf("%q, pending %t", got.Name, p.has(key))
	}
}

func TestPendingWritesEnd(t *testing.T) {
	s := newServices()
	var clock fakeClock
	b := s.backend(t, Options{Now: clock.now, PendingTimeout: time.Hour})
	s.set(func() { s.batch = true })
	for i := range 2 {
		if _, err := b.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(i)}); err != nil {
			t.Fatal(err)
		}
	}
	page, err := b.List(t.Context(), "", pinsvc.Query{Limit: 10, Statuses: pinsvc.AllStatuses})
	if err != nil || page.Count != 2 {
		t.Errorf("%d pins: %v", page.Count, err)
	}
	s.set(func() { s.pins[pinsvctest.RawCID(0)] = b.pending.snapshot()[pinsvctest.RawCID(0)].rec })
	until(t, "seen", func() bool { return !b.pending.has(pinsvctest.RawCID(0)) })
	clock.advance(2 * time.Hour)
	until(t, "given up", func() bool { return !b.pending.has(pinsvctest.RawCID(1)) })
}

func TestDeleteOfAPinThatIsNotCommittedYet(t *testing.T) {
	s := newServices()
	b := s.backend(t, Options{})
	s.set(func() { s.batch = true })
	st, err := b.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(t.Context(), "", st.RequestID); err != nil {
		t.Fatal(err)
	}
	if s.called("Consensus.LogUnpin") != 1 {
		t.Error("the cluster was not told")
	}
	_, err = b.Get(t.Context(), "", st.RequestID)
	wantKind(t, "Get", err, pinsvc.KindNotFound)
	wantKind(t, "Delete", b.Delete(t.Context(), "", st.RequestID), pinsvc.KindNotFound)
}

func TestWritesToOnePinWaitForEachOther(t *testing.T) {
	l := newPinLocks()
	v0, v1 := pinsvctest.V0CID(1), pinsvctest.V1CID(1)
	unlock, err := l.lock(t.Context(), v0, v1, pinsvctest.RawCID(1))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error)
	go func() {
		_, err := l.lock(ctx, v1)
		waited <- err
	}()
	cancel()
	if err := <-waited; !errors.Is(err, context.Canceled) {
		t.Errorf("the other form of the CID was not locked: %v", err)
	}
	unlock()
	if again, err := l.lock(t.Context(), v1); err != nil {
		t.Error(err)
	} else {
		again()
	}
}

func TestLocksOfTwoPinsDoNotBlockEachOtherForEver(t *testing.T) {
	l := newPinLocks()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 500 {
				a, b := pinsvctest.RawCID(j%7), pinsvctest.RawCID((i+j)%5)
				if i%2 == 0 {
					a, b = b, a
				}
				unlock, err := l.lock(t.Context(), a, b)
				if err != nil {
					t.Error(err)
					return
				}
				unlock()
			}
		})
	}
	wg.Wait()
}
