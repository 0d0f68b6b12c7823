package peer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/ipfs/boxo/datastore/dshelp"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/groupcommit"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// commitModes are the ways to commit: at once, and in batches of the operator.
func commitModes() map[string]groupcommit.Config {
	return map[string]groupcommit.Config{
		"at once":    {},
		"in batches": {Linger: 20 * time.Millisecond, LingerSize: 8},
	}
}

// Right after each answer the power fails: what was not synced is gone. Every pin, rename and
// removal that was answered is in the state after the restart.
func TestCommittedCRDT_PowerLoss(t *testing.T) {
	for mode, commits := range commitModes() {
		t.Run(mode, func(t *testing.T) {
			disk := vfs.NewCrashableMem()
			r := startReplica(t, openPebble(t, disk), commits)
			var others sync.WaitGroup
			stop := make(chan struct{})
			for n := range 8 { // So that commits have several writes.
				others.Go(func() {
					for i := 0; ; i++ {
						select {
						case <-stop:
							return
						default:
							noError(t, r.LogPin(context.Background(), testPin(1000+n, fmt.Sprint(i))))
						}
					}
				})
			}
			crashes := writeVersions(t, r, disk, 24, func(int, []string) {})
			close(stop)
			others.Wait()
			crashes.restart(t, commits)
		})
	}
}

// A process that dies between any two writes of a commit leaves the commit whole or not at all: the
// restarted peer and one that gets everything from it have the same state.
func TestCommittedCRDT_DeathWithinACommit(t *testing.T) {
	for writes := range 8 {
		t.Run(fmt.Sprint("after ", writes, " writes"), func(t *testing.T) {
			inner := dssync.MutexWrap(datastore.NewMapDatastore())
			store := &dying{Batching: inner, left: -1}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			r := startReplica(t, store, groupcommit.Config{RetryMin: time.Hour, Linger: time.Second, LingerSize: 3})
			var setup sync.WaitGroup
			for n := range 3 {
				setup.Go(func() { noError(t, r.LogPin(ctx, testPin(n, "before"))) })
			}
			setup.Wait()
			store.after(writes, -1)
			var died sync.WaitGroup
			for _, write := range []func() error{
				func() error { return r.LogPin(ctx, testPin(0, "renamed")) },
				func() error { return r.LogUnpin(ctx, testPin(1, "")) },
				func() error { return r.LogPin(ctx, testPin(3, "new")) },
			} {
				died.Go(func() {
					if err := write(); writes < 6 && !errors.Is(err, groupcommit.ErrUncertain) {
						t.Errorf("a write of the dying process: %v", err)
					}
				})
			}
			died.Wait()
			restarted := startReplica(t, inner, groupcommit.Config{})
			other := startReplica(t, dssync.MutexWrap(datastore.NewMapDatastore()), groupcommit.Config{}, restarted)
			noError(t, restarted.LogPin(t.Context(), testPin(9, "after"))) // So that the heads are announced.
			await.Success(t, "the other peer has the last pin", func() error {
				if other.name(t, testCID(9)) != "after" {
					return errors.New("not yet")
				}
				return nil
			})
			agree(t, restarted, other)
			renamed, removed := restarted.name(t, testCID(0)) == "renamed", restarted.name(t, testCID(1)) == ""
			if added := restarted.name(t, testCID(3)) == "new"; renamed != removed || removed != added {
				t.Errorf("the commit is there in part:\n%s", restarted.pins(t))
			}
		})
	}
}

