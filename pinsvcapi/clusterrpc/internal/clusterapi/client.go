// Package clusterapi is the typed client of the RPC services of an IPFS
// Cluster peer: the only place that knows names of services and methods, how
// their streams end, and what the text of their failures means.
package clusterapi

import (
	"context"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Local is the destination of calls to the peer's own services. They are
// served in the same process: no authorization, no serialization, and maps
// and slices are shared with the callee, so all of them are read-only.
const Local peer.ID = ""

// Client is the RPC surface that the backend uses. It is safe for concurrent
// use. Errors of local calls keep their Go value; those of other peers are
// text, which CauseOf reads.
type Client struct {
	rpc       *rpc.Client
	consensus Consensus // nil: by RPC
}

// New returns a client over the one that a peer gives to its components.
func New(client *rpc.Client) Client { return Client{rpc: client} }

// Pin submits the whole record and returns it as it went to the state.
func (c Client) Pin(ctx context.Context, pin api.Pin) (api.Pin, error) {
	return call[api.Pin](ctx, c.rpc, Local, "Cluster", "Pin", pin)
}

// Allocate returns the peers that the cluster would give the pin to, and
// makes all the checks of pin.
func (c Client) Allocate(ctx context.Context, pin api.Pin) ([]peer.ID, error) {
	return call[[]peer.ID](ctx, c.rpc, Local, "Cluster", "BlockAllocate", pin)
}

// Unpin takes a data pin or a sharded root that the state has out of it, and
// returns what there was.
func (c Client) Unpin(ctx context.Context, key api.Cid) (api.Pin, error) {
	return call[api.Pin](ctx, c.rpc, Local, "Cluster", "Unpin", api.PinCid(key))
}

// LogPin submits a record as it is to be in the state. Unlike Pin it makes no checks,
// fills nothing in and does not read the state.
func (c Client) LogPin(ctx context.Context, pin api.Pin) error {
	if c.consensus != nil {
		return c.consensus.LogPin(ctx, pin)
	}
	_, err := call[struct{}](ctx, c.rpc, Local, "Consensus", "LogPin", pin)
	return err
}

// LogUnpin submits a removal. Unlike Unpin it makes no checks and does not read the
// state.
func (c Client) LogUnpin(ctx context.Context, key api.Cid) error {
	if c.consensus != nil {
		return c.consensus.LogUnpin(ctx, api.PinCid(key))
	}
	_, err := call[struct{}](ctx, c.rpc, Local, "Consensus", "LogUnpin", api.PinCid(key))
	return err
}

// PinGet reads one record of the shared state.
func (c Client) PinGet(ctx context.Context, key api.Cid) (api.Pin, error) {
	if c.consensus != nil {
		return c.directGet(ctx, key)
	}
	return call[api.Pin](ctx, c.rpc, Local, "Cluster", "PinGet", key)
}

// PinGetAt reads one record of the state of another peer. Peers of ipfs-cluster-service
// refuse it: see IsDenied.
func (c Client) PinGetAt(ctx context.Context, p peer.ID, key api.Cid) (api.Pin, error) {
	return call[api.Pin](ctx, c.rpc, p, "Cluster", "PinGet", key)
}

// Pins hands every record of the shared state to each, in no order, until
// each fails.
func (c Client) Pins(ctx context.Context, each func(api.Pin) error) error {
	return stream(ctx, c.rpc, Local, "Cluster", "Pins", []struct{}{}, each)
}

// TrackerStatus returns the report of the tracker of one peer about a pin.
// There is no error for a CID that the tracker does not know.
func (c Client) TrackerStatus(ctx context.Context, p peer.ID, key api.Cid) (api.PinInfo, error) {
	return call[api.PinInfo](ctx, c.rpc, p, "PinTracker", "Status", key)
}

// Filters of TrackerStatuses.
const (
	// ActiveStatuses are those of operations that a tracker is at work on or
	// failed at. It reports them from memory.
	ActiveStatuses = api.TrackerStatusPinError | api.TrackerStatusPinQueued | api.TrackerStatusPinning
	// OperationStatuses are those of all operations, removals too. It reports them from
	// memory.
	OperationStatuses = ActiveStatuses | api.TrackerStatusUnpinError | api.TrackerStatusUnpinQueued | api.TrackerStatusUnpinning
	// AllStatuses are all that a tracker gives to pins that its peer should
	// hold. It reads the shared state and all pins of its IPFS node to report them.
	AllStatuses = OperationStatuses | api.TrackerStatusPinned | api.TrackerStatusUnexpectedlyUnpinned
)

// TrackerStatuses hands over the reports of the tracker of one peer about all
// pins that have one of the statuses. The absence of a pin means something only
// when the stream ended without an error.
func (c Client) TrackerStatuses(ctx context.Context, p peer.ID, filter api.TrackerStatus, each func(api.PinInfo) error) error {
	return stream(ctx, c.rpc, p, "PinTracker", "StatusAll", []api.TrackerStatus{filter}, each)
}

// NodePins hands over the pins of this peer's IPFS node that count for its tracker: the
// direct ones, and then the recursive ones. The cluster's connector lists the first of several
// types alone (U109 in docs/upstream-faults.md).
func (c Client) NodePins(ctx context.Context, each func(api.IPFSPinInfo) error) error {
	for _, kind := range []string{"direct", "recursive"} {
		if err := stream(ctx, c.rpc, Local, "IPFSConnector", "PinLs", [][]string{{kind}}, each); err != nil {
			return err
		}
	}
	return nil
}

// Recover has the tracker of one peer retry a pin that is in error or that
// IPFS lost; it does nothing to others.
func (c Client) Recover(ctx context.Context, p peer.ID, key api.Cid) (api.PinInfo, error) {
	return call[api.PinInfo](ctx, c.rpc, p, "PinTracker", "Recover", key)
}

// ID describes a peer and its IPFS node, which the peer queries first.
func (c Client) ID(ctx context.Context, p peer.ID) (api.ID, error) {
	return call[api.ID](ctx, c.rpc, p, "Cluster", "ID", struct{}{})
}

// Members are the peers of the cluster, this one included.
func (c Client) Members(ctx context.Context) ([]peer.ID, error) {
	return call[[]peer.ID](ctx, c.rpc, Local, "Consensus", "Peers", struct{}{})
}

// LatestMetrics returns the valid metrics with that name, one for each member
// that sent one: "ping" shows which peers are alive, "freespace" has what
// the allocator counts.
func (c Client) LatestMetrics(ctx context.Context, name string) ([]api.Metric, error) {
	return call[[]api.Metric](ctx, c.rpc, Local, "PeerMonitor", "LatestMetrics", name)
}

// ProbeIPFS sends a small request to the IPFS node of this peer. Unlike ID it
// may be called before the cluster has given its consensus component a client.
func (c Client) ProbeIPFS(ctx context.Context) error {
	_, err := call[api.IPFSRepoStat](ctx, c.rpc, Local, "IPFSConnector", "RepoStat", struct{}{})
	return err
}

// Block reads a block from the IPFS node of this peer.
func (c Client) Block(ctx context.Context, key api.Cid) ([]byte, error) {
	return call[[]byte](ctx, c.rpc, Local, "IPFSConnector", "BlockGet", key)
}
