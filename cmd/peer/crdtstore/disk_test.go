package crdtstore

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	dssync "github.com/ipfs/go-datastore/sync"
)

var errKilled = errors.New("the process was killed")

// disk is a datastore that keeps what it was told until it is killed. Its batches are
// atomic and keep their order.
type disk struct {
	datastore.Batching
	mu     sync.Mutex
	left   int // commits until the kill; negative: never
	writes int
	// atomic: the batches of the datastore under it are used.
	atomic bool
	// read, if not nil, is called after each query of go-ds-crdt with its prefix.
	read func(prefix string)
}

type op struct {
	key   datastore.Key
	value []byte
	del   bool
}

func newDisk() *disk {
	return &disk{Batching: dssync.MutexWrap(datastore.NewMapDatastore()), left: -1}
}

// reopen is the disk after a restart.
func (d *disk) reopen() *disk { return &disk{Batching: d.Batching, left: -1} }

func (d *disk) apply(ctx context.Context, ops []op) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left == 0 {
		return errKilled
	}
	d.left--
	d.writes++
	if d.atomic {
		return d.commit(ctx, ops)
	}
	for _, o := range ops {
		var err error
		if o.del {
			err = d.Batching.Delete(ctx, o.key)
		} else {
			err = d.Batching.Put(ctx, o.key, o.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// killAfter has the disk fail after some more commits.
func (d *disk) killAfter(commits int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left = commits
}

// commit writes operations as one batch.
func (d *disk) commit(ctx context.Context, ops []op) error {
	b, err := d.Batching.Batch(ctx)
	if err != nil {
		return err
	}
	for _, o := range ops {
		if o.del {
			err = b.Delete(ctx, o.key)
		} else {
			err = b.Put(ctx, o.key, o.value)
		}
		if err != nil {
			return err
		}
	}
	return b.Commit(ctx)
}

// queried tells of the queries that go-ds-crdt makes.
type queried struct {
	datastore.Batching
	disk *disk
}

func (d queried) Query(ctx context.Context, q query.Query) (query.Results, error) {
	results, err := d.Batching.Query(ctx, q)
	d.disk.mu.Lock()
	read := d.disk.read
	d.disk.mu.Unlock()
	if read != nil {
		read(q.Prefix)
	}
	return results, err
}

func (d *disk) onRead(read func(prefix string)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.read = read
}

func (d *disk) Put(ctx context.Context, k datastore.Key, v []byte) error {
	return d.apply(ctx, []op{{key: k, value: v}})
}

func (d *disk) Delete(ctx context.Context, k datastore.Key) error {
	return d.apply(ctx, []op{{key: k, del: true}})
}

func (d *disk) Batch(context.Context) (datastore.Batch, error) { return &diskBatch{disk: d}, nil }

type diskBatch struct {
	disk *disk
	ops  []op
}

func (b *diskBatch) Put(_ context.Context, k datastore.Key, v []byte) error {
	b.ops = append(b.ops, op{key: k, value: bytes.Clone(v)})
	return nil
}

func (b *diskBatch) Delete(_ context.Context, k datastore.Key) error {
	b.ops = append(b.ops, op{key: k, del: true})
	return nil
}

func (b *diskBatch) Commit(ctx context.Context) error { return b.disk.apply(ctx, b.ops) }

// marks are the keys of the journal of walks.
func (d *disk) marks(t testing.TB) (keys []string) {
	t.Helper()
	results, err := d.Query(t.Context(), query.Query{Prefix: root.ChildString("pinsvc").String(), KeysOnly: true})
	noError(t, err)
	entries, err := results.Rest()
	noError(t, err)
	for _, e := range entries {
		keys = append(keys, strings.TrimPrefix(e.Key, root.String()))
	}
	return keys
}
