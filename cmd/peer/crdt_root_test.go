package peer

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	dssync "github.com/ipfs/go-datastore/sync"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/groupcommit"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// News of a peer's changes comes in any order: the newest is merged, and shown, while those below it are
// still to come. A removal right then, before the block is marked as merged, removed the newest value only,
// was answered, and was undone by the ones below.
func TestCommittedCRDT_ARemovalOfWhatHasJustComeWaitsForWhatIsBelow(t *testing.T) {
	below := &held{
		Batching: dssync.MutexWrap(datastore.NewMapDatastore()), reached: make(chan struct{}, 100), released: make(chan struct{}),
	}
	store := &heldRoot{
		Batching: dssync.MutexWrap(datastore.NewMapDatastore()), text: "newest",
		reached: make(chan struct{}), released: make(chan struct{}), listed: make(chan struct{}, 100),
	}
	ahead := startReplica(t, below, groupcommit.Config{})
	behind := startReplica(t, store, groupcommit.Config{})
	releaseBelow, releaseMark := sync.OnceFunc(func() { close(below.released) }), sync.OnceFunc(func() { close(store.released) })
	defer releaseBelow()
	defer releaseMark()
	noError(t, behind.LogPin(t.Context(), testPin(100, "its own head")))
	for _, name := range []string{"old", "newer", "newest"} {
		noError(t, ahead.LogPin(t.Context(), testPin(0, name)))
	}
	below.set("newer")
	noError(t, behind.host.Connect(t.Context(), addrInfo(ahead)))
	await.Closed(t, "the newest change, not marked as merged", store.reached)
	awaitNames(t, behind, "newest")
	removed := make(chan error, 1)
	go func() { removed <- behind.LogUnpin(context.Background(), testPin(0, "")) }()
	select {
	case <-store.listed:
		t.Error("what is to be removed was listed before all was there")
	case <-time.After(200 * time.Millisecond): // It is not.
	}
	releaseMark()
	select {
	case err := <-removed:
		t.Errorf("answered while older values were to come: %v", err)
		removed <- err
	case <-time.After(200 * time.Millisecond): // It is not.
	}
	releaseBelow()
	noError(t, <-removed)
	await.Success(t, "the removal at the other peer", func() error {
		if name := ahead.name(t, testCID(0)); name != "" {
			return fmt.Errorf("the pin is %q", name)
		}
		return nil
	})
	agree(t, ahead, behind)
}

// heldRoot is a datastore that does not take the mark that a block with some text is merged until it is
// released.
type heldRoot struct {
	datastore.Batching
	text              string
	reached, released chan struct{}
	listed            chan struct{} // has a value after the elements of a key were listed
	mu                sync.Mutex
	mark              string // the key of the mark
}

func (h *heldRoot) Query(ctx context.Context, q query.Query) (query.Results, error) {
	if strings.HasPrefix(q.Prefix, "/c/s/s/") {
		select {
		case h.listed <- struct{}{}:
		default:
		}
	}
	return h.Batching.Query(ctx, q)
}

func (h *heldRoot) Batch(ctx context.Context) (datastore.Batch, error) {
	b, err := h.Batching.Batch(ctx)
	return &heldRootBatch{Batch: b, store: h}, err
}

// holds notes the block, and reports whether the key is its mark.
func (h *heldRoot) holds(key string, value []byte) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if id, ok := strings.CutPrefix(key, "/c/b/blocks/"); ok && strings.Contains(string(value), h.text) {
		h.mark = "/c/b/" + id
	}
	return key == h.mark
}

type heldRootBatch struct {
	datastore.Batch
	store *heldRoot
	holds bool
}

func (b *heldRootBatch) Put(ctx context.Context, key datastore.Key, value []byte) error {
	b.holds = b.holds || b.store.holds(key.String(), value)
	return b.Batch.Put(ctx, key, value)
}

func (b *heldRootBatch) Commit(ctx context.Context) error {
	if b.holds {
		close(b.store.reached) // It is marked once.
		select {
		case <-b.store.released:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return b.Batch.Commit(ctx)
}
