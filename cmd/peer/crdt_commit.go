package peer

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/consensus/crdt"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/ipfs/boxo/datastore/dshelp"
	"github.com/ipfs/go-datastore"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/routing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/blockfetch"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/commitstore"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/crdtstore"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/groupcommit"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
)

// committedCRDT is a CRDT consensus whose accepted changes are in the state and on the disk (D12),
// under every API: LogPin and LogUnpin are committed in groups to the state that upstream hands out
// for its own batches, and never go to upstream's. That would leave the sync to the datastore (U5
// in docs/upstream-faults.md), and with batches accept changes that it has not committed (U6).
type committedCRDT struct {
	ipfscluster.Consensus
	cfg     *crdt.Config // the consensus' own copy
	store   *commitstore.Store
	kept    *crdtstore.Store // under store
	blocks  *blockfetch.Exchange
	commits groupcommit.Config

	ctx    context.Context // ends with Shutdown
	cancel context.CancelFunc
	turn   chan struct{} // held while the fields below are set, and for good by Shutdown
	opened atomic.Pointer[openedCRDT]
	// onOpen is called with the Committer before its first write.
	onOpen func(*groupcommit.Committer)
}

// openedCRDT is what there is once the consensus is set up.
type openedCRDT struct {
	state     state.BatchingState
	committer *groupcommit.Committer
}

// NewCRDT makes the CRDT consensus that a Peer runs, for those who put a cluster together
// themselves: a write is in the state and on the disk when LogPin or LogUnpin returns. store is
// used by nobody else. It has its client and is shut down as every component of a cluster.
func NewCRDT(
	ctx context.Context, h host.Host, routes routing.Routing, topics *pubsub.PubSub, cfg *crdt.Config, store datastore.Batching,
) (ipfscluster.Consensus, error) {
	kept, err := crdtstore.Open(ctx, store, datastore.NewKey(cfg.DatastoreNamespace), crdtstore.Options{})
	if err != nil {
		return nil, err
	}
	return newCommittedCRDT(h, routes, topics, crdtConfig(cfg), kept, groupcommit.Config{MaxQueue: cfg.Batching.MaxQueueSize})
}

