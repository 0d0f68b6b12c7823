package statesync

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func write(n int, before, after Versioned) Write {
	return Write{Key: pinsvctest.RawCID(n), Before: before, After: after}
}

func pending(u *Uncommitted, n int) bool { return u.Pending(pinsvctest.RawCID(n)) }

// age lets time pass for a process that runs, and returns what Age did.
func age(u *Uncommitted, clock *clusterfake.Clock, d time.Duration) (due, over []cid.Cid) {
	for d > 0 {
		step := min(d, time.Second)
		clock.Advance(step)
		d -= step
		nowDue, nowOver := u.Age()
		due, over = append(due, nowDue...), append(over, nowOver...)
	}
	return due, over
}

func TestUncommitted_ANewerWriteOfAnotherPeerWins(t *testing.T) {
	u := NewUncommitted(time.Now, time.Minute)
	u.add(write(1, Versioned{}, version(named(1, "ours"))), nil)
	got := u.Resolve(pinsvctest.RawCID(1), u.Sequence(), version(named(1, "theirs")))
	if got.Rec.Name != "theirs" || u.Any() {
		t.Errorf("%q, %d uncommitted", got.Rec.Name, u.Len())
	}
}

func TestUncommitted_AStateReadBeforeTheWriteDecidesNothing(t *testing.T) {
	u := NewUncommitted(time.Now, time.Minute)
	seq := u.Sequence()
	u.add(write(1, version(named(1, "before")), version(named(1, "ours"))), nil)
	got := u.Resolve(pinsvctest.RawCID(1), seq, version(named(1, "long before")))
	if got.Rec.Name != "ours" || !pending(u, 1) {
		t.Errorf("%q, %d uncommitted", got.Rec.Name, u.Len())
	}
}

// Another tool may undo a write the moment that it is committed.
func TestUncommitted_AWriteThatOthersUndoIsOver(t *testing.T) {
	for name, undone := range map[string]Event{
		"removed": {Removed: true}, "written": {Form: 7},
	} {
		t.Run(name, func(t *testing.T) {
			var clock clusterfake.Clock
			u := NewUncommitted(clock.Now, time.Hour)
			key, ours := pinsvctest.RawCID(1), version(named(1, "ours"))
			undone.CID = key
			u.add(write(1, Versioned{}, ours), nil)
			u.announced(undone) // Of a change before the write.
			if !u.Any() {
				t.Error("an event of an earlier change ends it")
			}
			u.announced(Event{CID: key, Form: ours.form()})
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

// A write that the state does not show in the end was undone by another peer if it was
// announced, and lost if it was not.
func TestUncommitted_AWriteThatIsNeverShownEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		announced bool
		after     time.Duration
		lost      uint64
	}{"announced": {true, time.Minute, 0}, "not announced": {false, time.Minute << giveUpShift, 1}} {
		t.Run(name, func(t *testing.T) {
			var clock clusterfake.Clock
			u := NewUncommitted(clock.Now, time.Minute)
			ours := version(named(1, "ours"))
			u.add(write(1, Versioned{}, ours), nil)
			if tt.announced {
				u.announced(Event{CID: pinsvctest.RawCID(1), Form: ours.form()})
			}
			if _, over := age(u, &clock, tt.after-time.Second); len(over) != 0 {
				t.Errorf("too early: %v", over)
			}
			if _, over := age(u, &clock, time.Second); len(over) != 1 || u.Any() || u.Lost() != tt.lost {
				t.Errorf("over %v, %d lost", over, u.Lost())
			}
		})
	}
}

// A write that waited long for its batch is announced before the batch is committed, which may take
// a while: it is not over because it was accepted long ago.
func TestUncommitted_AWriteIsNotOverWhenItIsAnnouncedLate(t *testing.T) {
	var clock clusterfake.Clock
	u := NewUncommitted(clock.Now, time.Minute)
	key, ours := pinsvctest.RawCID(1), version(named(1, "ours"))
	u.add(write(1, Versioned{}, ours), nil)
	age(u, &clock, 10*time.Minute)
	for range 2 { // The same news again says nothing new.
		u.announced(Event{CID: key, Form: ours.form()})
		_, over := age(u, &clock, 29*time.Second)
		if got := u.Resolve(key, u.Sequence(), Versioned{}); len(over) != 0 || !got.Found {
			t.Errorf("over %v, %q", over, describe(got))
		}
	}
	if _, over := age(u, &clock, 2*time.Second); len(over) != 1 || u.Lost() != 0 {
		t.Errorf("a minute after the announcement: over %v, %d lost", over, u.Lost())
	}
}

// A process that was frozen for a day has not waited for its commit that long.
func TestUncommitted_AFrozenProcessHasNotWaited(t *testing.T) {
	var clock clusterfake.Clock
	u := NewUncommitted(clock.Now, time.Minute)
	ours := version(named(1, "ours"))
	u.add(write(1, Versioned{}, ours), nil)
	u.announced(Event{CID: pinsvctest.RawCID(1), Form: ours.form()})
	for _, d := range []time.Duration{24 * time.Hour, -48 * time.Hour, 24 * time.Hour} {
		clock.Advance(d)
		if _, over := u.Age(); len(over) != 0 {
			t.Fatalf("it is over after the clock went by %s", d)
		}
	}
}

func TestUncommitted_DueReadsComeLessAndLessOften(t *testing.T) {
	var clock clusterfake.Clock
	u := NewUncommitted(clock.Now, time.Hour)
	u.add(write(1, Versioned{}, version(named(1, "a"))), nil)
	due, _ := age(u, &clock, time.Minute)
	if reads := len(due); reads < 10 || reads > 60 {
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
	u := NewUncommitted(time.Now, time.Minute)
	for i := range maxUncommitted {
		if i == maxUncommitted-1 {
			wantRoom(t, u, i)
		}
		u.add(write(i, Versioned{}, version(named(i, "a"))), nil)
	}
	wantFull(t, u, maxUncommitted)
	wantRoom(t, u, 1) // It takes no more keys.
	u.Resolve(pinsvctest.RawCID(0), u.Sequence(), version(named(0, "a")))
	wantRoom(t, u, maxUncommitted)
}

func TestUncommitted_IsBoundedByBytes(t *testing.T) {
	u := NewUncommitted(time.Now, time.Minute)
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
		u.add(write(n, Versioned{}, large(n)), nil)
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
			u.add(write(i, large(i), version(named(i, "small"))), nil)
			u.Resolve(pinsvctest.RawCID(i), u.Sequence(), version(named(i, "small")))
		}
	}
	if u.Any() || u.bytes != 0 {
		t.Errorf("%d writes, %d bytes are left", u.Len(), u.bytes)
	}
	wantRoom(t, u, n)
}

func TestUncommitted_IsBoundedByVersionsOfOneKey(t *testing.T) {
	u := NewUncommitted(time.Now, time.Minute)
	last, n := Versioned{}, 0
	for ; u.Room(pinsvctest.RawCID(1)) == nil; n++ {
		if n > 2*maxEarlier {
			t.Fatal("there is no bound")
		}
		next := version(named(1, fmt.Sprint(n)))
		u.add(write(1, last, next), nil)
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
	u := NewUncommitted(time.Now, time.Minute)
	const writes, window = 100_000, 1000
	last := version(named(1, "0"))
	var first, end time.Duration
	for i := range writes {
		next := version(named(1, fmt.Sprint(i+1)))
		w := write(1, last, next)
		began := time.Now()
		u.add(w, nil)
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