// A commit that fails at any of its writes is made by itself when the disk is well again; nothing
// of the failed try stays at this peer alone, and the same request again is safe.
func TestCommittedCRDT_FailedCommit(t *testing.T) {
	for writes := range 7 {
		t.Run(fmt.Sprint("after ", writes, " writes"), func(t *testing.T) {
			store := &dying{Batching: dssync.MutexWrap(datastore.NewMapDatastore()), left: -1}
			r := startReplica(t, store, groupcommit.Config{RetryMin: time.Millisecond, RetryMax: 20 * time.Millisecond})
			other := startReplica(t, dssync.MutexWrap(datastore.NewMapDatastore()), groupcommit.Config{}, r)
			noError(t, r.LogPin(t.Context(), testPin(0, "before")))
			store.after(writes, 1)
			if err := r.LogPin(t.Context(), testPin(0, "renamed")); err != nil && !errors.Is(err, groupcommit.ErrUncertain) {
				t.Errorf("the failed commit: %v", err)
			}
			await.Success(t, "the commit is made", func() error { return r.LogPin(t.Context(), testPin(0, "again")) })
			noError(t, r.LogPin(t.Context(), testPin(0, "last")))
			await.Success(t, "the other peer has it", func() error {
				if name := other.name(t, testCID(0)); name != "last" {
					return fmt.Errorf("it has %q", name)
				}
				return nil
			})
			agree(t, r, other)
			noError(t, other.LogUnpin(t.Context(), testPin(0, ""))) // It removes what this peer has seen.
			await.Success(t, "the removal", func() error {
				if name := r.name(t, testCID(0)); name != "" {
					return fmt.Errorf("the pin is %q", name)
				}
				return nil
			})
		})
	}
}

// catchingUp starts two peers. The second has merged the newest values of the first, "theirs 19" of
// pins 0 to 2, and not yet what is below them.
func catchingUp(t *testing.T, commits groupcommit.Config) (ahead, behind *replica, release func()) {
	t.Helper()
	store := &held{
		Batching: dssync.MutexWrap(datastore.NewMapDatastore()), reached: make(chan struct{}, 100), released: make(chan struct{}),
	}
	ahead = startReplica(t, store, groupcommit.Config{})
	behind = startReplica(t, dssync.MutexWrap(datastore.NewMapDatastore()), commits)
	noError(t, behind.LogPin(t.Context(), testPin(100, "its own head")))
	for i := range 20 {
		for n := range 3 {
			noError(t, ahead.LogPin(t.Context(), testPin(n, fmt.Sprint("theirs ", i))))
		}
	}
	store.set("theirs 10")
	noError(t, behind.host.Connect(t.Context(), addrInfo(ahead)))
	await.Closed(t, "the walk", store.reached)
	awaitNames(t, behind, "theirs 19", "theirs 19", "theirs 19")
	return ahead, behind, sync.OnceFunc(func() { close(store.released) })
}

// awaitNames waits until the first pins have these names.
func awaitNames(t *testing.T, r *replica, names ...string) {
	t.Helper()
	await.Success(t, "the state", func() error {
		for n, name := range names {
			if got := r.name(t, testCID(n)); got != name {
				return fmt.Errorf("pin %d is %q, want %q", n, got, name)
			}
		}
		return nil
	})
}

// While a peer catches up, the blocks of its own are lower than what it has merged, and older values
// of a key are still to come. What it answers then is in its state, stays there, and wins at every
// peer; a new pin does not wait.
func TestCommittedCRDT_WritesOfAPeerThatCatchesUp(t *testing.T) {
	ahead, behind, release := catchingUp(t, groupcommit.Config{})
	defer release()
	noError(t, behind.LogPin(t.Context(), testPin(3, "ours")))
	answers := make(chan error, 3)
	for n := range 3 {
		go func() {
			if n == 2 {
				answers <- behind.LogUnpin(context.Background(), testPin(n, ""))
				return
			}
			answers <- behind.LogPin(context.Background(), testPin(n, "ours"))
		}()
	}
	select {
	case err := <-answers:
		t.Errorf("answered while older values were to come: %v", err)
	case <-time.After(200 * time.Millisecond): // None comes.
	}
	release()
	for range 3 {
		noError(t, <-answers)
	}
	for n, name := range []string{"ours", "ours", "", "ours"} {
		if got := behind.name(t, testCID(n)); got != name {
			t.Errorf("pin %d is %q when it was answered, want %q", n, got, name)
		}
	}
	awaitNames(t, ahead, "ours", "ours", "", "ours")
	agree(t, behind, ahead)
}

// A request does not wait for ever for a peer that catches up, and nothing of it was done.
func TestCommittedCRDT_AWriteThatCannotWaitIsRefused(t *testing.T) {
	ahead, behind, release := catchingUp(t, groupcommit.Config{})
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := behind.LogUnpin(ctx, testPin(0, "")); !errors.Is(err, groupcommit.ErrBehind) || errors.Is(err, groupcommit.ErrUncertain) {
		t.Errorf("a removal: %v", err)
	}
	release()
	noError(t, behind.LogPin(t.Context(), testPin(4, "after")))
	awaitNames(t, ahead, "theirs 19", "theirs 19", "theirs 19", "", "after")
	agree(t, behind, ahead)
}