// newCommittedCRDT makes the consensus on a datastore. Of the commits it sets the state, and what
// this store knows of them.
func newCommittedCRDT(
	h host.Host, routes routing.Routing, topics *pubsub.PubSub,
	cfg *crdt.Config, inner *crdtstore.Store, commits groupcommit.Config,
) (*committedCRDT, error) {
	if commits.Metrics == nil {
		commits.Metrics = groupcommit.NewMetrics()
	}
	store := commitstore.New(inner, cfg.DatastoreNamespace, commitstore.Options{
		Synced: commits.Metrics.Synced, Quiet: inner.Quiet, Abandoned: inner.Abandon, Values: true, Without: inner.Without,
	})
	commits.Watch = func(ctx context.Context) (context.Context, groupcommit.Effects) {
		if inner.Stalled(stalledWalk) { // Only then does a delete not wait for all that is older.
			marks := make(map[string]uint64)
			for key, mark := range groupcommit.Marks(ctx) {
				marks[dshelp.NewKeyFromBinary(key.Bytes()).String()[1:]] = mark
			}
			ctx = crdtstore.Own(ctx, marks)
		}
		return commitstore.Watch(ctx)
	}
	if commits.Incoming == nil {
		commits.Incoming = incoming{inner}
	}
	own := *cfg
	own.Batching.MaxBatchSize, own.Batching.MaxBatchAge = 0, 0
	c := &committedCRDT{cfg: &own, store: store, kept: inner, commits: commits, turn: make(chan struct{}, 1)}
	inner.FetchWith(func(ctx context.Context, id string) ([]byte, bool) { return c.blocks.Get(ctx, id) })
	consensus, err := crdt.New(h, routes, topics, &own, store)
	if err != nil {
		return nil, err
	}
	c.Consensus = consensus
	c.blocks = blockfetch.New(blockfetch.Config{Host: h, Blocks: inner, Trusted: consensus.IsTrustedPeer})
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

// incoming are the branches that are being walked.
type incoming struct{ *crdtstore.Store }

// Awaits implements groupcommit.Incoming.
func (i incoming) Awaits(mark uint64) bool { return i.HoldsBack(mark, stalledWalk) }

// Came implements groupcommit.Incoming.
func (i incoming) Came() <-chan struct{} { return i.WalkEnded() }

// stalledWalk is how long writes are held back for a walk of the DAG that makes no progress: longer
// than upstream waits for a block (DAGSyncerTimeout). A block that no peer has any more must not stop
// the writes of this one for good.
const stalledWalk = 150 * time.Second

// LogPin returns when the pin is in the state and on the disk. It heeds the condition of its context.
func (c *committedCRDT) LogPin(ctx context.Context, pin api.Pin) error {
	opened, err := c.open(ctx)
	if err != nil {
		return err
	}
	if condition, ok := clusterrpc.WriteCondition(ctx, pin.Cid); ok {
		return opened.committer.PinIf(ctx, pin, condition.Holds)
	}
	return opened.committer.Pin(ctx, pin)
}

// LogUnpin returns when the pin is gone from the state, and that is on the disk. It heeds the
// condition of its context.
func (c *committedCRDT) LogUnpin(ctx context.Context, pin api.Pin) error {
	opened, err := c.open(ctx)
	if err != nil {
		return err
	}
	if condition, ok := clusterrpc.WriteCondition(ctx, pin.Cid); ok {
		return opened.committer.UnpinIf(ctx, pin.Cid, condition.Holds)
	}
	return opened.committer.Unpin(ctx, pin.Cid)
}

// State returns the shared state once the consensus is set up. What it shows survives the process,
// whichever peer made it.
func (c *committedCRDT) State(ctx context.Context) (state.ReadOnly, error) {
	opened, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	return shownState{opened.state}, nil
}

// shownState is a state whose reads are shown to clients, to other peers and to the tracker.
type shownState struct{ state.ReadOnly }

// Get implements state.ReadOnly.
func (s shownState) Get(ctx context.Context, c api.Cid) (api.Pin, error) {
	return s.ReadOnly.Get(crdtstore.Shown(ctx), c)
}

// Has implements state.ReadOnly.
func (s shownState) Has(ctx context.Context, c api.Cid) (bool, error) {
	return s.ReadOnly.Has(crdtstore.Shown(ctx), c)
}

// List implements state.ReadOnly.
func (s shownState) List(ctx context.Context, out chan<- api.Pin) error {
	return s.ReadOnly.List(crdtstore.Shown(ctx), out)
}

// open waits until the consensus is set up and starts the commits.
func (c *committedCRDT) open(ctx context.Context) (*openedCRDT, error) {
	if opened := c.opened.Load(); opened != nil {
		return opened, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, c.ended(ctx)
	}
	defer func() { <-c.turn }()
	if opened := c.opened.Load(); opened != nil {
		return opened, nil
	}
	if c.ctx.Err() != nil { // Shutdown may be over, and would not end what is started now.
		return nil, c.ended(ctx)
	}
	batching, err := c.batchingState(ctx)
	if err != nil {
		return nil, errors.Join(err, c.ended(ctx))
	}
	commits := c.commits
	commits.State = batching
	opened := &openedCRDT{state: batching, committer: groupcommit.New(commits)}
	if c.onOpen != nil {
		c.onOpen(opened.committer)
	}
	c.opened.Store(opened)
	return opened, nil
}

func (c *committedCRDT) ended(ctx context.Context) error {
	if c.ctx.Err() != nil {
		return groupcommit.ErrClosed
	}
	return ctx.Err()
}

// batchingState takes upstream's state for batches. State returns it if batches are configured, and
// reads that when it is called. They are configured for one call, after the setup, which would
// otherwise start workers that commit by a timer and whose end may panic (U6).
func (c *committedCRDT) batchingState(ctx context.Context) (state.BatchingState, error) {
	if _, err := c.Consensus.State(ctx); err != nil { // Waits for the setup.
		return nil, err
	}
	c.cfg.Batching.MaxBatchSize, c.cfg.Batching.MaxBatchAge = 1, 1
	st, err := c.Consensus.State(ctx)
	c.cfg.Batching.MaxBatchSize, c.cfg.Batching.MaxBatchAge = 0, 0
	if err != nil {
		return nil, err
	}
	batching, ok := st.(state.BatchingState)
	if !ok {
		return nil, fmt.Errorf("the CRDT handed out %T, which cannot be committed to", st)
	}
	return batching, nil
}

// left returns the record that the state has of a pin when the CRDT's hook says that it was removed, and
// whether it is gone (U13 in docs/upstream-faults.md): neither, when the change that removes it, of whichever
// peer, is about to add it, or when the state cannot be read. It waits for nothing.
func (c *committedCRDT) left(ctx context.Context, key api.Cid) (rec *api.Pin, gone bool) {
	name := dshelp.NewKeyFromBinary(key.Bytes()).String()[1:]
	replaces := c.kept.Replaces(name) // Before the value is read: what is merged meanwhile is no removal.
	value, err := c.kept.Value(ctx, name)
	if err == nil && value == nil {
		return nil, !replaces
	}
	rec = &api.Pin{}
	if err = errors.Join(err, rec.ProtoUnmarshal(value)); err != nil {
		logger.Warnf("reading what is left of pin %s: %s", key, err)
		return nil, false
	}
	rec.Cid = key
	return rec, false
}

// Shutdown commits what was accepted and shuts the consensus down.
func (c *committedCRDT) Shutdown(ctx context.Context) error {
	c.cancel()
	failed := c.blocks.Close(ctx)
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if opened := c.opened.Load(); opened != nil {
		failed = errors.Join(failed, opened.committer.Close(ctx))
	}
	return errors.Join(failed, c.Consensus.Shutdown(ctx), c.store.Close(), c.kept.Shutdown(ctx))
}
