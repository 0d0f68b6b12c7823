package crdtstore

import (
	"errors"
	"fmt"
	"testing"
	"time"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-datastore"
)

// replacement is a block that gives a key another value by removing the one that is there, with a replica
// that has made it.
func replacement(t *testing.T) (a *replica, block blocks.Block) {
	t.Helper()
	a = start(t, newDisk(), false)
	noError(t, a.put("key", "old"))
	noError(t, a.put("removed", "old"))
	batch, err := a.crdt.Batch(t.Context())
	noError(t, err)
	key, ctx := datastore.NewKey, t.Context()
	noError(t, errors.Join(
		batch.Delete(ctx, key("key")), batch.Put(ctx, key("key"), []byte("new")),
		batch.Delete(ctx, key("removed")), batch.Put(ctx, key("added"), []byte("new")), batch.Commit(ctx),
	))
	block, err = a.blocks.Get(ctx, a.crdt.InternalStats(ctx).Heads[0])
	noError(t, err)
	return a, block
}

// What a block replaces is known from when it is stored until it is merged to its end.
func TestReplaces_WhileABlockIsMerged(t *testing.T) {
	a, block := replacement(t)
	b := start(t, newDisk(), false)
	noError(t, b.blocks.Put(t.Context(), block))
	for key, want := range map[string]bool{"key": true, "removed": false, "added": false, "other": false} {
		if got := b.store.Replaces(key); got != want {
			t.Errorf("%s: %t", key, got)
		}
	}
	catchUp(t, b, a)
	if arrived := &b.store.walks.arrived; b.store.Replaces("key") || len(arrived.blocks)+arrived.bytes > 0 {
		t.Errorf("after the merge: %t, %d bytes", b.store.Replaces("key"), arrived.bytes)
	}
	noError(t, b.blocks.Put(t.Context(), block)) // As when two have asked for it.
	if arrived := &b.store.walks.arrived; b.store.Replaces("key") || len(arrived.blocks)+arrived.bytes > 0 {
		t.Errorf("written again after the merge: %t, %d bytes", b.store.Replaces("key"), arrived.bytes)
	}
}

// The process was killed when the block was stored and not merged. The next one merges it from its disk.
func TestReplaces_ABlockThatAnEarlierProcessHasStored(t *testing.T) {
	a, block := replacement(t)
	noError(t, a.put("next", "value"))
	keys, id := newLayout(root), blockID(block.Cid().Hash())
	d := &waitingDisk{disk: newDisk(), key: keys.element("key", id), reached: make(chan struct{}), release: make(chan struct{})}
	before := start(t, d.disk, false)
	noError(t, before.put("own", "value"))
	before.network.limit(1)
	catchUp(t, before, a)
	before.stop()
	noError(t, d.Put(t.Context(), keys.block(id), block.RawData()))

	b := newReplica(t, d.disk)
	store, err := Open(t.Context(), d, root, Options{})
	noError(t, err)
	b.run(store)
	<-d.reached
	if !store.Replaces("key") {
		t.Error("the removal is taken for one")
	}
	close(d.release)
}

// A reader of a pin that is replaced does not see that there is none in between.
func TestShown_APinThatIsReplacedIsThere(t *testing.T) {
	a, block := replacement(t)
	keys := newLayout(root)
	d := &waitingDisk{
		disk: newDisk(), key: keys.element("key", blockID(block.Cid().Hash())), reached: make(chan struct{}), release: make(chan struct{}),
	}
	b := newReplica(t, d.disk)
	store, err := Open(t.Context(), d, root, Options{})
	noError(t, err)
	b.store = store
	b.run(store)
	b.reach(a)
	b.hear(a.heads())
	<-d.reached
	if _, err := store.Get(t.Context(), keys.value("key")); err != datastore.ErrNotFound {
		t.Errorf("it has a value: %v", err) // Nobody is shown that.
	}
	released := time.AfterFunc(replacedWait/10, func() { close(d.release) })
	defer released.Stop()
	ctx := Shown(t.Context())
	value, err := store.Get(ctx, keys.value("key"))
	has, failed := store.Has(ctx, keys.value("key"))
	if string(value) != "new" || !has || errors.Join(err, failed) != nil {
		t.Errorf("shown is %q, %t: %v", value, has, errors.Join(err, failed))
	}
}

func TestArrivedBlocks_AreBounded(t *testing.T) {
	var a arrivedBlocks
	data := make([]byte, maxArrived/4)
	for i := range 4 {
		a.add(fmt.Sprint(i), data)
	}
	a.add("3", data)
	if len(a.blocks) != 4 || a.bytes != maxArrived {
		t.Errorf("%d blocks, %d bytes", len(a.blocks), a.bytes)
	}
	a.add("last", data)
	a.remove("0")
	if len(a.blocks) != 1 || a.bytes != len(data) || a.data("last") == nil || a.data("3") != nil {
		t.Errorf("%d blocks, %d bytes", len(a.blocks), a.bytes)
	}
}