// What the state ignores although the peer has caught up, as far as is known, is written in the form
// that removes what is there. It is in the state when it is answered, and unpins nothing on the way. To
// what the walk brings after that, which no write here has waited for, it is a change of the same time:
// both peers end with the same.
func TestCommittedCRDT_AnIgnoredWriteIsMadeAnew(t *testing.T) {
	ahead, behind, release := catchingUp(t, groupcommit.Config{Incoming: unawaited{}})
	defer release()
	await.Success(t, "the walk stands still", func() error {
		members, err := behind.kept.Members(t.Context(), dshelp.NewKeyFromBinary(testCID(0).Bytes()).String()[1:])
		if n := len(members.Live); err != nil || n < 9 { // 19 to 11.
			return fmt.Errorf("%d records of pin 0: %w", n, err)
		}
		return nil
	})
	before := len(behind.calls.since(0))
	noError(t, behind.LogPin(t.Context(), testPin(0, "ours")))
	noError(t, behind.LogUnpin(t.Context(), testPin(2, "")))
	for n, name := range []string{"ours", "theirs 19", ""} {
		if got := behind.name(t, testCID(n)); got != name {
			t.Errorf("pin %d is %q when it was answered, want %q", n, got, name)
		}
	}
	if calls := behind.calls.since(before); fmt.Sprint(calls) != "[track ours untrack]" {
		t.Errorf("the tracker was told %v: only pin 2 is removed", calls)
	}
	release()
	await.Success(t, "the end of the walk", func() error {
		if n := behind.kept.Unfinished(); n > 0 {
			return fmt.Errorf("%d branches", n)
		}
		return nil
	})
	agree(t, ahead, behind)
}

// unawaited are changes that no write waits for.
type unawaited struct{}

func (unawaited) Mark() uint64          { return 0 }
func (unawaited) Awaits(uint64) bool    { return false }
func (unawaited) Came() <-chan struct{} { return nil }

// held is a datastore that does not hand out blocks with some text until they are released.
type held struct {
	datastore.Batching
	mu       sync.Mutex
	text     string
	reached  chan struct{}
	released chan struct{}
}

func (h *held) set(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.text = text
}

func (h *held) Get(ctx context.Context, key datastore.Key) ([]byte, error) {
	value, err := h.Batching.Get(ctx, key)
	h.mu.Lock()
	wait := h.text != "" && strings.HasPrefix(key.String(), "/c/b/blocks/") && strings.Contains(string(value), h.text)
	h.mu.Unlock()
	if wait {
		select {
		case h.reached <- struct{}{}:
		default:
		}
		select {
		case <-h.released:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return value, err
}

// A write of a new pin reads its key in the store once: whether the state has it.
func TestCommittedCRDT_ReadsANewKeyOnce(t *testing.T) {
	store := &keyReads{Batching: dssync.MutexWrap(datastore.NewMapDatastore())}
	r := startReplica(t, store, groupcommit.Config{})
	noError(t, r.LogPin(t.Context(), testPin(0, "first")))
	store.take()
	st, err := r.State(t.Context())
	noError(t, err)
	if _, err := st.Get(t.Context(), testCID(1)); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("get: %v", err)
	}
	noError(t, r.LogPin(t.Context(), testPin(1, "second")))
	if keys := store.take(); len(keys) != 1 {
		t.Errorf("read %q", keys)
	}
	if got := r.name(t, testCID(1)); got != "second" {
		t.Errorf("the pin is %q", got)
	}
}

// keyReads notes the reads of what the CRDT keeps of its keys.
type keyReads struct {
	datastore.Batching
	mu   sync.Mutex
	keys []string
}

func (k *keyReads) note(key datastore.Key) {
	if strings.Contains(key.String(), "/s/") {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.keys = append(k.keys, key.String())
	}
}

func (k *keyReads) take() (keys []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	keys, k.keys = k.keys, nil
	return keys
}

func (k *keyReads) Get(ctx context.Context, key datastore.Key) ([]byte, error) {
	k.note(key)
	return k.Batching.Get(ctx, key)
}

func (k *keyReads) Has(ctx context.Context, key datastore.Key) (bool, error) {
	k.note(key)
	return k.Batching.Has(ctx, key)
}
