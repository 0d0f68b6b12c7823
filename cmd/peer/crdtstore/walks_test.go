package crdtstore

import (
	"fmt"
	"maps"
	"testing"

	"github.com/ipfs/boxo/ipld/merkledag"
	blocks "github.com/ipfs/go-block-format"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// source is a replica with a long branch of additions, renames and deletes.
func source(t *testing.T, plain bool) *replica {
	t.Helper()
	r := start(t, newDisk(), plain)
	for i := range 30 {
		noError(t, r.put(fmt.Sprint("key", i), "old"))
	}
	for i := range 10 {
		noError(t, r.put(fmt.Sprint("key", i), "new"))
	}
	for i := 20; i < 25; i++ {
		noError(t, r.delete(fmt.Sprint("key", i)))
	}
	return r
}

// catchUp has a replica hear the heads of another until nothing moves any more or it was
// killed.
func catchUp(t *testing.T, r, from *replica) {
	t.Helper()
	r.reach(from)
	r.hear(from.heads())
	r.hear(nil) // It is taken once the heads are walked.
}

// go-ds-crdt never gets what is below the place where it was killed: the fault that the
// package contains. When this test fails, upstream has mended it.
func TestUpstream_AKillInAWalkLeavesAHole(t *testing.T) {
	a := source(t, true)
	d := newDisk()
	b := start(t, d, true)
	noError(t, b.put("own", "value"))
	d.killAfter(20)
	catchUp(t, b, a)
	b = b.restart()
	for range 3 {
		catchUp(t, b, a)
	}
	if va, vb := len(a.values()), len(b.values()); vb >= va {
		t.Errorf("%d of %d values: go-ds-crdt goes on now", vb, va)
	}
	if b.crdt.IsDirty(t.Context()) {
		t.Error("it is marked dirty now")
	}
}

// Wherever the kill comes in a walk, the restarted replica has all in the end, and no
// deleted key comes back.
func TestStore_AKillAnywhereInAWalkLeavesNoHole(t *testing.T) {
	a := source(t, false)
	want := a.values()
	want["/own"] = "value"
	whole := newDisk()
	full := start(t, whole, false)
	catchUp(t, full, a)
	total := whole.writes
	if total < 100 {
		t.Fatalf("a walk has %d commits", total)
	}
	for _, fresh := range []bool{true, false} { // A first sync, and a peer that has pins of its own.
		for left := 0; left < total; left += 3 {
			d := newDisk()
			b := start(t, d, false)
			if !fresh {
				noError(t, b.put("own", "value"))
			}
			d.killAfter(left)
			catchUp(t, b, a)
			b = b.restart()
			catchUp(t, b, a)
			await.Success(t, fmt.Sprintf("killed after %d of %d commits (first sync: %t), it has all", left, total, fresh), func() error {
				expected := maps.Clone(want)
				if fresh {
					delete(expected, "/own")
				}
				if got := b.values(); !maps.Equal(got, expected) {
					return fmt.Errorf("%d of %d values, %d branches, dirty: %t", len(got), len(expected), b.store.Unfinished(), b.crdt.IsDirty(t.Context()))
				}
				return nil
			})
			await.Success(t, "it is clean", func() error {
				if b.crdt.IsDirty(t.Context()) || b.store.Unfinished() > 0 {
					return fmt.Errorf("dirty, %d branches", b.store.Unfinished())
				}
				return nil
			})
			b.stop()
		}
	}
}

// A replica that is killed in the midst of a write of its own has all of the write or
// nothing after the restart, and others learn of it. No repair is needed for that.
func TestStore_AKillAnywhereInAWriteIsNoDivergence(t *testing.T) {
	for left := range 12 {
		for _, del := range []bool{false, true} {
			a, d := start(t, newDisk(), false), newDisk()
			b := start(t, d, false)
			noError(t, b.put("one", "first"))
			noError(t, b.put("two", "first"))
			converge(t, a, b)
			d.killAfter(left)
			var err error
			if del {
				err = b.delete("one")
			} else {
				err = b.put("one", "second")
			}
			b = b.restart()
			if b.crdt.IsDirty(t.Context()) {
				t.Errorf("killed after %d commits, it has to be repaired", left)
			}
			now, has := b.values()["/one"]
			if done := now == "second" || del && !has; err == nil && !done {
				t.Errorf("killed after %d commits, the accepted write is gone: %q", left, now)
			}
			converge(t, a, b)
			if marks := b.disk.marks(t); len(marks) > 0 {
				t.Errorf("killed after %d commits, marks are left: %q", left, marks)
			}
			a.stop()
			b.stop()
		}
	}
}

// A walk that fails because nobody has the rest goes on when somebody has it again,
// without a restart.
func TestStore_AFailedWalkGoesOn(t *testing.T) {
	a := source(t, false)
	b := start(t, newDisk(), false)
	noError(t, b.put("own", "value"))
	// The network loses its way after ten blocks.
	b.network.limit(10)
	catchUp(t, b, a)
	if n := len(b.values()); n >= len(a.values()) {
		t.Fatalf("%d values: the walk did not fail", n)
	}
	// A repair starts from the heads and so finds nothing to do.
	noError(t, b.crdt.Repair(t.Context()))
	if !b.crdt.IsDirty(t.Context()) {
		t.Error("a repair that did not repair it made it clean")
	}
	b.network.limit(-1)
	await.Success(t, "b has all", func() error {
		b.hear(a.heads())
		if got, want := len(b.values()), len(a.values())+1; got != want {
			return fmt.Errorf("%d of %d values", got, want)
		}
		return nil
	})
	await.Success(t, "b is clean", func() error {
		if b.crdt.IsDirty(t.Context()) {
			return fmt.Errorf("dirty, %d branches", b.store.Unfinished())
		}
		return nil
	})
}

// What cannot be had anywhere is given up by the operator (state crdt mark-clean).
func TestForget_GivesUpUnfinishedWalks(t *testing.T) {
	a := source(t, false)
	b := start(t, newDisk(), false)
	noError(t, b.put("own", "value"))
	b.network.limit(10)
	catchUp(t, b, a)
	b.stop()
	if len(b.disk.marks(t)) == 0 {
		t.Fatal("there is nothing to give up")
	}
	noError(t, Forget(t.Context(), b.disk, root))
	noError(t, b.disk.Delete(t.Context(), root.ChildString("d")))
	again := b.restart()
	if marks := again.disk.marks(t); len(marks) > 0 || again.crdt.IsDirty(t.Context()) {
		t.Errorf("marks %q, dirty: %t", marks, again.crdt.IsDirty(t.Context()))
	}
}

// Where nothing was walked a start reads nothing and repairs nothing.
func TestStore_AnOrdinaryStartRepairsNothing(t *testing.T) {
	b := source(t, false)
	if marks := b.disk.marks(t); len(marks) > 0 {
		t.Errorf("marks without a walk: %q", marks)
	}
	writes := b.disk.writes
	b.disk.killAfter(0)
	again := b.restart()
	if again.crdt.IsDirty(t.Context()) || again.store.Unfinished() != 0 || again.disk.writes > 1 {
		t.Errorf("dirty: %t, %d branches, %d commits (%d before)",
			again.crdt.IsDirty(t.Context()), again.store.Unfinished(), again.disk.writes, writes)
	}
}

// BenchmarkStore_Put compares a write with and without the store.
func BenchmarkStore_Put(b *testing.B) {
	for _, plain := range []bool{true, false} {
		b.Run(map[bool]string{true: "plain", false: "store"}[plain], func(b *testing.B) {
			r := start(b, newDisk(), plain)
			for i := 0; b.Loop(); i++ {
				if err := r.put(fmt.Sprint("key", i), "value"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Blocks that link to each other were here and not processed when the peer was killed. It took those that
// it merged at the start for branches that were to be walked, for good.
func TestStore_RootsThatLinkToEachOtherAreResumed(t *testing.T) {
	a := source(t, false)
	b := start(t, newDisk(), false)
	noError(t, b.put("own", "value"))
	last := a.crdt.InternalStats(t.Context()).Heads[0]
	for range 10 {
		block, err := a.blocks.Get(t.Context(), last)
		noError(t, err)
		id := blockID(last.Hash()) // Roots have what is below them open: these are as a failed disk may leave them.
		noError(t, b.disk.Put(t.Context(), b.store.keys.block(id), block.RawData()))
		noError(t, b.disk.Put(t.Context(), b.store.keys.rootMark(id), nil))
		node, err := merkledag.DecodeProtobuf(block.RawData())
		noError(t, err)
		last = node.Links()[0].Cid
	}
	b.stop()
	store, err := Open(t.Context(), b.disk.reopen(), root, Options{})
	noError(t, err)
	for id := range store.walks.open {
		known, err := store.Batching.Has(t.Context(), store.keys.processed(id))
		noError(t, err)
		if known {
			t.Errorf("%s is processed and open", id)
		}
	}
}

// A peer of the cluster announced what is no block of a CRDT. It was fetched, and no start came to its end.
func TestStore_ABlockOfSomethingElseStopsNoStart(t *testing.T) {
	b := start(t, newDisk(), false)
	noError(t, b.put("own", "value"))
	raw, node, linked := merkledag.NewRawNode([]byte("no node")), merkledag.NodeWithData([]byte("\xff")), merkledag.NodeWithData([]byte("\xfe"))
	noError(t, linked.AddNodeLink("", merkledag.NodeWithData([]byte("nowhere"))))
	for _, block := range []blocks.Block{raw, node, linked} {
		noError(t, b.blocks.Put(t.Context(), block))
	}
	if n := b.store.Unfinished(); n > 0 {
		t.Errorf("%d branches are to be walked", n)
	}
	b = b.restart()
	if marks := b.disk.marks(t); len(marks) > 0 || b.values()["/own"] != "value" {
		t.Errorf("marks %q, values %v", marks, b.values())
	}
}
