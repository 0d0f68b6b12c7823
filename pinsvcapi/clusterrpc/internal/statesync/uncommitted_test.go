package statesync

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func write(n int, before, after Versioned) Write {
	return Write{
		Key: pinsvctest.RawCID(n), Before: before, After: after,
		Mutation: Mutation{Absolute: true, Apply: func(Versioned) Versioned { return after }},
	}
}

func pending(u *Uncommitted, n int) bool {
	_, pending := u.Resubmitted(pinsvctest.RawCID(n))
	return pending
}

func TestUncommitted_ANewerWriteOfAnotherPeerWins(t *testing.T) {
	u := NewUncommitted(time.Now, time.Minute, false)
	u.add(write(1, Versioned{}, version(named(1, "ours"))))
	got := u.Resolve(pinsvctest.RawCID(1), u.Sequence(), version(named(1, "theirs")))
	if got.Rec.Name != "theirs" || u.Any() {
		t.Errorf("%q, %d uncommitted", got.Rec.Name, u.Len())
	}
}

func TestUncommitted_AStateReadBeforeTheWriteDecidesNothing(t *testing.T) {
	u := NewUncommitted(time.Now, time.Minute, false)
	seq := u.Sequence()
	u.add(write(1, version(named(1, "before")), version(named(1, "ours"))))
	got := u.Resolve(pinsvctest.RawCID(1), seq, version(named(1, "long before")))
	if got.Rec.Name != "ours" || !pending(u, 1) {
		t.Errorf("%q, %d uncommitted", got.Rec.Name, u.Len())
	}
}

// Another tool may undo a write the moment that it is committed.
func TestUncommitted_AWriteThatOthersUndoIsOver(t *testing.T) {
	for name, undone := range map[string]Event{
		"removed": {Removed: true}, "written": {Written: time.Unix(1_700_000_000, 0), Form: 7},
	} {
		t.Run(name, func(t *testing.T) {
			var clock clusterfake.Clock
			u := NewUncommitted(clock.Now, time.Hour, false)
			key, ours := pinsvctest.RawCID(1), version(named(1, "ours"))
			undone.CID = key
			u.add(write(1, Versioned{}, ours))
			u.announced(undone) // Of a change before the write.
			if !u.Any() {
				t.Error("an event of an earlier change ends it")
			}
			u.announced(Event{CID: key, Written: ours.Rec.Timestamp, Form: ours.form()})
			if got := u.Resolve(key, u.Sequence(), Versioned{}); !got.Found {
				t.Error("a state that does not show it yet ends it")
			}
			u.announced(undone)
			if got := u.Resolve(key, u.Sequence(), Versioned{}); got.Found || u.Any() {
				t.Error("it is still believed in")
			}
		})
	}
}

// A CRDT announces a write before it commits it, and the commit may fail.
func TestUncommitted_AnAnnouncedWriteMayBeLost(t *testing.T) {
	var clock clusterfake.Clock
	u := NewUncommitted(clock.Now, time.Minute, false)
	ours := version(named(1, "ours"))
	u.add(write(1, Versioned{}, ours))
	u.announced(Event{CID: pinsvctest.RawCID(1), Form: ours.form()})
	clock.Advance(time.Minute)
	if overdue := u.Overdue(); len(overdue) != 1 {
		t.Errorf("overdue %v", overdue)
	}
}

// Raft loses no accepted write, and announces it when it is applied. One that its state
// does not show in the end was undone by a write of another peer.
func TestUncommitted_ADurableWriteIsNeverOverdue(t *testing.T) {
	for name, tt := range map[string]struct {
		announced bool
		after     time.Duration
	}{"announced": {true, time.Minute}, "not announced": {false, time.Minute << durableShift}} {
		t.Run(name, func(t *testing.T) {
			var clock clusterfake.Clock
			u := NewUncommitted(clock.Now, time.Minute, true)
			ours := version(named(1, "ours"))
			u.add(write(1, Versioned{}, ours))
			if tt.announced {
				u.announced(Event{CID: pinsvctest.RawCID(1), Form: ours.form()})
			}
			clock.Advance(tt.after - 1)
			if overdue, ended := u.Overdue(), u.EndOverdue(); len(overdue)+len(ended) != 0 {
				t.Errorf("too early: overdue %v, ended %v", overdue, ended)
			}
			clock.Advance(1)
			if overdue, ended := u.Overdue(), u.EndOverdue(); len(overdue) != 0 || len(ended) != 1 || u.Any() {
				t.Errorf("overdue %v, ended %v", overdue, ended)
			}
		})
	}
}

// C1: a write that came after Overdue is never replaced by the one that was overdue.
func TestUncommitted_ResubmissionIsDecidedWhenItIsMade(t *testing.T) {
	var clock clusterfake.Clock
	u := NewUncommitted(clock.Now, time.Minute, false)
	key := pinsvctest.RawCID(1)
	a, b := version(named(1, "a")), version(named(1, "b"))
	u.add(write(1, Versioned{}, a))
	clock.Advance(time.Minute)
	if overdue := u.Overdue(); len(overdue) != 1 {
		t.Fatalf("overdue %v", overdue)
	}
	m, id, ok := u.Resubmission(key)
	if !ok {
		t.Fatal("not overdue")
	}
	u.add(write(1, a, b))
	if _, _, ok := u.Resubmission(key); ok {
		t.Error("a write of this moment is overdue")
	}
	u.WasResubmitted(key, id, m.Apply(Versioned{}))
	u.Settled(key, id)
	if got := u.Resolve(key, u.Sequence(), a); got.Rec.Name != "b" || !pending(u, 1) {
		t.Errorf("%q, pending %t", got.Rec.Name, pending(u, 1))
	}
}

