package replacement

import (
	"slices"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"pgregory.net/rapid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// fixture is an index over a tracker and a view.
type fixture struct {
	*Index
	view    *pinset.View
	tracker *peerstatus.Tracker
	now     time.Time
	lost    []cid.Cid
}

func newFixture() *fixture {
	f := &fixture{view: pinset.New(), now: time.UnixMilli(1_800_000_000_000)}
	now := func() time.Time { return f.now }
	f.tracker = peerstatus.NewTracker(peerstatus.Config{
		View: f.view, Now: now, Clock: pinrecord.NewClock(now), MaxAttempts: 1, RetryDelay: time.Second,
	})
	f.tracker.SetMembers([]peer.ID{"a"})
	f.Index = New(Config{Tracker: f.tracker, View: f.view, Now: now, OnLost: func(c cid.Cid) { f.lost = append(f.lost, c) }})
	return f
}

// shown are the pins of the view.
func (f *fixture) shown() (keys []string) {
	f.view.All(func(key string, _ pinset.Mutable) { keys = append(keys, key) })
	slices.Sort(keys)
	return keys
}

func (f *fixture) shows(n int) bool {
	_, ok := f.view.Get(pinsvctest.RawCID(n))
	return ok
}

// made is the record of pin n, made in that millisecond.
func made(n int, created int64, replaces ...pinrecord.Replaced) api.Pin {
	rec := pinrecord.WithRequest(pinrecord.New(pinsvctest.RawCID(n)), pinsvc.Pin{CID: pinsvctest.RawCID(n)})
	rec.ReplicationFactorMin, rec.ReplicationFactorMax = -1, -1
	rec.Timestamp = time.UnixMilli(created)
	pinrecord.Stamp(rec, time.UnixMilli(created))
	pinrecord.SetReplaced(rec, replaces)
	return rec
}

func revision(rec api.Pin) pinrecord.Replaced {
	return pinrecord.Replaced{Key: rec.Cid.Cid, Revision: pinrecord.RevisionOf(rec)}
}

func (f *fixture) pinned(n int) {
	f.tracker.Observe("a", pinsvctest.RawCID(n), peerstatus.ReportOf(api.PinInfo{
		Cid: api.NewCid(pinsvctest.RawCID(n)), Peer: "a", PinInfoShort: api.PinInfoShort{Status: api.TrackerStatusPinned},
	}))
}

func TestIndex_TheOldPinIsHiddenInAnyOrder(t *testing.T) {
	old := made(1, 1000)
	replacing := made(2, 2000, revision(old))
	for name, order := range map[string][]api.Pin{"old first": {old, replacing}, "new first": {replacing, old}, "again": {old, replacing, old}} {
		f := newFixture()
		for _, rec := range order {
			f.PutRecord(rec, false)
		}
		if f.shows(1) || !f.shows(2) || !f.Hidden(old) || f.Hidden(replacing) || f.Len() != 1 {
			t.Errorf("%s: shows 1: %t, 2: %t", name, f.shows(1), f.shows(2))
		}
		if kept := f.Kept(pinsvctest.RawCID(2)); !slices.Equal(kept, []cid.Cid{pinsvctest.RawCID(1)}) {
			t.Errorf("%s: kept %v", name, kept)
		}
		var keys []string
		f.Keys(func(key string) { keys = append(keys, key) })
		if len(keys) != 2 {
			t.Errorf("%s: %d keys, want those of hidden pins as well", name, len(keys))
		}
	}
}

// One write of the record of the old pin ends its replacement, whoever wrote it.
func TestIndex_WhatIsRequestedAnewIsShown(t *testing.T) {
	old := made(1, 1000)
	revised := made(1, 1000)
	pinrecord.Revise(revised, time.UnixMilli(3000))
	byAnotherTool := made(1, 1000)
	byAnotherTool.Metadata, byAnotherTool.Timestamp = nil, time.UnixMilli(4000)
	for name, again := range map[string]api.Pin{"made anew": made(1, 3000), "concurrently": revised, "by another tool": byAnotherTool} {
		for _, order := range [][]api.Pin{
			{old, made(2, 2000, revision(old)), again},
			{again, made(2, 2000, revision(old))},
			{made(2, 2000, revision(old)), again},
		} {
			f := newFixture()
			for _, rec := range order {
				f.PutRecord(rec, true)
			}
			for _, key := range f.Refresh() { // The revision of a row may be unknown.
				if key == again.Cid.Cid {
					f.PutRecord(again, false)
				}
			}
			if !f.shows(1) || !f.shows(2) || f.Len() != 0 {
				t.Errorf("%s: shows 1: %t, 2: %t, %d hidden", name, f.shows(1), f.shows(2), f.Len())
			}
			f.pinned(2)
			if due := f.Due(); len(due) != 0 {
				t.Errorf("%s: due %v", name, due)
			}
		}
	}
}

func TestIndex_APinIsDueWhenAllThatReplacedItArePinned(t *testing.T) {
	old := made(1, 1000)
	f := newFixture()
	f.PutRecord(old, false)
	f.PutRecord(made(2, 2000, revision(old)), false)
	f.PutRecord(made(3, 2001, revision(old)), false) // At another peer, concurrently.
	if len(f.Due()) != 0 {
		t.Error("due before any is pinned")
	}
	f.pinned(2)
	if len(f.Due()) != 0 || f.IsDue(revision(old)) {
		t.Error("due while one is not pinned: if that fails, the old content stays")
	}
	f.pinned(3)
	if due := f.Due(); !slices.Equal(due, []pinrecord.Replaced{revision(old)}) || !f.IsDue(revision(old)) {
		t.Errorf("due: %v", due)
	}
	if by := f.Replacing(revision(old)); len(by) != 2 {
		t.Errorf("replaced by %v", by)
	}
}

func TestIndex_Chain(t *testing.T) {
	a := made(1, 1000)
	b := made(2, 2000, revision(a))
	c := made(3, 3000, revision(b)) // It has no room for the name of a.
	for _, order := range [][]api.Pin{{a, b, c}, {c, b, a}, {b, c, a}, {c, a, b}} {
		f := newFixture()
		for _, rec := range order {
			f.PutRecord(rec, false)
		}
		if f.shows(1) || f.shows(2) || !f.shows(3) {
			t.Errorf("shows %d pins", f.view.Len())
		}
		if kept := f.Kept(c.Cid.Cid); !slices.Equal(kept, []cid.Cid{b.Cid.Cid, a.Cid.Cid}) {
			t.Errorf("kept %v", kept)
		}
		want := []pinrecord.Replaced{revision(a), revision(b)}
		if only := f.KeptOnlyBy(c.Cid.Cid); !slices.Equal(only, want) {
			t.Errorf("kept by it alone: %v", only)
		}
		f.pinned(3)
		if due := f.Due(); !slices.Equal(due, want) || f.IsDue(revision(b)) {
			t.Errorf("due %v, want that first which is named by the other", due)
		}
		f.DeleteRecord(a.Cid.Cid)
		if !f.IsDue(revision(b)) || f.Len() != 1 {
			t.Error("the middle of the chain is not due")
		}
	}
}

func TestIndex_WhatAnotherPinKeepsIsNotReleased(t *testing.T) {
	a := made(1, 1000)
	f := newFixture()
	for _, rec := range []api.Pin{a, made(2, 2000, revision(a)), made(3, 2001, revision(a))} {
		f.PutRecord(rec, false)
	}
	if only := f.KeptOnlyBy(pinsvctest.RawCID(2)); len(only) != 0 {
		t.Errorf("deleting one of two releases %v", only)
	}
}

// The record of the new pin is removed by another tool: nobody has taken the place of the
// old one, which comes back once news of its own removal would be there.
func TestIndex_WithoutTheNewPinTheOldOneComesBack(t *testing.T) {
	a := made(1, 1000)
	f := newFixture()
	f.PutRecord(a, false)
	f.PutRecord(made(2, 2000, revision(a)), false)
	f.DeleteRecord(pinsvctest.RawCID(2))
	if f.shows(1) || len(f.Refresh()) != 0 || len(f.Due()) != 0 {
		t.Error("the old pin is shown at once, or due")
	}
	f.now = f.now.Add(graceTime)
	if reread := f.Refresh(); !slices.Equal(reread, []cid.Cid{a.Cid.Cid}) {
		t.Fatalf("read again: %v", reread)
	}
	f.PutRecord(a, false)
	if !f.shows(1) || f.Len() != 0 || len(f.Refresh()) != 0 {
		t.Error("the old pin has not come back")
	}
}

// A removal of both, of which the later news is of the old pin.
func TestIndex_ARemovedChainIsNeverShown(t *testing.T) {
	a := made(1, 1000)
	f := newFixture()
	f.PutRecord(a, false)
	f.PutRecord(made(2, 2000, revision(a)), false)
	f.DeleteRecord(pinsvctest.RawCID(2))
	if f.view.Len() != 0 {
		t.Error("a pin is shown")
	}
	f.DeleteRecord(pinsvctest.RawCID(1))
	f.now = f.now.Add(graceTime)
	if len(f.Refresh()) != 0 || f.view.Len() != 0 || len(f.named) != 0 || len(f.namers) != 0 {
		t.Errorf("left: %v", f.named)
	}
}

func TestIndex_NamesThatAreLost(t *testing.T) {
	a := made(1, 1000)
	f := newFixture()
	f.PutRecord(a, false)
	f.PutRecord(made(2, 2000, revision(a)), false)
	overwritten := made(2, 2500)
	f.PutRecord(overwritten, true)
	if f.shows(1) || !slices.Equal(f.lost, []cid.Cid{overwritten.Cid.Cid}) {
		t.Errorf("the old pin is shown: %t; reported %v", f.shows(1), f.lost)
	}
	if names := f.Names(overwritten); !slices.Equal(names, []pinrecord.Replaced{revision(a)}) {
		t.Errorf("to be named: %v", names)
	}
	f.DeleteRecord(a.Cid.Cid) // It was unpinned: nothing is lost any more.
	f.lost = nil
	f.PutRecord(overwritten, true)
	if len(f.lost) != 0 || len(f.Names(overwritten)) != 0 {
		t.Errorf("reported %v", f.lost)
	}
}

// A name stays in the record for a while after its pin has gone, because the pin may come
// later than the record that names it.
func TestIndex_NamesThatAreOver(t *testing.T) {
	f := newFixture()
	rec := made(2, 2000, revision(made(1, 1000)))
	f.PutRecord(rec, false)
	f.Refresh()
	f.now = f.now.Add(overTime - 1)
	f.Refresh()
	if len(f.Names(rec)) != 1 {
		t.Error("it is left out too soon")
	}
	f.now = f.now.Add(1)
	if len(f.Names(rec)) != 0 {
		t.Error("it is kept for ever")
	}
}

// Whatever happens to a pinset, in whatever order and with whatever gaps a peer gets to
// see it: in the end it shows what the state says.
func TestIndex_EndsTheSameInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		state := make(map[cid.Cid]api.Pin)
		watching, clock := newFixture(), int64(10_000)
		// enter has the watching peer see the state of a key.
		enter := func(f *fixture, key cid.Cid) {
			if rec, ok := state[key]; ok {
				f.PutRecord(rec, false)
			} else {
				f.DeleteRecord(key)
			}
		}
		var missed []cid.Cid
		changed := func(key cid.Cid) {
			if rapid.Bool().Draw(t, "seen at once") {
				enter(watching, key)
			} else {
				missed = append(missed, key)
			}
		}
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			clock++
			n, o := rapid.IntRange(0, 4).Draw(t, "pin"), rapid.IntRange(0, 4).Draw(t, "other pin")
			key, other := pinsvctest.RawCID(n), pinsvctest.RawCID(o)
			rec, found := state[key]
			switch rapid.SampledFrom([]string{"add", "replace", "replace", "delete", "other tool", "time"}).Draw(t, "step") {
			case "add":
				fresh := made(n, clock, pinrecord.ReplacedBy(rec)...)
				if found && rapid.Bool().Draw(t, "known") {
					created, _ := pinrecord.CreatedOf(rec)
					pinrecord.Stamp(fresh, created)
					pinrecord.Revise(fresh, time.UnixMilli(clock))
				}
				state[key] = fresh
			case "replace":
				if _, ok := state[other]; !ok || n == o {
					continue
				}
				state[key] = made(n, clock, append(pinrecord.ReplacedBy(rec), revision(state[other]))...)
			case "delete":
				delete(state, key)
			case "other tool":
				plain := pinrecord.New(key)
				plain.Timestamp = time.Unix(clock, 0)
				state[key] = plain
			case "time":
				watching.now = watching.now.Add(graceTime)
				for _, key := range watching.Refresh() {
					enter(watching, key)
				}
				continue
			}
			changed(key)
		}
		for _, key := range rapid.Permutation(missed).Draw(t, "late news") {
			enter(watching, key)
		}
		// Names that were lost are written back.
		for _, key := range watching.lost {
			if rec, ok := state[key]; ok {
				state[key] = pinrecord.WithReplaced(rec, watching.Names(rec))
				enter(watching, key)
			}
		}
		watching.now = watching.now.Add(graceTime)
		for _, key := range watching.Refresh() {
			enter(watching, key)
		}
		fresh := newFixture()
		var keys []cid.Cid
		for i := range 5 {
			keys = append(keys, pinsvctest.RawCID(i))
		}
		for _, key := range rapid.Permutation(keys).Draw(t, "order of the state") {
			enter(fresh, key)
		}
		for _, key := range fresh.Refresh() {
			enter(fresh, key)
		}
		var want []string
		for key, rec := range state {
			if !slices.ContainsFunc(keys, func(namer cid.Cid) bool {
				return slices.Contains(pinrecord.ReplacedBy(state[namer]), revision(rec))
			}) {
				want = append(want, key.KeyString())
			}
		}
		slices.Sort(want)
		if got := fresh.shown(); !slices.Equal(got, want) {
			t.Fatalf("a new peer shows %d pins, want %d", len(got), len(want))
		}
		if got := watching.shown(); !slices.Equal(got, want) {
			t.Fatalf("the watching peer shows %d pins, want %d", len(got), len(want))
		}
	})
}

