package clustertest

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/hsanjuan/ipfs-lite"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/consensus/crdt"
	"github.com/ipfs-cluster/ipfs-cluster/state/dsstate"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/namespace"
	dscrdt "github.com/ipfs/go-ds-crdt"
)

// seedBatch is how many records one delta of a seeded state has. The cost of
// building a delta grows with the square of its size.
const seedBatch = 256

// Seed writes records into the CRDT state of a datastore that no peer uses
// yet, as they would be had a peer accepted them: a peer that is started on
// the datastore holds them. It does not change any Node: see Keep.
func Seed(ctx context.Context, store datastore.Batching, records iter.Seq[api.Pin]) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	state, closeReplica, err := openOffline(ctx, store)
	if err != nil {
		return fmt.Errorf("seed the state: %w", err)
	}
	defer func() { err = errors.Join(err, closeReplica()) }()
	n := 0
	for record := range records {
		if err := state.Add(ctx, record); err != nil {
			return fmt.Errorf("seed record %d: %w", n, err)
		}
		if n++; n%seedBatch == 0 {
			if err := state.Commit(ctx); err != nil {
				return fmt.Errorf("seed up to record %d: %w", n, err)
			}
		}
	}
	if err := state.Commit(ctx); err != nil {
		return fmt.Errorf("seed up to record %d: %w", n, err)
	}
	return nil
}

// Read reads all records of the CRDT state of a datastore that no peer uses, and
// wants n of them.
func Read(ctx context.Context, store datastore.Batching, n int) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	state, closeReplica, err := openOffline(ctx, store)
	if err != nil {
		return fmt.Errorf("read the state: %w", err)
	}
	defer func() { err = errors.Join(err, closeReplica()) }()
	records := make(chan api.Pin, 1024)
	listed := make(chan error, 1)
	go func() { listed <- state.List(ctx, records) }()
	count := 0
	for range records {
		count++
	}
	if err := <-listed; err != nil {
		return fmt.Errorf("read the state: after %d records: %w", count, err)
	}
	if count != n {
		return fmt.Errorf("read the state: %d records, want %d", count, n)
	}
	return nil
}

// openOffline opens the CRDT state of a datastore that no peer uses. The replica
// ends its work when it is closed, the rest with ctx.
func openOffline(ctx context.Context, store datastore.Batching) (*dsstate.BatchingState, func() error, error) {
	root := datastore.NewKey(crdt.DefaultDatastoreNamespace)
	blocks := namespace.Wrap(store, root.ChildString(crdt.BlocksNs))
	dag, err := ipfslite.New(ctx, blocks, nil, nil, nil, &ipfslite.Config{Offline: true})
	if err != nil {
		return nil, nil, err
	}
	replica, err := dscrdt.New(store, root, dag, nil, dscrdt.DefaultOptions())
	if err != nil {
		return nil, nil, err
	}
	state, err := dsstate.NewBatching(ctx, replica, "", dsstate.DefaultHandle())
	if err != nil {
		return nil, nil, errors.Join(err, replica.Close())
	}
	return state, replica.Close, nil
}

// Keep lets the node hold content, pinned recursively, for which it received no
// pin request while the test ran.
func (n *Node) Keep(cids iter.Seq[cid.Cid]) {
	n.change(func() {
		for c := range cids {
			n.pins[c] = api.IPFSPinStatusRecursive
		}
	})
}
