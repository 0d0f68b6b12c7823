package peer

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
)

// Writes of every kind are refused while too little is free, and reads are not (U81 in
// docs/upstream-faults.md).
func TestReservedStore_RefusesWritesBeforeTheDiskIsFull(t *testing.T) {
	var free atomic.Uint64
	free.Store(100)
	s := &reservedStore{
		Batching: dssync.MutexWrap(datastore.NewMapDatastore()), reserve: 100,
		free: func() (uint64, bool) { return free.Load(), true },
	}
	ctx, key, other := t.Context(), datastore.NewKey("a"), datastore.NewKey("b")
	noError(t, s.Put(ctx, key, []byte("value")))
	batch, err := s.Batch(ctx)
	noError(t, err)
	noError(t, batch.Put(ctx, other, []byte("value")))
	free.Store(99)
	for name, err := range map[string]error{
		"put": s.Put(ctx, other, nil), "delete": s.Delete(ctx, key), "batch": batch.Commit(ctx),
	} {
		if !errors.Is(err, errStoreFull) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if value, err := s.Get(ctx, key); err != nil || string(value) != "value" {
		t.Errorf("%q, %v", value, err)
	}
	free.Store(100)
	noError(t, batch.Commit(ctx))
	noError(t, s.Delete(ctx, key))
}
