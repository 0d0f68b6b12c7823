package pinset

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"pgregory.net/rapid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// copied is what a follower knows of a pin.
type copied struct {
	status  pinsvc.Status
	created int64
}

// follower keeps a copy of a view by its journal.
type follower struct {
	view *View
	pins map[string]copied
	seq  uint64
	// listed is how often it had to list the pins.
	listed int
}

// fataler ends a test; fatalHere does it outside the goroutine of the test.
type fataler interface{ Fatalf(string, ...any) }

type fatalHere struct{ *testing.T }

func (t fatalHere) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	runtime.Goexit()
}

func newFollower(v *View) *follower {
	f := &follower{view: v}
	f.list()
	return f
}

func (f *follower) list() {
	f.listed++
	f.seq = f.view.Seq()
	f.pins = copyOf(f.view)
}

func copyOf(v *View) map[string]copied {
	pins := make(map[string]copied)
	v.ForEach(pinsvc.AllStatuses, func(key string, m Mutable) bool {
		pins[key] = copied{m.Status, m.Created}
		return true
	})
	return pins
}

// catchUp applies all changes that there are, in batches of at most max.
func (f *follower) catchUp(t fataler, max int) {
	for {
		changes, err := f.view.Since(f.seq, max)
		switch {
		case errors.Is(err, ErrTooOld):
			f.list()
			continue
		case err != nil:
			t.Fatalf("Since: %v", err)
		case len(changes) > max:
			t.Fatalf("Since returns %d changes, want at most %d", len(changes), max)
		case len(changes) == 0:
			return
		}
		for _, c := range changes {
			if c.Seq != f.seq+1 {
				t.Fatalf("change %d comes after %d", c.Seq, f.seq)
			}
			f.seq = c.Seq
			f.apply(t, c)
		}
	}
}

func (f *follower) apply(t fataler, c Change) {
	if (c.Old == 0) != (c.Kind == Added) || (c.New == 0) != (c.Kind == Removed) {
		t.Fatalf("%s from status %d to %d", c.Kind, c.Old, c.New)
	}
	if c.Kind == Removed {
		delete(f.pins, c.Key)
		return
	}
	f.pins[c.Key] = copied{c.New, c.Created}
}

func (f *follower) check(t fataler) {
	want := copyOf(f.view)
	if len(f.pins) != len(want) {
		t.Fatalf("the copy has %d pins, want %d", len(f.pins), len(want))
	}
	for key, pin := range want {
		if f.pins[key] != pin {
			t.Fatalf("the copy has %+v, want %+v", f.pins[key], pin)
		}
	}
}

// A follower's copy equals the view whenever it has caught up, whatever happens
// and however small the journal is.
func TestSince_FollowerEndsEqualToTheView(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := newView(rapid.SampledFrom([]int{1, 2, 7, 1000}).Draw(t, "journal"))
		f, strict := newFollower(v), newFollower(v)
		t.Repeat(map[string]func(*rapid.T){
			"put":    func(t *rapid.T) { v.Put(drawPin(t)) },
			"remove": func(t *rapid.T) { v.Remove(cidOf(rapid.IntRange(0, 40).Draw(t, "removed"))) },
			"update": func(t *rapid.T) {
				p, keep := drawPin(t), rapid.Bool().Draw(t, "keep")
				v.Update(p.CID, func(m *Mutable) bool { *m = mutableOf(p); return keep })
			},
			"update all": func(t *rapid.T) {
				m := mutableOf(drawPin(t))
				v.UpdateAll(func(_ string, old *Mutable) bool { *old = m; return true })
			},
			"catch up": func(t *rapid.T) {
				f.catchUp(t, rapid.IntRange(1, 10).Draw(t, "max"))
				f.check(t)
			},
			// One that reads every change sees what it was a change of.
			"": func(t *rapid.T) {
				changes, err := v.Since(strict.seq, 1)
				for ; err == nil && len(changes) == 1; changes, err = v.Since(strict.seq, 1) {
					if have := strict.pins[changes[0].Key].status; have != changes[0].Old {
						t.Fatalf("%+v of a pin that was %s", changes[0], have)
					}
					strict.seq = changes[0].Seq
					strict.apply(t, changes[0])
				}
				strict.catchUp(t, 10)
				strict.check(t)
			},
		})
		f.catchUp(t, 10)
		f.check(t)
	})
}

func TestSince_FollowersAmongConcurrentWriters(t *testing.T) {
	for name, size := range map[string]int{"a small journal": 16, "the journal": journalSize} {
		t.Run(name, func(t *testing.T) {
			v := newView(size)
			ctx, written := context.WithCancel(t.Context())
			var writers, followers sync.WaitGroup
			for w := range 3 {
				writers.Go(func() {
					for i := range 3000 {
						c := cidOf(w*100 + i%150) // Writers share some pins.
						v.Put(Pin{CID: c, Status: statuses[i%4], Created: time.UnixMilli(int64(i))})
						v.Update(c, func(m *Mutable) bool { m.Status = statuses[(i+w)%4]; return true })
						if i%3 == 0 {
							v.Remove(c)
						}
					}
				})
			}
			for range 3 {
				followers.Go(func() {
					f := newFollower(v)
					for ctx.Err() == nil {
						f.catchUp(fatalHere{t}, 100)
						select {
						case <-v.Changed(f.seq):
						case <-ctx.Done():
						}
					}
					f.catchUp(fatalHere{t}, 100)
					f.check(fatalHere{t})
				})
			}
			writers.Wait()
			written()
			followers.Wait()
		})
	}
}

