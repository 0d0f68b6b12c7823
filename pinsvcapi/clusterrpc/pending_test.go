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
		p := newPending(clock.now, time.Minute)
		key := pinsvctest.RawCID(1)
		type value struct {
			rec   api.Pin
			found bool
		}
		var state, last value // what is committed, and what was written last
		var log []value       // accepted, not committed
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			commit := func() {
				if n := rapid.IntRange(0, len(log)).Draw(t, "commit"); n > 0 {
					state, log = log[n-1], log[n:]
				}
			}
			read := func() {
				got, found := p.resolve(key, p.mark(), state.rec, state.found)
				if found != last.found || got.Name != last.rec.Name {
					t.Fatalf("read %t %q, wrote %t %q", found, got.Name, last.found, last.rec.Name)
				}
			}
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				v := value{found: rapid.Bool().Draw(t, "pin")}
				if v.found {
					v.rec = named(rapid.StringMatching("[ab]").Draw(t, "name"))
				}
				before, underway := held(state), p.underway(key)
				if rapid.Bool().Draw(t, "others read while it is submitted") {
					commit()
					read()
				}
				p.wrote(key, before, v.rec, !v.found, underway...)
				log, last = append(log, v), v
			case 1:
				commit()
			}
			read()
		}
	})
}

func TestANewerWriteOfAnotherPeerWins(t *testing.T) {
	p := newPending(time.Now, time.Minute)
	key := pinsvctest.RawCID(1)
	p.wrote(key, held{}, named("ours"), false)
	got, found := p.resolve(key, p.mark(), named("theirs"), true)
	if !found || got.Name != "theirs" || p.has(key) {
		t.Errorf("%t %q, pending %t", found, got.Name, p.has(key))
	}
}

func TestAStateReadBeforeTheWriteTellsNothingOfIt(t *testing.T) {
	p := newPending(time.Now, time.Minute)
	key := pinsvctest.RawCID(1)
	mark := p.mark()
	p.wrote(key, held{named("before"), true}, named("ours"), false)
	if got, _ := p.resolve(key, mark, named("long before"), true); got.Name != "ours" || !p.has(key) {
		t.Errorf("%q, pending %t", got.Name, p.has(key))
	}
}

// What the state does not show in time is submitted again and again, and the
// client is told.
func TestPendingWritesAreSubmittedAgain(t *testing.T) {
	s := newServices()
	var clock fakeClock
	b := s.backend(t, Options{Now: clock.now, BatchAge: time.Hour})
	s.set(func() { s.batch = true })
	for i := range 2 {
		if _, err := b.Add(t.Context(), "", pinsvc.Pin{CID: pinsvctest.RawCID(i), Name: "mine"}); err != nil {
			t.Fatal(err)
		}
	}
	list := func() []pinsvc.PinStatus {
		t.Helper()
		page, err := pinsvctest.Results(b.List(t.Context(), "", pinsvc.Query{Limit: 10, Statuses: pinsvc.AllStatuses}))
		if err != nil {
			t.Fatal(err)
		}
		return page.Results
	}
	if got := list(); len(got) != 2 || got[0].Info[infoDetails] != "" {
		t.Errorf("%+v", got)
	}
	shown := pinsvctest.RawCID(0)
	s.set(func() { s.pins[shown] = b.pending.writes[shown].rec })
	clock.advance(time.Minute)
	until(t, "seen", func() bool { return !b.pending.has(shown) })
	if n := s.called("Cluster.Pin"); n != 2 {
		t.Errorf("pinned %d times before the time", n)
	}

	lost := pinsvctest.RawCID(1)
	for again := 1; again <= 2; again++ {
		clock.advance(5 * time.Hour)
		until(t, "submitted again", func() bool { return s.called("Cluster.Pin") == 2+again })
		want := "the cluster accepted the pin and has not committed it; it was submitted again " + times(again)
		until(t, "told", func() bool { return list()[0].Info[infoDetails] == want })
		st, err := b.Get(t.Context(), "", lost.String())
		if err != nil || st.Info[infoDetails] != want || st.Pin.Name != "mine" {
			t.Errorf("%+v, %v", st, err)
		}
	}
	s.set(func() { s.batch = false })
	clock.advance(10 * time.Hour)
	until(t, "made", func() bool {
		clock.advance(time.Second)
		return !b.pending.has(lost)
	})
	s.set(func() {
		if rec, ok := s.pins[lost]; !ok || rec.Name != "mine" {
			t.Errorf("the state has %t %+v", ok, rec)
		}
	})
	if got := list()[0]; got.Info[infoDetails] != "" || got.RequestID != lost.String() {
		t.Errorf("%+v", got)
	}
}

// Another tool may undo a change the moment that it is made.
func TestAChangeThatOthersUndoIsNotSubmittedAgain(t *testing.T) {
	for name, undone := range map[string]Hint{
		"removed": {Removed: true}, "written": {Written: time.Unix(1_700_000_000, 0), Record: "another of the same second"},
	} {
		p := newPending(time.Now, time.Hour)
		key, ours := pinsvctest.RawCID(1), named("ours")
		made := Hint{CID: key, Written: ours.Timestamp, Record: form(ours, true)}
		undone.CID = key
		p.wrote(key, held{}, ours, false)
		p.announced(undone) // Of before.
		if !p.has(key) {
			t.Errorf("%s: a change of before ends it", name)
		}
		p.announced(made)
		if _, found := p.resolve(key, p.mark(), api.Pin{}, false); !found {
			t.Errorf("%s: a state that does not show it yet ends it", name)
		}
		p.announced(undone)
		if _, found := p.resolve(key, p.mark(), api.Pin{}, false); found || p.some() {
			t.Errorf("%s: it is still believed in", name)
		}
	}
}

// A removal that was lost is made again, too.
func TestPendingRemovalsAreSubmittedAgain(t *testing.T) {
	s := newServices()
	rec := s.held(1)
	var clock fakeClock
	b := s.backend(t, Options{Now: clock.now, BatchAge: time.Hour})
	s.set(func() { s.batch = true })
	if err := b.Delete(t.Context(), "", requestID(rec)); err != nil {
		t.Fatal(err)
	}
	s.set(func() { s.batch = false })
	clock.advance(3 * time.Hour)
	until(t, "gone", func() bool {
		clock.advance(time.Second)
		return !b.pending.has(rec.Cid.Cid)
	})
	s.set(func() {
		if len(s.pins) != 0 {
			t.Error("the state still has it")
		}
	})
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
