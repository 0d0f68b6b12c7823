package commitstore

import (
	"context"
	"errors"
	"fmt"
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

// try is one try of a commit that failed.
type try struct {
	t       *testing.T
	s       *Store
	ctx     context.Context
	effects groupcommit.Effects
	undo    context.Context
}

// after begins the next try.
func (t *try) after() *try {
	next := &try{t: t.t, s: t.s}
	next.ctx, next.effects = Watch(t.t.Context())
	next.undo = t.effects.Undo(next.ctx, false)
	return next
}

func (t *try) block(id string) error {
	return t.s.Put(t.ctx, datastore.NewKey("/c/b/blocks/"+id), []byte("block"))
}

// merge merges the block, as putElems does.
func (t *try) merge(id string) {
	t.t.Helper()
	b, err := t.s.Batch(t.ctx)
	noError(t.t, err)
	noError(t.t, b.Put(t.ctx, datastore.NewKey("/c/s/s/KEY/"+id), nil))
	noError(t.t, b.Commit(t.ctx))
}

// undone are the tombs that a removal with the context of Undo puts into the delta.
func (t *try) undone(key string) (ids []string, err error) {
	results, err := t.s.Query(t.undo, query.Query{Prefix: "/c/s/s/" + key, KeysOnly: true})
	if err != nil {
		return nil, err
	}
	entries, err := results.Rest()
	noError(t.t, err)
	for _, e := range entries {
		ids = append(ids, datastore.NewKey(e.Key).BaseNamespace())
	}
	return ids, nil
}

func firstTry(t *testing.T) (*try, *[]string) {
	var abandoned []string
	s := New(dssync.MutexWrap(datastore.NewMapDatastore()), "/c", Options{
		Abandoned: func(_ context.Context, ids []string) { abandoned = append(abandoned, ids...) },
	})
	first := &try{t: t, s: s}
	first.ctx, first.effects = Watch(t.Context())
	return first, &abandoned
}

func wantUndone(t *testing.T, next *try, want string) {
	t.Helper()
	if ids, err := next.undone("KEY"); err != nil || fmt.Sprint(ids) != want {
		t.Errorf("undone: %v, %v, want %s", ids, err, want)
	}
}

// The same block is made again without an undo. Another one is refused until that of the try before is
// undone, by one tomb.
func TestUndo_OnlyWhatAnotherBlockWouldLeave(t *testing.T) {
	first, abandoned := firstTry(t)
	noError(t, first.block("ONE"))
	first.merge("ONE")
	second := first.after()
	wantUndone(t, second, "[]")
	noError(t, second.block("ONE"))
	third := second.after()
	wantUndone(t, third, "[]")
	if err := third.block("TWO"); !errors.Is(err, groupcommit.ErrUndoFirst) {
		t.Errorf("another block: %v", err)
	}
	fourth := third.after()
	wantUndone(t, fourth, "[ONE]")
	wantUndone(t, fourth, "[]")
	noError(t, fourth.block("TWO"))
	fifth := fourth.after()
	wantUndone(t, fifth, "[]")
	noError(t, replaceHead(t, fifth.ctx, first.s)) // TWO was there and is not written again.
	if fmt.Sprint(*abandoned) != "[ONE]" {
		t.Errorf("abandoned: %v", *abandoned)
	}
}

// A block that was not merged, or not even written, needs no tomb: it is deleted.
func TestUndo_WhatWasNotMergedIsDeleted(t *testing.T) {
	first, abandoned := firstTry(t)
	noError(t, first.block("ONE"))
	second := first.after()
	if err := second.block("TWO"); !errors.Is(err, groupcommit.ErrUndoFirst) {
		t.Errorf("another block: %v", err)
	}
	third := second.after()
	wantUndone(t, third, "[]")
	noError(t, third.block("TWO"))
	if has, err := first.s.Has(t.Context(), datastore.NewKey("/c/b/blocks/ONE")); has || err != nil {
		t.Errorf("the block is there: %t, %v", has, err)
	}
	if fmt.Sprint(*abandoned) != "[ONE]" {
		t.Errorf("abandoned: %v", *abandoned)
	}
}

// A block that others were told of is not undone, nor what it undid itself. It is no root any more when a
// head that leads to it is on the disk.
func TestUndo_NothingThatOthersWereToldOf(t *testing.T) {
	first, abandoned := firstTry(t)
	noError(t, first.block("ONE"))
	first.merge("ONE")
	second := first.after()
	if err := second.block("TOLD"); !errors.Is(err, groupcommit.ErrUndoFirst) {
		t.Errorf("another block: %v", err)
	}
	third := second.after()
	wantUndone(t, third, "[ONE]")
	noError(t, third.block("TOLD"))
	third.merge("TOLD")
	fourth := third.after() // TOLD was there and is not written again.
	noError(t, first.s.Close())
	noError(t, first.s.Put(fourth.ctx, datastore.NewKey("/c/h/TOLD"), nil)) // The head cannot be written.
	if !errors.Is(fourth.effects.Err(), errClosed) {
		t.Errorf("the failure: %v", fourth.effects.Err())
	}
	first.s.closed = false
	fifth := &try{t: t, s: first.s}
	fifth.ctx, fifth.effects = Watch(t.Context())
	fifth.undo = fourth.effects.Undo(fifth.ctx, true)
	wantUndone(t, fifth, "[]")
	noError(t, fifth.block("FAILS"))
	sixth := fifth.after()
	wantUndone(t, sixth, "[]")
	noError(t, sixth.block("FAILS"))
	noError(t, replaceHead(t, sixth.ctx, first.s))
	if fmt.Sprint(*abandoned) != "[ONE TOLD]" {
		t.Errorf("abandoned: %v", *abandoned)
	}
}

// What cannot be undone any more within the bounds of a delta is an error.
func TestUndo_IsBounded(t *testing.T) {
	next, _ := firstTry(t)
	tombs, failed := 0, error(nil)
	for n := 0; failed == nil && tombs <= maxTombs; n++ {
		noError(t, next.block(fmt.Sprint(n)))
		next.merge(fmt.Sprint(n))
		next = next.after()
		if err := next.block("OTHER"); !errors.Is(err, groupcommit.ErrUndoFirst) {
			t.Fatalf("another block after %d: %v", n, err)
		}
		next = next.after()
		for key := 0; key < 100 && failed == nil; key++ {
			var ids []string
			ids, failed = next.undone(fmt.Sprint(key))
			tombs += len(ids)
		}
	}
	if !errors.Is(failed, errTooManyTries) || tombs != maxTombs {
		t.Errorf("after %d tombs: %v", tombs, failed)
	}
}

// keeping is a datastore whose batches leave a value where one is removed, as one whose key has another.
type keeping struct {
	datastore.Batching
	value datastore.Key
}

func (k keeping) Batch(ctx context.Context) (datastore.Batch, error) {
	b, err := k.Batching.Batch(ctx)
	return keepingBatch{b, k.value}, err
}

type keepingBatch struct {
	datastore.Batch
	value datastore.Key
}

func (b keepingBatch) Delete(ctx context.Context, key datastore.Key) error {
	if key == b.value {
		return b.Put(ctx, key, []byte("other"))
	}
	return b.Batch.Delete(ctx, key)
}

// go-ds-crdt is shown no elements whose blocks it would read, and what survives a removal is known (U100).
func TestStore_ValuesOfWhatIsLeft(t *testing.T) {
	element := datastore.NewKey("/c/s/s/KEY/ID")
	gone, left := api.NewCid(cid.NewCidV1(cid.Raw, mustSum(t, "gone"))), api.NewCid(cid.NewCidV1(cid.Raw, mustSum(t, "left")))
	value := func(c api.Cid) datastore.Key {
		return datastore.NewKey("/c/s/k" + dshelp.NewKeyFromBinary(c.Bytes()).String() + "/v")
	}
	s := New(keeping{dssync.MutexWrap(datastore.NewMapDatastore()), value(left)}, "/c", Options{Values: true})
	ctx, effects := Watch(t.Context())
	noError(t, s.Put(t.Context(), element, nil))
	count := func(ctx context.Context) int {
		results, err := s.Query(ctx, query.Query{Prefix: "/c/s/s/KEY"})
		noError(t, err)
		entries, err := results.Rest()
		noError(t, err)
		return len(entries)
	}
	if n := count(ctx); n != 1 {
		t.Errorf("%d elements to remove", n)
	}
	b, err := s.Batch(ctx)
	noError(t, err)
	if own, other := count(ctx), count(t.Context()); own+other != 0 {
		t.Errorf("%d and %d elements that are left", own, other)
	}
	noError(t, b.Delete(ctx, value(gone)))
	noError(t, b.Delete(ctx, value(left)))
	noError(t, b.Commit(ctx))
	if n := count(ctx); n != 1 {
		t.Errorf("%d elements to remove", n)
	}
	if effects.Of(gone) != groupcommit.EffectRemoved || effects.Of(left) != groupcommit.EffectKept {
		t.Errorf("effects %v and %v", effects.Of(gone), effects.Of(left))
	}
}

func mustSum(t *testing.T, content string) mh.Multihash {
	t.Helper()
	sum, err := mh.Sum([]byte(content), mh.SHA2_256, -1)
	noError(t, err)
	return sum
}
