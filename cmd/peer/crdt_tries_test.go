package peer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/commitstore"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/groupcommit"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// refusing is a datastore that refuses some writes of commits of this peer.
type refusing struct {
	datastore.Batching
	mu      sync.Mutex
	refuses func(key string) bool
	tries   int // batches that were refused
	block   int // bytes of the largest block that was to be written
	first   int // of the first one while it refuses
}

func (r *refusing) set(refuses func(key string) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuses, r.tries, r.block, r.first = refuses, 0, 0, 0
}

// seen are the refused batches and the bytes of the first and of the largest block since set.
func (r *refusing) seen() (tries, first, largest int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tries, r.first, r.block
}

func (r *refusing) note(ctx context.Context, key datastore.Key, value []byte) (refused bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuses == nil || !commitstore.Watched(ctx) {
		return false
	}
	if strings.HasPrefix(key.String(), "/c/b/blocks/") {
		if r.block = max(r.block, len(value)); r.first == 0 {
			r.first = len(value)
		}
	}
	return r.refuses(key.String())
}

func (r *refusing) refuse() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tries++
	return errDied
}

func (r *refusing) Put(ctx context.Context, key datastore.Key, value []byte) error {
	if r.note(ctx, key, value) {
		return r.refuse()
	}
	return r.Batching.Put(ctx, key, value)
}

func (r *refusing) Batch(ctx context.Context) (datastore.Batch, error) {
	b, err := r.Batching.Batch(ctx)
	return &refusingBatch{Batch: b, store: r}, err
}

type refusingBatch struct {
	datastore.Batch
	store   *refusing
	refused bool
}

func (b *refusingBatch) Put(ctx context.Context, key datastore.Key, value []byte) error {
	b.refused = b.store.note(ctx, key, value) || b.refused
	return b.Batch.Put(ctx, key, value)
}

func (b *refusingBatch) Commit(ctx context.Context) error {
	if b.refused {
		return b.store.refuse()
	}
	return b.Batch.Commit(ctx)
}

// A commit of many writes fails more than a hundred times, at each of its steps: what is written in the end
// is no larger than at first, soon after the disk is well, and nothing of the tries is left (U101).
func TestCommittedCRDT_ManyFailedTries(t *testing.T) {
	const tries = 110
	prefix := func(p string) func(string) bool {
		return func(key string) bool { return strings.HasPrefix(key, p) }
	}
	for name, test := range map[string]struct {
		refuses func(key string) bool
		group   int
		others  int // changes of another peer that come meanwhile
		undone  int // blocks that may be undone
	}{
		"nothing is written":                 {refuses: prefix("/")},
		"nothing is written, others write":   {refuses: prefix("/"), group: 16, others: 10},
		"the block is written":               {refuses: prefix("/c/s/")},
		"the block is written, others write": {refuses: prefix("/c/s/"), group: 16, others: 10},
		"it is merged":                       {refuses: prefix("/c/h/"), group: 64},
		"it is merged, others write":         {refuses: prefix("/c/h/"), group: 16, others: 10, undone: 11},
	} {
		t.Run(name, func(t *testing.T) {
			group := cmp.Or(test.group, 256)
			store := &refusing{Batching: dssync.MutexWrap(datastore.NewMapDatastore())}
			a := startReplica(t, store, groupcommit.Config{
				RetryMin: time.Millisecond, RetryMax: time.Millisecond, Linger: time.Hour, LingerSize: group,
			})
			b := startReplica(t, dssync.MutexWrap(datastore.NewMapDatastore()), groupcommit.Config{}, a)
			noError(t, b.LogPin(t.Context(), testPin(group, "first")))
			got := func(r *replica, n int, want string) {
				t.Helper()
				await.Success(t, "a pin", func() error {
					if name := r.name(t, testCID(n)); name != want {
						return fmt.Errorf("pin %d is %q, want %q", n, name, want)
					}
					return nil
				})
			}
			got(a, group, "first")
			store.set(test.refuses)
			var writes sync.WaitGroup
			for n := range group {
				writes.Go(func() {
					if err := a.LogPin(context.Background(), testPin(n, "x")); !errors.Is(err, groupcommit.ErrUncertain) {
						t.Errorf("a write of a commit that fails: %v", err)
					}
				})
			}
			writes.Wait()
			awaitTries := func(n int) {
				await.Success(t, "tries", func() error {
					if made, _, _ := store.seen(); made < n {
						return fmt.Errorf("%d tries", made)
					}
					return nil
				})
			}
			for n := range test.others {
				noError(t, b.LogPin(t.Context(), testPin(group+1+n, "other")))
				got(a, group+1+n, "other")
				awaitTries((n + 1) * tries / (test.others + 1))
			}
			for n := 10; n <= tries; n += 10 { // For a busy machine.
				awaitTries(n)
			}
			made, first, largest := store.seen()
			began := time.Now()
			store.set(nil)
			await.Success(t, "changes are accepted", func() error {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
				defer cancel()
				if err := a.LogPin(ctx, testPin(1000, "left")); errors.Is(err, groupcommit.ErrUnavailable) {
					return err
				}
				return nil // It has come so far as to wait for others.
			})
			got(a, group-1, "x")
			got(b, group-1, "x")
			took := time.Since(began)
			t.Logf("%d tries of a commit of %d bytes, the largest has %d; made after %s", made, first, largest, took.Round(time.Millisecond))
			if took > 10*time.Second {
				t.Errorf("it was made %s after the disk was well", took)
			}
			if limit := first + test.undone*group*140 + 1000; largest > limit {
				t.Errorf("a block has %d bytes, more than %d", largest, limit)
			}
			agree(t, a, b)
			for n := range group { // They remove what b has seen: no element of a try is left at a.
				writes.Go(func() { noError(t, b.LogUnpin(t.Context(), testPin(n, ""))) })
			}
			writes.Wait()
			await.Success(t, "the removals", func() error {
				if rows := strings.Count(a.pins(t), "\n"); rows != test.others {
					return fmt.Errorf("%d pins", rows+1)
				}
				return nil
			})
			agree(t, a, b)
		})
	}
}
