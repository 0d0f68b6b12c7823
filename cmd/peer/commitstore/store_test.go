package commitstore

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/boxo/datastore/dshelp"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	dssync "github.com/ipfs/go-datastore/sync"
	mh "github.com/multiformats/go-multihash"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/groupcommit"
)

// syncs counts the syncs of a datastore.
type syncs struct {
	datastore.Batching
	mu    sync.Mutex
	count int
	fails error
}

func (s *syncs) Sync(context.Context, datastore.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	return s.fails
}

func newStore() (*Store, *syncs) {
	inner := &syncs{Batching: dssync.MutexWrap(datastore.NewMapDatastore())}
	return New(inner, "/c", Options{}), inner
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// replaceHead writes a head as go-ds-crdt does.
func replaceHead(t *testing.T, ctx context.Context, s *Store) error {
	t.Helper()
	b, err := s.Batch(ctx)
	noError(t, err)
	noError(t, b.Put(ctx, datastore.NewKey("/c/h/NEW"), []byte{1}))
	noError(t, b.Delete(ctx, datastore.NewKey("/c/h/OLD")))
	return b.Commit(ctx)
}

// A commit of this peer is synced once for each of its blocks, when the block becomes a head. What
// other peers wrote is not.
func TestStore_SyncsTheCommitsOfThisPeer(t *testing.T) {
	s, inner := newStore()
	noError(t, replaceHead(t, t.Context(), s))
	noError(t, s.Put(t.Context(), datastore.NewKey("/c/h/A"), []byte{1}))
	if inner.count != 0 {
		t.Errorf("%d syncs for another peer", inner.count)
	}
	ctx, effects := Watch(t.Context())
	for block := range 2 {
		noError(t, s.Put(ctx, datastore.NewKey("/c/b/blocks/NEW"), []byte("block")))
		if !effects.Begun() || inner.count != block {
			t.Errorf("begun %t, %d syncs", effects.Begun(), inner.count)
		}
		noError(t, replaceHead(t, ctx, s))
		noError(t, replaceHead(t, ctx, s)) // It joins two heads.
		if inner.count != block+1 {
			t.Errorf("%d syncs after %d blocks", inner.count, block+1)
		}
	}
	first, _ := Watch(t.Context())
	noError(t, s.Put(first, datastore.NewKey("/c/h/FIRST"), []byte{1})) // A peer without heads puts one.
	if inner.count != 3 {
		t.Errorf("%d syncs", inner.count)
	}
}

// go-ds-crdt only logs some failures to write a head.
func TestStore_ASyncThatFailsFailsTheCommit(t *testing.T) {
	s, inner := newStore()
	inner.fails = errors.New("broken")
	ctx, effects := Watch(t.Context())
	if err := replaceHead(t, ctx, s); !errors.Is(err, inner.fails) || !errors.Is(effects.Err(), inner.fails) {
		t.Errorf("%v, %v", err, effects.Err())
	}
}

// The writes of a commit are answered when it is synced, whatever the others are told later.
func TestEffects_TellsTheSyncOnce(t *testing.T) {
	s, inner := newStore()
	ctx, effects := Watch(t.Context())
	told := 0
	effects.OnSynced(func() {
		if told++; inner.count == 0 {
			t.Error("told before the sync")
		}
	})
	inner.fails = errors.New("broken")
	if err := replaceHead(t, ctx, s); err == nil || told != 0 {
		t.Errorf("%v, told %d times", err, told)
	}
	inner.fails = nil
	noError(t, s.Put(ctx, datastore.NewKey("/c/b/blocks/AGAIN"), []byte("block")))
	noError(t, replaceHead(t, ctx, s))
	noError(t, replaceHead(t, ctx, s)) // It joins two heads.
	if told != 1 {
		t.Errorf("told %d times", told)
	}
}

// No tomb names a block that this peer has only just written, unless the store may have got one from
// others.
func TestStore_AsksForNoTombsOfItsNewBlock(t *testing.T) {
	quiet := "NEW"
	inner := &syncs{Batching: dssync.MutexWrap(datastore.NewMapDatastore())}
	s := New(inner, "/c", Options{Quiet: func(id string) bool { return id == quiet }})
	tomb := func(id string) datastore.Key { return datastore.NewKey("/c/s/t/KEY/" + id) }
	for _, id := range []string{"NEW", "OLD"} {
		noError(t, inner.Put(t.Context(), tomb(id), nil))
	}
	asks := func(ctx context.Context, id string, want bool) {
		t.Helper()
		if has, err := s.Has(ctx, tomb(id)); err != nil || has != want {
			t.Errorf("a tomb of %s: %t, %v", id, has, err)
		}
	}
	ctx, _ := Watch(t.Context())
	asks(ctx, "NEW", true)
	noError(t, s.Put(ctx, datastore.NewKey("/c/b/blocks/NEW"), []byte("block")))
	asks(ctx, "NEW", false)
	asks(ctx, "OLD", true)
	asks(t.Context(), "NEW", true) // Not for the commit of this peer.
	quiet = ""
	asks(ctx, "NEW", true)
}

func TestEffects_OfKeys(t *testing.T) {
	s, _ := newStore()
	ctx, effects := Watch(t.Context())
	keyOf := func(name string) (api.Cid, string) {
		sum, err := mh.Sum([]byte(name), mh.SHA2_256, -1)
		noError(t, err)
		c := api.NewCid(cid.NewCidV1(cid.Raw, sum))
		return c, dshelp.NewKeyFromBinary(c.Bytes()).String()
	}
	added, addedKey := keyOf("added")
	ignored, ignoredKey := keyOf("ignored")
	removed, removedKey := keyOf("removed")
	kept, keptKey := keyOf("kept")
	write := func(f func(datastore.Batch) error) {
		b, err := s.Batch(ctx)
		noError(t, err)
		noError(t, f(b))
		noError(t, b.Commit(ctx))
	}
	if effects.Begun() {
		t.Error("it has begun at once")
	}
	write(func(b datastore.Batch) error { // putTombs
		return errors.Join(
			b.Delete(ctx, datastore.NewKey("/c/s/k"+addedKey+"/v")), b.Delete(ctx, datastore.NewKey("/c/s/k"+addedKey+"/p")),
			b.Delete(ctx, datastore.NewKey("/c/s/k"+removedKey+"/v")),
			b.Put(ctx, datastore.NewKey("/c/s/k"+keptKey+"/v"), []byte("other")),
			b.Put(ctx, datastore.NewKey("/c/s/t"+keptKey+"/ID"), nil),
		)
	})
	write(func(b datastore.Batch) error { // putElems
		return errors.Join(
			b.Put(ctx, datastore.NewKey("/c/s/s"+addedKey+"/ID"), nil),
			b.Put(ctx, datastore.NewKey("/c/s/k"+addedKey+"/v"), []byte("value")), b.Put(ctx, datastore.NewKey("/c/s/k"+addedKey+"/p"), []byte{2}),
			b.Put(ctx, datastore.NewKey("/c/s/s"+ignoredKey+"/ID"), nil),
		)
	})
	got := []groupcommit.Effect{effects.Of(added), effects.Of(ignored), effects.Of(removed), effects.Of(kept)}
	want := []groupcommit.Effect{groupcommit.EffectAdded, groupcommit.EffectNone, groupcommit.EffectRemoved, groupcommit.EffectKept}
	if !slices.Equal(got, want) || !effects.Begun() {
		t.Errorf("effects %v, want %v; begun %t", got, want, effects.Begun())
	}
}

// The provider of the CRDT's blocks goes on after the consensus was shut down (U54).
func TestStore_RefusesCallsAfterClose(t *testing.T) {
	s, inner := newStore()
	ctx, key := t.Context(), datastore.NewKey("/c/x")
	open, err := s.Batch(ctx)
	noError(t, err)
	noError(t, errors.Join(s.Put(ctx, key, nil), s.Sync(ctx, key)))
	noError(t, s.Close())
	_, errGet := s.Get(ctx, key)
	_, errHas := s.Has(ctx, key)
	_, errSize := s.GetSize(ctx, key)
	_, errQuery := s.Query(ctx, query.Query{})
	_, errBatch := s.Batch(ctx)
	for i, err := range []error{
		errGet, errHas, errSize, errQuery, errBatch, open.Commit(ctx), s.Put(ctx, key, nil), s.Delete(ctx, key), s.Sync(ctx, key),
	} {
		if !errors.Is(err, errClosed) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if inner.count != 1 {
		t.Errorf("%d syncs", inner.count)
	}
}
