package clusterrpc

import (
	"context"
	"errors"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// local is the destination of calls to the peer's own services. They are
// answered in the same process: no authorization, no serialization, and maps
// and slices are shared with the callee, so all of them are read-only.
const local peer.ID = ""

// streamBuffer is how far a stream may run ahead of who reads it.
const streamBuffer = 256

// cluster is the RPC surface that this package uses: the only place that
// knows names of services and methods.
type cluster struct{ client *rpc.Client }

// pin submits the whole record and returns it as it went to the state.
func (c cluster) pin(ctx context.Context, pin api.Pin) (api.Pin, error) {
	return call[api.Pin](ctx, c.client, local, "Cluster", "Pin", pin)
}

// allocate returns the peers that the cluster would give the pin to, and
// makes all the checks of pin.
func (c cluster) allocate(ctx context.Context, pin api.Pin) ([]peer.ID, error) {
	return call[[]peer.ID](ctx, c.client, local, "Cluster", "BlockAllocate", pin)
}

// unpin takes a data pin or a sharded root that the state has out of it, and
// returns what there was.
func (c cluster) unpin(ctx context.Context, key api.Cid) (api.Pin, error) {
	return call[api.Pin](ctx, c.client, local, "Cluster", "Unpin", api.PinCid(key))
}

// logUnpin submits a removal without the checks of unpin: for pins that were
// accepted here but are not in the state yet.
func (c cluster) logUnpin(ctx context.Context, key api.Cid) error {
	_, err := call[struct{}](ctx, c.client, local, "Consensus", "LogUnpin", api.PinCid(key))
	return err
}

// pinGet reads one record of the shared state.
func (c cluster) pinGet(ctx context.Context, key api.Cid) (api.Pin, error) {
	return call[api.Pin](ctx, c.client, local, "Cluster", "PinGet", key)
}

// pins hands every record of the shared state to each, in no order, until
// each fails.
func (c cluster) pins(ctx context.Context, each func(api.Pin) error) error {
	return stream(ctx, c.client, local, "Cluster", "Pins", []struct{}{}, each)
}

// trackerStatus is what the tracker of one peer says of a pin. It has no
// error for a CID that it does not know.
func (c cluster) trackerStatus(ctx context.Context, p peer.ID, key api.Cid) (api.PinInfo, error) {
	return call[api.PinInfo](ctx, c.client, p, "PinTracker", "Status", key)
}

// underWay are the statuses of what a tracker is at work on or failed at. It
// answers them from memory. fates are all that it gives to pins that its peer
// should hold.
const (
	underWay = api.TrackerStatusPinError | api.TrackerStatusPinQueued | api.TrackerStatusPinning
	fates    = underWay | api.TrackerStatusPinned | api.TrackerStatusUnexpectedlyUnpinned |
		api.TrackerStatusUnpinError | api.TrackerStatusUnpinQueued | api.TrackerStatusUnpinning
)

// trackerStatuses hands over what the tracker of one peer says of all pins
// that have one of the statuses.
func (c cluster) trackerStatuses(ctx context.Context, p peer.ID, filter api.TrackerStatus, each func(api.PinInfo) error) error {
	return stream(ctx, c.client, p, "PinTracker", "StatusAll", []api.TrackerStatus{filter}, each)
}

// recover asks the tracker of one peer to try a pin again that is in error or
// that IPFS lost; it does nothing to others.
func (c cluster) recover(ctx context.Context, p peer.ID, key api.Cid) (api.PinInfo, error) {
	return call[api.PinInfo](ctx, c.client, p, "PinTracker", "Recover", key)
}

// id describes a peer and its IPFS node.
func (c cluster) id(ctx context.Context, p peer.ID) (api.ID, error) {
	return call[api.ID](ctx, c.client, p, "Cluster", "ID", struct{}{})
}

// members are the peers of the cluster, this one included.
func (c cluster) members(ctx context.Context) ([]peer.ID, error) {
	return call[[]peer.ID](ctx, c.client, local, "Consensus", "Peers", struct{}{})
}

// pings are the valid signs of life of the members.
func (c cluster) pings(ctx context.Context) ([]api.Metric, error) {
	return call[[]api.Metric](ctx, c.client, local, "PeerMonitor", "LatestMetrics", "ping")
}

// askIPFS asks the IPFS node of this peer for something small. Unlike id it
// may be called before the cluster has given its consensus component a client.
func (c cluster) askIPFS(ctx context.Context) error {
	_, err := call[api.IPFSRepoStat](ctx, c.client, local, "IPFSConnector", "RepoStat", struct{}{})
	return err
}

// block reads a block from the IPFS node of this peer.
func (c cluster) block(ctx context.Context, key api.Cid) ([]byte, error) {
	return call[[]byte](ctx, c.client, local, "IPFSConnector", "BlockGet", key)
}

// call is one request and its answer. A local callee may not look at the
// context, so the call is left to itself when the context ends.
func call[R, A any](ctx context.Context, client *rpc.Client, dest peer.ID, service, method string, arg A) (R, error) {
	var none R
	if ctx.Err() != nil {
		return none, context.Cause(ctx)
	}
	reply := new(R)
	done := make(chan *rpc.Call, 1)
	if err := client.GoContext(ctx, dest, service, method, arg, reply, done); err != nil {
		return none, err
	}
	select {
	case ended := <-done:
		if ended.Error != nil {
			return none, because(ctx, ended.Error)
		}
		return *reply, nil
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

// because is why a call failed: when it was given up for a reason of ours,
// that reason.
func because(ctx context.Context, err error) error {
	var reason *pinsvc.Error
	if errors.As(context.Cause(ctx), &reason) {
		return reason
	}
	return err
}

// stream sends args and hands every reply to each, until each fails or the
// context ends. What follows is read and dropped in the background, because
// senders do not watch the context while they send. A callee that fails early
// may leave the channel of replies open, so that its end counts as well.
func stream[A, R any](ctx context.Context, client *rpc.Client, dest peer.ID, service, method string, args []A, each func(R) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in := make(chan A, len(args))
	for _, arg := range args {
		in <- arg
	}
	close(in)
	out := make(chan R, streamBuffer)
	ended := make(chan error, 1)
	go func() { ended <- client.Stream(ctx, dest, service, method, in, out) }()
	for {
		select {
		case r, ok := <-out:
			if !ok {
				return <-ended
			}
			if err := each(r); err != nil {
				go drop(out, ended)
				return err
			}
		case err := <-ended:
			return takeRest(out, err, each)
		case <-ctx.Done():
			go drop(out, ended)
			return ctx.Err()
		}
	}
}

// takeRest hands over what a stream that has ended left in the channel.
func takeRest[R any](out <-chan R, ended error, each func(R) error) error {
	for {
		select {
		case r, ok := <-out:
			if !ok {
				return ended
			}
			if err := each(r); err != nil {
				return err
			}
		default:
			return ended
		}
	}
}

// drop reads a stream until it has ended.
func drop[R any](out <-chan R, ended <-chan error) {
	for {
		select {
		case _, ok := <-out:
			if !ok {
				out = nil // Wait for the end alone.
			}
		case <-ended:
			return
		}
	}
}
