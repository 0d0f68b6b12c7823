package peer

import (
	"context"
	"fmt"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-datastore"
)

// syncedCRDT is a CRDT consensus whose accepted changes are on the disk. It is
// by hand because upstream leaves the sync to the datastore, and pebble, the
// default, keeps up to a block of its log in memory: a killed peer would lose
// pins that it accepted perhaps hours ago (U5 in docs/upstream-faults.md).
// Changes of other peers need no sync: they are sent again.
//
// With batching a change is accepted before it is committed; see batchingCRDT.
type syncedCRDT struct {
	ipfscluster.Consensus
	store datastore.Datastore
}

// LogPin commits a pin.
func (c syncedCRDT) LogPin(ctx context.Context, pin api.Pin) error {
	return c.sync(ctx, c.Consensus.LogPin(ctx, pin))
}

// LogUnpin commits an unpin.
func (c syncedCRDT) LogUnpin(ctx context.Context, pin api.Pin) error {
	return c.sync(ctx, c.Consensus.LogUnpin(ctx, pin))
}

// sync waits until the committed change is on the disk. Concurrent callers
// share one wait where the datastore supports it; pebble does.
func (c syncedCRDT) sync(ctx context.Context, err error) error {
	if err != nil {
		return err
	}
	if err := c.store.Sync(ctx, datastore.NewKey("/")); err != nil {
		return fmt.Errorf("writing the change to the disk: %w", err)
	}
	return nil
}