// Two peers add names to a record at the same time, each as many as a request may. The record that
// has lost names gets them all back: what it does not name comes back with the next start.
func TestIndex_NamesOfSeveralPeersFitIntoOneRecord(t *testing.T) {
	f := newFixture()
	var here, there []pinrecord.Replaced
	recs := make(map[pinrecord.Replaced]api.Pin)
	for n := range pinrecord.MaxReplaced {
		one, two := made(100+n, 1000), made(500+n, 1000)
		f.PutRecord(one, false)
		f.PutRecord(two, false)
		recs[revision(one)], recs[revision(two)] = one, two
		here, there = append(here, revision(one)), append(there, revision(two))
	}
	f.PutRecord(made(2, 2000, here...), false)
	rec := made(2, 2000, there...)
	f.PutRecord(rec, false)
	if !slices.Equal(f.lost, []cid.Cid{rec.Cid.Cid}) {
		t.Fatalf("reported %v", f.lost)
	}
	restored := pinrecord.WithReplaced(rec, f.Names(rec))
	fresh := newFixture() // After a restart.
	for _, r := range append(here, there...) {
		fresh.PutRecord(recs[r], false)
	}
	fresh.PutRecord(restored, false)
	if n := fresh.view.Len(); n != 1 {
		t.Errorf("%d pins are shown, of which one is not replaced", n)
	}
}
