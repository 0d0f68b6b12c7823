package crdtstore

import (
	"fmt"
	"testing"
	"time"

	"github.com/ipfs/boxo/datastore/dshelp"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

const stall = time.Hour

// age makes all walks in progress stand still for long.
func (s *Store) age() {
	s.walks.mu.Lock()
	defer s.walks.mu.Unlock()
	for w := range s.walks.progress.walks {
		w.moved = w.moved.Add(-2 * stall)
	}
}

// lose removes the block of the open branch of a replica from another one.
func lose(t *testing.T, r, from *replica) blocks.Block {
	t.Helper()
	r.store.walks.mu.Lock()
	defer r.store.walks.mu.Unlock()
	for id := range r.store.walks.open {
		hash, err := dshelp.DsKeyToMultihash(datastore.NewKey(id))
		noError(t, err)
		c := cid.NewCidV1(cid.DagProtobuf, hash)
		b, err := from.blocks.Get(t.Context(), c)
		noError(t, err)
		noError(t, from.blocks.DeleteBlock(t.Context(), c))
		return b
	}
	t.Fatal("no branch is open")
	return nil
}

// A block is lost, and the walk that needs it stands still. What others write meanwhile, and the
// repairs that try again, do not make it one that goes on: deletes were refused for as long.
func TestStore_AStalledWalkIsStalledWhileOthersWrite(t *testing.T) {
	a, b := stalled(t)
	if !b.store.HoldsBack(b.store.Mark(), stall) || b.store.Stalled(stall) {
		t.Fatal("the walk has only begun")
	}
	lost := lose(t, b, a)
	b.store.age()
	b.network.limit(-1)
	for i := range 5 {
		for k := range 3 { // The root has something below it.
			noError(t, a.put(fmt.Sprint("live ", i, k), "x"))
		}
		b.hear(a.heads())
		await.Success(t, "only the lost block is awaited", func() error {
			if n := b.store.Unfinished(); n != 1 || b.values()[fmt.Sprint("/live ", i, 0)] == "" {
				return fmt.Errorf("%d branches", n)
			}
			return nil
		})
		if b.store.HoldsBack(b.store.Mark(), stall) || !b.store.Stalled(stall) {
			t.Fatal("writes of others count as progress")
		}
	}
	noError(t, a.blocks.Put(t.Context(), lost))
	goOn(t, b, a)
	if b.store.HoldsBack(b.store.Mark(), stall) || b.store.Stalled(stall) || len(b.store.walks.progress.walkOf) > 0 {
		t.Error("a walk that has ended is left")
	}
}

// A walk that goes on holds deletes back beside one that has stalled, also after a restart.
func TestStore_AWalkThatGoesOnHoldsBack(t *testing.T) {
	_, b := stalled(t)
	b.store.age()
	other := source(t, false)
	b.network.mu.Lock()
	b.network.others, b.network.left = nil, 5
	b.network.mu.Unlock()
	catchUp(t, b, other)
	if !b.store.HoldsBack(b.store.Mark(), stall) || !b.store.Stalled(stall) {
		t.Error("one of two walks has stalled")
	}
	b = b.restart()
	if !b.store.HoldsBack(b.store.Mark(), stall) || b.store.Stalled(stall) {
		t.Error("after a restart all are tried again")
	}
}

// The deletes that are kept for a walk that has stalled are bounded.
func TestEarlyDelete_AreBounded(t *testing.T) {
	_, b := stalled(t)
	b.store.age()
	noError(t, b.deleteOwn("key"))
	if n := b.store.walks.kept.Load(); n != 1 || b.store.HoldsBack(b.store.Mark(), stall) {
		t.Fatalf("%d are kept", n)
	}
	b.store.walks.kept.Store(maxEarly)
	if !b.store.HoldsBack(b.store.Mark(), stall) {
		t.Error("there is no bound")
	}
	b.store.walks.kept.Store(0)
	if b = b.restart(); b.store.walks.kept.Load() != 1 {
		t.Errorf("%d are kept after a restart", b.store.walks.kept.Load())
	}
}

// What came before a walk began does not wait for it, also after a restart.
func TestStore_OnlyOlderWalksHoldBack(t *testing.T) {
	a := source(t, false)
	b := start(t, newDisk(), false)
	noError(t, b.put("own", "value"))
	before := b.store.Mark()
	b.network.limit(5)
	catchUp(t, b, a)
	during := b.store.Mark()
	if before == during || b.store.HoldsBack(before, stall) || !b.store.HoldsBack(during, stall) {
		t.Errorf("marks %d and %d: %t, %t", before, during, b.store.HoldsBack(before, stall), b.store.HoldsBack(during, stall))
	}
	b = b.restart()
	if mark := b.store.Mark(); mark < during || !b.store.HoldsBack(mark, stall) || b.store.HoldsBack(before, stall) {
		t.Errorf("after a restart the mark is %d", mark)
	}
	other := start(t, newDisk(), false)
	for i := range 10 {
		noError(t, other.put(fmt.Sprint("other ", i), "value"))
	}
	b.network.mu.Lock()
	b.network.others, b.network.left = nil, 5
	b.network.mu.Unlock()
	catchUp(t, b, other)
	if last := b.store.Mark(); last <= during {
		t.Errorf("a walk has the number %d, an earlier one %d", last, during)
	}
	select {
	case <-b.store.WalkEnded():
		t.Error("a walk has ended")
	default:
	}
	b.network.limit(-1)
	b.reach(a)
	b.reach(other)
	await.Success(t, "the walks end", func() error {
		b.hear(a.heads())
		b.hear(other.heads()) // A walk that failed goes on when its root is announced again.
		if b.store.HoldsBack(b.store.Mark(), stall) {
			return fmt.Errorf("%d branches", b.store.Unfinished())
		}
		return nil
	})
	<-b.store.WalkEnded()
}

// A walk has begun when its root is there: what the root brings is shown before the branches below it are
// known, and a delete of that must wait for them.
func TestStore_AWalkBeginsWithItsRoot(t *testing.T) {
	a := source(t, false)
	b := start(t, newDisk(), false)
	noError(t, b.put("own", "value"))
	before := b.store.Mark()
	root, err := a.blocks.Get(t.Context(), a.crdt.InternalStats(t.Context()).Heads[0])
	noError(t, err)
	noError(t, b.blocks.Put(t.Context(), root))
	arrived := b.store.Mark()
	if b.store.HoldsBack(before, stall) || !b.store.HoldsBack(arrived, stall) {
		t.Errorf("before the root is merged: %t, %t", b.store.HoldsBack(before, stall), b.store.HoldsBack(arrived, stall))
	}
	b.network.limit(5)
	catchUp(t, b, a)
	if b.store.HoldsBack(before, stall) || !b.store.HoldsBack(arrived, stall) {
		t.Errorf("marks %d and %d: %t, %t", before, arrived, b.store.HoldsBack(before, stall), b.store.HoldsBack(arrived, stall))
	}
}

// A later walk has come to a block, and stands still, when an earlier one leads there as well. What came
// between the two waits for what is below it.
func TestStore_ABranchOfTwoWalksIsOfTheEarlier(t *testing.T) {
	base, first, second := start(t, newDisk(), false), start(t, newDisk(), false), start(t, newDisk(), false)
	noError(t, base.put("key", "old"))
	catchUp(t, first, base)
	catchUp(t, second, base)
	noError(t, first.put("first", "value"))
	noError(t, first.put("first", "newer value"))
	noError(t, second.put("second", "value"))
	b := start(t, newDisk(), false)
	noError(t, b.put("own", "value"))
	hear := func(from *replica) {
		t.Helper()
		b.network.limit(1)
		catchUp(t, b, from)
	}
	hear(first)
	mark := b.store.Mark()
	hear(second)
	if b.store.Mark() == mark || b.store.Unfinished() != 2 {
		t.Fatalf("marks %d and %d, %d branches", mark, b.store.Mark(), b.store.Unfinished())
	}
	hear(first) // Its walk comes to the block that the other one waits for.
	if b.store.Unfinished() != 1 || b.values()["/key"] != "" {
		t.Fatalf("%d branches, %v", b.store.Unfinished(), b.values())
	}
	if !b.store.HoldsBack(mark, stall) {
		t.Error("what came before the later walk does not wait for the rest of the earlier one")
	}
	b.network.limit(-1)
	await.Success(t, "the walks end", func() error {
		b.hear(first.heads())
		b.hear(second.heads())
		if n := b.store.Unfinished(); n > 0 {
			return fmt.Errorf("%d branches", n)
		}
		return nil
	})
	if p := &b.store.walks.progress; len(p.walkOf)+len(p.walks) > 0 || b.values()["/key"] != "old" {
		t.Errorf("left are %v and %v", p.walkOf, p.walks)
	}
}
