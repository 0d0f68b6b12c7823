package crdtstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// caughtUp wants a replica to have all of another and its own value, with nothing left to be read.
func caughtUp(t *testing.T, when string, r, from *replica) {
	t.Helper()
	want := from.values()
	want["/own"] = "value"
	await.Success(t, when+", it has all", func() error {
		r.hear(from.heads())
		if got := r.values(); !maps.Equal(got, want) || r.store.Unfinished() > 0 || r.crdt.IsDirty(t.Context()) {
			return fmt.Errorf("%d branches, %d of %d values, dirty: %t", r.store.Unfinished(), len(got), len(want), r.crdt.IsDirty(t.Context()))
		}
		return nil
	})
}

// A disk takes no writes for a while in the midst of a walk, not the dirty mark either: the branch
// stayed unread until the next restart (U91).
func TestStore_AWalkGoesOnAfterTheDiskRefusedWrites(t *testing.T) {
	a := source(t, false)
	for left := 3; left < 120; left += 6 {
		d := newDisk()
		b := start(t, d, false)
		noError(t, b.put("own", "value"))
		d.killAfter(left)
		catchUp(t, b, a)
		d.killAfter(-1)
		caughtUp(t, fmt.Sprintf("refused after %d writes", left), b, a)
		b.stop()
	}
}

// A walk whose writes are tried again does not fail, and is not begun again.
func TestStore_AWalkWaitsWhileTheDiskRefusesWrites(t *testing.T) {
	a := source(t, false)
	for left := 3; left < 120; left += 6 {
		d := newDisk()
		refused, again := make(chan struct{}), make(chan struct{})
		var once sync.Once
		b := startWith(t, d, Options{Again: func(ctx context.Context, err error) bool {
			if ownOf(ctx) != nil || !errors.Is(err, errKilled) {
				return false
			}
			once.Do(func() { close(refused) })
			select {
			case <-again:
				return true
			case <-ctx.Done():
				return false
			}
		}})
		noError(t, b.put("own", "value"))
		b.reach(a)
		d.killAfter(left)
		b.hear(a.heads())
		<-refused
		if err := b.deleteOwn("own"); !errors.Is(err, errKilled) {
			t.Fatalf("a change of this peer is not told: %v", err)
		}
		d.killAfter(-1)
		close(again)
		caughtUp(t, fmt.Sprintf("refused after %d writes", left), b, a)
		b.stop()
	}
}