// Every waiter wakes for every change that comes after the number it waits
// with, also when the change comes just before it waits.
func TestChanged_WakesEveryWaiter(t *testing.T) {
	v := newView(8)
	const changes = 2000
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for seq := v.Seq(); seq < changes; seq = v.Seq() {
				<-v.Changed(seq)
			}
		})
	}
	wg.Go(func() {
		for i := range changes {
			v.Put(Pin{CID: cidOf(i % 10), Status: statuses[i%4], Created: time.UnixMilli(int64(i))})
		}
	})
	wg.Wait()
}

func TestChanged_IsOpenUntilTheNextChange(t *testing.T) {
	v := New()
	open := func(seq uint64) bool {
		select {
		case <-v.Changed(seq):
			return false
		default:
			return true
		}
	}
	next := v.Changed(0)
	if !open(0) || v.Changed(0) != next {
		t.Error("without a change, Changed(0) is closed or not shared")
	}
	v.Put(Pin{CID: cidOf(1), Status: pinsvc.StatusQueued})
	<-next
	if open(0) || !open(1) {
		t.Error("after one change, Changed(0) should be closed and Changed(1) open")
	}
	if open(2) {
		t.Error("Changed of a number that the view has not reached never wakes")
	}
}

// Rows that stay as they are do not fill the journal: a resync puts in every
// pin again.
func TestJournal_HasNoUnchangedRows(t *testing.T) {
	v := New()
	p := samplePin(1)
	p.ExpiresAt, p.Origins = 5, 7
	v.Put(p)
	v.Put(p)
	v.Update(p.CID, func(*Mutable) bool { return true })
	v.UpdateAll(func(_ string, m *Mutable) bool { m.Status = pinsvc.StatusFailed; return false })
	v.Remove(cidOf(99))
	if seq := v.Seq(); seq != 1 {
		t.Errorf("%d changes, want the first alone", seq)
	}
	for i, change := range []func(){
		func() { p.Name = "another"; v.Put(p) },
		func() { p.Meta = nil; v.Put(p) },
		func() { p.ExpiresAt = 6; v.Put(p) },
		func() { p.ExpiresAt = 0; v.Put(p) },
		func() { v.Update(p.CID, func(m *Mutable) bool { m.Origins++; return true }) },
		func() { v.Update(p.CID, func(m *Mutable) bool { m.Vector++; return true }) },
		func() { v.Update(p.CID, func(m *Mutable) bool { m.OtherFormRequested = true; return true }) },
		func() { v.Remove(p.CID) },
	} {
		before := v.Seq()
		if change(); v.Seq() != before+1 {
			t.Errorf("change %d: number %d after %d", i, v.Seq(), before)
		}
	}
}

func TestJournal_IsSilentWhileTheViewLoads(t *testing.T) {
	v := NewLoading()
	listing := v.Changed(v.Seq())
	for i := range 10 {
		v.Put(samplePin(i))
	}
	v.Remove(samplePin(3).CID)
	if seq := v.Seq(); seq != 0 {
		t.Errorf("number %d while the view loads", seq)
	}
	v.FinishLoad()
	<-listing // A reader that listed the empty view wakes.
	if _, err := v.Since(0, 1); !errors.Is(err, ErrTooOld) {
		t.Errorf("Since of the empty view: %v, want ErrTooOld", err)
	}
	f := newFollower(v)
	v.Put(samplePin(3))
	f.catchUp(t, 10)
	f.check(t)
	if f.listed != 1 {
		t.Errorf("one that listed the loaded view listed %d times", f.listed)
	}
}

func TestSince_RefusesWhatItDoesNotHold(t *testing.T) {
	v := newView(4)
	for i := range 6 {
		v.Put(samplePin(i))
	}
	for seq, want := range map[uint64]error{0: ErrTooOld, 1: ErrTooOld, 2: nil, 6: nil, 7: ErrTooOld, ^uint64(0): ErrTooOld} {
		if changes, err := v.Since(seq, 100); !errors.Is(err, want) || err == nil && len(changes) != int(6-seq) {
			t.Errorf("Since(%d) returns %d changes, %v", seq, len(changes), err)
		}
	}
	if changes, err := v.Since(2, 0); err != nil || len(changes) != 0 {
		t.Errorf("at most 0 changes are %v, %v", changes, err)
	}
}

func TestJournal_AllocatesNothingOnceItIsFull(t *testing.T) {
	j := newJournal(64)
	c := Change{Key: cidOf(1).KeyString(), Kind: Updated, Old: pinsvc.StatusQueued, New: pinsvc.StatusPinned}
	for range 64 {
		j.append(c)
	}
	if n := testing.AllocsPerRun(1000, func() { j.append(c) }); n != 0 {
		t.Errorf("%v allocations per change", n)
	}
	// A giant key is not kept.
	c.Key = string(make([]byte, 1<<20))
	j.append(c)
	c.Key = "short"
	for range 64 {
		j.append(c)
	}
	for i := range j.ring {
		if cap(j.ring[i].key) > maxKeptKey {
			t.Errorf("an entry keeps %d bytes", cap(j.ring[i].key))
		}
	}
}

func TestLookup_ReadsThatFormAlone(t *testing.T) {
	v := New()
	p := samplePin(1)
	p.CID, p.Origins, p.Vector = cidOf(0), 3, 4
	v.Put(p)
	if m, ok := v.Lookup(p.CID); !ok || m != mutableOf(p) {
		t.Errorf("got %+v, %v", m, ok)
	}
	other, _ := pinsvc.OtherForm(p.CID)
	for _, c := range []cid.Cid{other, cidOf(5)} {
		if m, ok := v.Lookup(c); ok {
			t.Errorf("%s: got %+v", c, m)
		}
	}
}
