package crdtstore

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"
)

// waitingDisk blocks the commit of a key until it is released, as pebble does while its disk is full
// (U52).
type waitingDisk struct {
	*disk
	key              datastore.Key
	reached, release chan struct{}
}

func (d *waitingDisk) Batch(ctx context.Context) (datastore.Batch, error) {
	b, err := d.disk.Batch(ctx)
	return &waitingBatch{b.(*diskBatch), d}, err
}

type waitingBatch struct {
	*diskBatch
	waiting *waitingDisk
}

func (b *waitingBatch) Commit(ctx context.Context) error {
	for _, o := range b.ops {
		if o.key == b.waiting.key {
			close(b.waiting.reached)
			<-b.waiting.release
		}
	}
	return b.diskBatch.Commit(ctx)
}

// The number of unfinished branches is a metric, and health, scans and other peers ask for it. It does
// not wait as long as the disk is full.
func TestStore_UnfinishedDoesNotWaitForTheDisk(t *testing.T) {
	a := start(t, newDisk(), false)
	noError(t, a.put("key", "value"))
	id := blockID(a.crdt.InternalStats(t.Context()).Heads[0].Hash())
	data, err := a.store.Block(t.Context(), id)
	noError(t, err)
	keys := newLayout(root)
	for name, key := range map[string]datastore.Key{"processed": keys.processed(id), "dirty": keys.dirty()} {
		t.Run(name, func(t *testing.T) {
			d := &waitingDisk{disk: newDisk(), key: key, reached: make(chan struct{}), release: make(chan struct{})}
			s, err := Open(t.Context(), d, root, Options{})
			noError(t, err)
			noError(t, s.Put(t.Context(), keys.block(id), data))
			var writer sync.WaitGroup
			writer.Go(func() { _ = s.Put(context.Background(), key, nil) })
			<-d.reached
			asked := make(chan struct{})
			go func() {
				defer close(asked)
				_, _, _, _ = s.Unfinished(), s.Quiet(id), s.HoldsBack(s.Mark(), time.Hour), s.Stalled(time.Hour)
			}()
			select {
			case <-asked:
			case <-time.After(deadline):
				t.Error("it waits as long as the disk is full")
			}
			close(d.release)
			writer.Wait()
		})
	}
}