func TestUncommitted_ResubmissionsComeLessAndLessOften(t *testing.T) {
	var clock clusterfake.Clock
	u := NewUncommitted(clock.Now, time.Minute, false)
	key := pinsvctest.RawCID(1)
	u.add(write(1, Versioned{}, version(named(1, "a"))))
	for i := range 9 {
		wait := time.Minute << min(i, 6)
		clock.Advance(wait - time.Second)
		if len(u.Overdue()) != 0 {
			t.Fatalf("overdue before %s", wait)
		}
		clock.Advance(time.Second)
		m, id, ok := u.Resubmission(key)
		if len(u.Overdue()) != 1 || !ok {
			t.Fatalf("not overdue after %s", wait)
		}
		u.WasResubmitted(key, id, m.Apply(Versioned{}))
		if times, _ := u.Resubmitted(key); times != i+1 || u.Resubmissions() != uint64(i+1) {
			t.Fatalf("resubmitted %d times, want %d", times, i+1)
		}
	}
}

func TestUncommitted_DueReadsComeLessAndLessOften(t *testing.T) {
	var clock clusterfake.Clock
	u := NewUncommitted(clock.Now, time.Hour, false)
	u.add(write(1, Versioned{}, version(named(1, "a"))))
	reads := 0
	for range 60 * 10 {
		clock.Advance(100 * time.Millisecond)
		reads += len(u.DueReads())
	}
	if reads < 10 || reads > 60 {
		t.Errorf("%d reads in a minute", reads)
	}
}

func wantFull(t *testing.T, u *Uncommitted, n int) {
	t.Helper()
	err := u.Room(pinsvctest.RawCID(n))
	if pinsvc.KindOf(err) != pinsvc.KindUnavailable || !strings.Contains(pinsvc.FailureOf(err).Details, "consensus.crdt.batching.max_batch_age") {
		t.Errorf("pin %d: %v, want unavailable and the configuration key", n, err)
	}
}

func wantRoom(t *testing.T, u *Uncommitted, n int) {
	t.Helper()
	if err := u.Room(pinsvctest.RawCID(n)); err != nil {
		t.Errorf("pin %d: %v", n, err)
	}
}

func TestUncommitted_IsBoundedByCount(t *testing.T) {
	u := NewUncommitted(time.Now, time.Minute, false)
	for i := range maxUncommitted {
		if i == maxUncommitted-1 {
			wantRoom(t, u, i)
		}
		u.add(write(i, Versioned{}, version(named(i, "a"))))
	}
	wantFull(t, u, maxUncommitted)
	wantRoom(t, u, 1) // It takes no more keys.
	u.Resolve(pinsvctest.RawCID(0), u.Sequence(), version(named(0, "a")))
	wantRoom(t, u, maxUncommitted)
}

func TestUncommitted_IsBoundedByBytes(t *testing.T) {
	u := NewUncommitted(time.Now, time.Minute, false)
	text := strings.Repeat("x", 1<<20)
	large := func(i int) Versioned {
		rec := named(i, "large")
		rec.Metadata = map[string]string{"text": text}
		return version(rec)
	}
	n := 0
	for ; u.Room(pinsvctest.RawCID(n)) == nil; n++ {
		if n > 2*maxUncommittedBytes>>20 {
			t.Fatal("there is no bound")
		}
		u.add(write(n, Versioned{}, large(n)))
	}
	wantFull(t, u, n)
	// What is committed, undone or replaced by something small makes room, all of it.
	for i := range n {
		switch i % 3 {
		case 0:
			u.Resolve(pinsvctest.RawCID(i), u.Sequence(), large(i))
		case 1:
			u.Resolve(pinsvctest.RawCID(i), u.Sequence(), version(named(i, "theirs")))
		default:
			u.add(write(i, large(i), version(named(i, "small"))))
			u.Resolve(pinsvctest.RawCID(i), u.Sequence(), version(named(i, "small")))
		}
	}
	if u.Any() || u.bytes != 0 {
		t.Errorf("%d writes, %d bytes are left", u.Len(), u.bytes)
	}
	wantRoom(t, u, n)
}

func TestUncommitted_IsBoundedByVersionsOfOneKey(t *testing.T) {
	u := NewUncommitted(time.Now, time.Minute, false)
	last, n := Versioned{}, 0
	for ; u.Room(pinsvctest.RawCID(1)) == nil; n++ {
		if n > 2*maxEarlier {
			t.Fatal("there is no bound")
		}
		next := version(named(1, fmt.Sprint(n)))
		u.add(write(1, last, next))
		last = next
	}
	wantFull(t, u, 1)
	wantRoom(t, u, 2)
	u.Resolve(pinsvctest.RawCID(1), u.Sequence(), last)
	wantRoom(t, u, 1)
}

// C19: the versions that the state may show were copied with each write, which made
// re-adds of one key cost O(n²).
func TestUncommitted_ReAddsOfOneKeyCostTheSameEach(t *testing.T) {
	u := NewUncommitted(time.Now, time.Minute, false)
	const writes, window = 100_000, 1000
	last := version(named(1, "0"))
	var first, end time.Duration
	for i := range writes {
		next := version(named(1, fmt.Sprint(i+1)))
		w := write(1, last, next)
		began := time.Now()
		u.add(w)
		switch took := time.Since(began); {
		case i < window:
			first += took
		case i >= writes-window:
			end += took
		}
		last = next
	}
	// A copy of all versions would make it 200.
	if end > 40*max(first, time.Millisecond) {
		t.Errorf("the first %d writes took %s, the last %s", window, first, end)
	}
}
