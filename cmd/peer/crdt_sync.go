package peer

import (
	"context"
	"fmt"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-datastore"
)

// durable is a CRDT consensus whose changes are on the disk when it says that
// they are made. Upstream leaves that to the datastore, and pebble, the
// default, keeps up to a block of its log in memory until it is full: a peer
// that is killed would lose pins that it has accepted, perhaps hours ago.
// Changes that other peers made need no such care: they are sent again.
//
// With batching nobody waits for a change; see batched.
type durable struct {
	ipfscluster.Consensus
	store datastore.Datastore
}

// LogPin makes a pin.
func (d durable) LogPin(ctx context.Context, pin api.Pin) error {
	return d.sync(ctx, d.Consensus.LogPin(ctx, pin))
}

// LogUnpin makes an unpin.
func (d durable) LogUnpin(ctx context.Context, pin api.Pin) error {
	return d.sync(ctx, d.Consensus.LogUnpin(ctx, pin))
}

// sync waits until the disk has what was written. Callers at the same time
// share one wait where the datastore can do that; pebble can.
func (d durable) sync(ctx context.Context, err error) error {
	if err != nil {
		return err
	}
	if err := d.store.Sync(ctx, datastore.NewKey("/")); err != nil {
		return fmt.Errorf("writing the change to the disk: %w", err)
	}
	return nil
}
