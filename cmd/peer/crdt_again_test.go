package peer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/groupcommit"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// twoHeads starts two peers whose next commits join two heads. The disk of the first can fail, and
// its commits are tried again after a second.
func twoHeads(t *testing.T) (store *dying, a, b *replica) {
	t.Helper()
	store = &dying{Batching: dssync.MutexWrap(datastore.NewMapDatastore()), left: -1}
	a, b = twoHeadsOn(t, store)
	return store, a, b
}

func twoHeadsOn(t *testing.T, store datastore.Batching) (a, b *replica) {
	t.Helper()
	a = startReplica(t, store, groupcommit.Config{RetryMin: time.Second, RetryMax: time.Second})
	b = startReplica(t, dssync.MutexWrap(datastore.NewMapDatastore()), groupcommit.Config{})
	noError(t, a.LogPin(t.Context(), testPin(0, "at a")))
	noError(t, b.LogPin(t.Context(), testPin(1, "at b")))
	noError(t, b.host.Connect(t.Context(), addrInfo(a)))
	awaitNames(t, a, "at a", "at b")
	awaitNames(t, b, "at a", "at b")
	return a, b
}

// afterRetries makes a commit at both peers that follows all that is tried again: until then none is
// accepted.
func afterRetries(t *testing.T, a, b *replica) {
	t.Helper()
	await.Success(t, "writes", func() error { return a.LogPin(t.Context(), testPin(9, "last")) })
	await.Success(t, "the last", func() error {
		if got := b.name(t, testCID(9)); got != "last" {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
	agree(t, a, b)
}

// A commit joins two heads. Its first head is on the disk, and its write is answered; the second one
// cannot be written. The other peer sees the pin and deletes it: what is tried again does not undo that.
func TestCommittedCRDT_ARetryUndoesNoDeleteOfAnotherPeer(t *testing.T) {
	answered := 0
	for n := 5; n < 7; n++ { // The second head, and what comes after it.
		store, a, b := twoHeads(t)
		store.after(n, 1)
		err := a.LogPin(t.Context(), testPin(2, "pin"))
		if err != nil {
			if !errors.Is(err, groupcommit.ErrUncertain) {
				t.Errorf("after %d writes: %v", n, err)
			}
			continue
		}
		answered++
		await.Success(t, "b has the pin", func() error {
			if b.name(t, testCID(2)) != "pin" {
				return errors.New("not yet")
			}
			return nil
		})
		noError(t, b.LogUnpin(t.Context(), testPin(2, "")))
		afterRetries(t, a, b)
		if na, nb := a.name(t, testCID(2)), b.name(t, testCID(2)); na != "" || nb != "" {
			t.Errorf("after %d writes: the deleted pin is %q at a, %q at b", n, na, nb)
		}
	}
	if answered == 0 {
		t.Error("no write was answered before the failure")
	}
}

// As above, for an answered delete whose pin another peer adds again.
func TestCommittedCRDT_ARetryUndoesNoPinOfAnotherPeer(t *testing.T) {
	store, a, b := twoHeads(t)
	store.after(5, 1) // Block, merge, mark, first head, sync; the second head fails.
	noError(t, a.LogUnpin(t.Context(), testPin(0, "")))
	awaitNames(t, b, "")
	noError(t, b.LogPin(t.Context(), testPin(0, "again")))
	afterRetries(t, a, b)
	if na, nb := a.name(t, testCID(0)), b.name(t, testCID(0)); na != "again" || nb != "again" {
		t.Errorf("the pin that b accepted is %q at a, %q at b", na, nb)
	}
}

// lateFault is a datastore that fails one read of whether a block is processed after the next head was
// written, which is when go-ds-crdt comes to the second head that a block joins.
type lateFault struct {
	datastore.Batching
	armed, reached atomic.Bool
}

func (l *lateFault) Batch(ctx context.Context) (datastore.Batch, error) {
	b, err := l.Batching.Batch(ctx)
	return &lateBatch{Batch: b, store: l}, err
}

func (l *lateFault) Has(ctx context.Context, key datastore.Key) (bool, error) {
	if name := key.String(); strings.HasPrefix(name, "/c/b/") && !strings.HasPrefix(name, "/c/b/blocks/") && l.reached.Swap(false) {
		return false, errDied
	}
	return l.Batching.Has(ctx, key)
}

type lateBatch struct {
	datastore.Batch
	store *lateFault
	head  bool
}

func (b *lateBatch) Put(ctx context.Context, key datastore.Key, value []byte) error {
	b.head = b.head || strings.HasPrefix(key.String(), "/c/h/")
	return b.Batch.Put(ctx, key, value)
}

func (b *lateBatch) Commit(ctx context.Context) error {
	err := b.Batch.Commit(ctx)
	if b.head && b.store.armed.Swap(false) {
		b.store.reached.Store(true)
	}
	return err
}

// A commit fails after its sync in a way that is not known here, so that go-ds-crdt keeps its delta (U95).
// What it added is not added again.
func TestCommittedCRDT_AFailureAfterTheSyncAddsNothingAgain(t *testing.T) {
	store := &lateFault{Batching: dssync.MutexWrap(datastore.NewMapDatastore())}
	a, b := twoHeadsOn(t, store)
	store.armed.Store(true)
	noError(t, a.LogPin(t.Context(), testPin(2, "pin")))
	if err := a.LogPin(t.Context(), testPin(3, "refused")); !errors.Is(err, groupcommit.ErrUnavailable) {
		t.Errorf("the commit did not fail: %v", err)
	}
	awaitNames(t, b, "at a", "at b", "pin")
	noError(t, b.LogUnpin(t.Context(), testPin(2, "")))
	afterRetries(t, a, b)
	if na, nb := a.name(t, testCID(2)), b.name(t, testCID(2)); na != "" || nb != "" {
		t.Errorf("the deleted pin is %q at a, %q at b", na, nb)
	}
}

// A rename is merged, and its commit fails after that. What another peer does to the pin until the disk is
// well may be older to the CRDT than what the failed try has left, which hides it then: it stays all the
// same, and nothing of the rename is left at its own peer (U53, U95).
func TestCommittedCRDT_ATryThatWasMergedHidesNoNewerChange(t *testing.T) {
	for what, name := range map[string]string{"a delete": "", "a rename that is hidden": "new", "a rename that is not": "a newer name"} {
		t.Run(what, func(t *testing.T) {
			store := &refusing{Batching: dssync.MutexWrap(datastore.NewMapDatastore())}
			a := startReplica(t, store, groupcommit.Config{RetryMin: time.Hour}) // Its commits are tried again when the test says so.
			b := startReplica(t, dssync.MutexWrap(datastore.NewMapDatastore()), groupcommit.Config{}, a)
			noError(t, a.LogPin(t.Context(), testPin(0, "first")))
			awaitNames(t, b, "first")
			store.set(func(key string) bool { return strings.HasPrefix(key, "/c/h/") })
			if err := a.LogPin(t.Context(), testPin(0, "ours")); !errors.Is(err, groupcommit.ErrUncertain) {
				t.Errorf("the commit did not fail: %v", err)
			}
			if name == "" {
				noError(t, b.LogUnpin(t.Context(), testPin(0, "")))
			} else {
				noError(t, b.LogPin(t.Context(), testPin(0, name)))
			}
			noError(t, b.LogPin(t.Context(), testPin(1, "next")))
			await.Success(t, "both changes of b", func() error {
				if got, n := a.name(t, testCID(1)), a.kept.Unfinished(); got != "next" || n > 0 { // It may come first.
					return fmt.Errorf("pin 1 is %q, %d branches", got, n)
				}
				return nil
			})
			store.set(nil)
			a.opened.Load().committer.Resume()
			afterRetries(t, a, b)
			if na, nb := a.name(t, testCID(0)), b.name(t, testCID(0)); na != name || nb != name {
				t.Errorf("the pin is %q at a, %q at b, want %q", na, nb, name)
			}
			noError(t, b.LogUnpin(t.Context(), testPin(0, ""))) // It removes what b has seen.
			noError(t, b.LogPin(t.Context(), testPin(1, "last")))
			await.Success(t, "the last change", func() error {
				if got, n := a.name(t, testCID(1)), a.kept.Unfinished(); got != "last" || n > 0 {
					return fmt.Errorf("pin 1 is %q, %d branches", got, n)
				}
				return nil
			})
			if got := a.name(t, testCID(0)); got != "" {
				t.Errorf("the deleted pin is %q at the peer whose commit had failed", got)
			}
		})
	}
}

// What a failed try has left is undone by one that fails itself, so that the state has again what was there
// before. That is no newer change: the commit is made when the disk is well.
func TestCommittedCRDT_ATryThatIsUndoneIsNotOvertaken(t *testing.T) {
	store := &refusing{Batching: dssync.MutexWrap(datastore.NewMapDatastore())}
	a := startReplica(t, store, groupcommit.Config{RetryMin: 10 * time.Millisecond, RetryMax: 10 * time.Millisecond})
	b := startReplica(t, dssync.MutexWrap(datastore.NewMapDatastore()), groupcommit.Config{}, a)
	noError(t, a.LogPin(t.Context(), testPin(0, "first")))
	awaitNames(t, b, "first")
	head := func(key string) bool { return strings.HasPrefix(key, "/c/h/") }
	store.set(head)
	if err := a.LogPin(t.Context(), testPin(0, "ours")); !errors.Is(err, groupcommit.ErrUncertain) {
		t.Errorf("the commit did not fail: %v", err)
	}
	store.set(func(key string) bool { return head(key) || strings.HasPrefix(key, "/c/s/s/") })
	noError(t, b.LogPin(t.Context(), testPin(1, "theirs")))
	awaitNames(t, a, "first", "theirs")
	before, _, _ := store.seen()
	await.Success(t, "more tries", func() error {
		if tries, _, _ := store.seen(); tries < before+3 {
			return fmt.Errorf("%d", tries-before)
		}
		return nil
	})
	store.set(nil)
	afterRetries(t, a, b)
	if na, nb := a.name(t, testCID(0)), b.name(t, testCID(0)); na != "ours" || nb != "ours" {
		t.Errorf("the pin is %q at a, %q at b", na, nb)
	}
}
