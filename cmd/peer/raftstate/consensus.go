package raftstate

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/consensus/raft"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multicodec"
	"github.com/multiformats/go-multihash"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
)

// Consensus is the cluster's Raft component with a state that holds what was asked for.
type Consensus struct {
	ipfscluster.Consensus
	store *Store
	// applied is closed when this peer has applied all that was committed before its start.
	applied     chan struct{}
	appliedOnce sync.Once

	writes *writes
	keys   *keys
	self   peer.ID
	// full is Options.Full.
	full func() error
	// left is set when this peer is no member any more, and stays when it was to leave and could not.
	left, stays atomic.Bool
	// reads are the calls for the state.
	reads stateReads
	// retries is how often a write that upstream refuses is made again: commit_retries.
	retries int
}

const (
	// barrierTimeout is how long a peer waits for an entry of its own before it proposes another:
	// the entry may have come as part of a snapshot.
	barrierTimeout = 5 * time.Second
	// applyPoll is how often the state is read for a change whose entry may have come as part of a
	// snapshot.
	applyPoll = 250 * time.Millisecond
	// leaderPoll is how often a write looks whether there is another leader, and leaderGrace how long
	// it goes on then: upstream asks the new leader after 2 seconds if the old one has refused.
	leaderPoll, leaderGrace = 200 * time.Millisecond, 3 * time.Second
	// leaderLimit bounds a write that another peer has to accept (U72 in docs/upstream-faults.md).
	leaderLimit = 10 * time.Second
)

// Options are what a Raft component may have beside its configuration.
type Options struct {
	// Staging is for a peer that joins others.
	Staging bool
	// Full returns why no change may begin at this peer or be handed to it, or nil. It is called for each change,
	// by many goroutines at once. nil: there is always space.
	Full func() error
}

// New makes the Raft component of a peer. The store is where it keeps the state. The store of the daemon is in
// memory and refuses nothing; for a program whose store is on a disk, what an entry or a snapshot changes is tried
// again until the store takes it (U104 in docs/upstream-faults.md).
func New(h host.Host, cfg *raft.Config, store datastore.Datastore, opts Options) (*Consensus, error) {
	wrapped := NewStore(store, cfg.DatastoreNamespace)
	wrapped.hold = newHold()
	if cfg.RaftConfig.Logger == nil {
		cfg.RaftConfig.Logger = hclog.NewNullLogger()
	}
	cfg.RaftConfig.Logger = restoreLogger{cfg.RaftConfig.Logger, wrapped}
	once := *cfg
	once.CommitRetries = 0 // By makeAgain instead.
	inner, err := raft.NewConsensus(pipelineHost{h}, &once, wrapped, opts.Staging)
	if err != nil {
		return nil, err
	}
	c := &Consensus{
		Consensus: inner, store: wrapped, applied: make(chan struct{}), writes: newWrites(h), keys: newKeys(), self: h.ID(),
		retries: cfg.CommitRetries, full: opts.Full,
	}
	c.reads.read = inner.State
	if err := c.writes.serve(c); err != nil {
		return nil, errors.Join(err, c.Shutdown(context.Background()))
	}
	return c, nil
}

// SetClient connects the component to the cluster. Entries of the log are applied from then on.
func (c *Consensus) SetClient(client *rpc.Client) {
	c.Consensus.SetClient(client)
	c.store.hold.end(nil)
}

// Shutdown stops the component. Without a client, entries that wait for it are not applied.
func (c *Consensus) Shutdown(ctx context.Context) error {
	c.store.hold.end(errNoClient)
	c.store.stop()
	c.writes.close()
	// The list of a leader that could not leave lacks it too: a change that is not committed counts there.
	if members, err := c.Peers(ctx); err == nil && !c.stays.Load() && !slices.Contains(members, c.self) {
		c.left.Store(true) // The others have removed it.
	}
	return c.Consensus.Shutdown(ctx)
}

// Clean removes what Raft has on the disk, if this peer has left the cluster. Upstream also calls it when the peer
// was to leave and could not (U119 in docs/upstream-faults.md).
func (c *Consensus) Clean(ctx context.Context) error {
	if !c.left.Load() {
		return errors.New("this peer is still a member of the cluster: what Raft has on the disk is kept")
	}
	return c.Consensus.Clean(ctx)
}

// OnRestore sets what is called after a snapshot of the leader changed the state. It must not block.
func (c *Consensus) OnRestore(f func(Restored)) { c.store.OnRestore(f) }

// LogPin commits a pin. When it returns nil the state of this peer has the change, on a follower
// too. It heeds the condition of its context.
func (c *Consensus) LogPin(ctx context.Context, pin api.Pin) error {
	if condition, ok := clusterrpc.WriteCondition(ctx, pin.Cid); ok {
		return c.pinIf(ctx, pin, condition)
	}
	pin, m, redirected, err := marked(pin)
	if err != nil {
		return err
	}
	end, err := c.begin(ctx, pin.Cid, m.nonce, redirected)
	if err != nil {
		return err
	}
	defer end()
	entry, forget := c.store.expect(m.nonce)
	defer forget()
	if err := c.underOneLeader(ctx, entry, func(ctx context.Context) error { return c.Consensus.LogPin(ctx, pin) }); err != nil {
		return err
	}
	return c.awaitPin(ctx, entry, pin.Cid, m)
}

// LogUnpin commits the removal of a pin, as LogPin does a pin. The entry has the CID alone, so that
// nothing else of the pin is left to the next entry.
func (c *Consensus) LogUnpin(ctx context.Context, pin api.Pin) error {
	if condition, ok := clusterrpc.WriteCondition(ctx, pin.Cid); ok {
		return c.unpinIf(ctx, pin.Cid, condition)
	}
	removed := api.PinCid(pin.Cid)
	nonce, redirected := removalNonce(pin)
	end, err := c.begin(ctx, pin.Cid, nonce, redirected)
	if err != nil {
		return err
	}
	defer end()
	removed.Metadata = map[string]string{markKey: noMark + nonce}
	entry, forget := c.store.expect(c.store.key(pin.Cid).String())
	defer forget()
	if err := c.underOneLeader(ctx, entry, func(ctx context.Context) error { return c.Consensus.LogUnpin(ctx, removed) }); err != nil {
		return err
	}
	return c.awaitRemoval(ctx, entry, pin.Cid)
}

// AddPeer adds a member to the cluster.
func (c *Consensus) AddPeer(ctx context.Context, id peer.ID) error {
	return c.makeAgain(ctx, func(ctx context.Context) error { return c.Consensus.AddPeer(ctx, id) })
}

// RmPeer removes a member from the cluster. A peer that leaves by itself does so while it is stopped, and a stop
// has a limit: it does not wait for a leader for longer than leaderLimit.
func (c *Consensus) RmPeer(ctx context.Context, id peer.ID) error {
	if id == c.self {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, leaderLimit)
		defer cancel()
	}
	err := c.makeAgain(ctx, func(ctx context.Context) error { return c.Consensus.RmPeer(ctx, id) })
	if id == c.self {
		c.left.Store(err == nil)
		c.stays.Store(err != nil)
	}
	return err
}

// makeAgain repeats what upstream refuses, as upstream would. That would also repeat a write with a condition
// without comparing again (U106 in docs/upstream-faults.md). Upstream pauses before it refuses.
func (c *Consensus) makeAgain(ctx context.Context, write func(context.Context) error) error {
	for try := 0; ; try++ {
		if err := write(ctx); err == nil || try >= c.retries || ctx.Err() != nil || lasts(err) {
			return err
		}
	}
}

// msgNoLeader is of Consensus.redirectToLeader of upstream, which has waited for wait_for_leader_timeout then.
const msgNoLeader = "timed out waiting for leader"

// lasts reports whether the cause of a refusal lasts for longer than upstream pauses. The error may be of another
// peer, of which only the text is left.
func lasts(err error) bool {
	text := err.Error()
	return strings.Contains(text, msgNoLeader) || strings.Contains(text, errLeaderLogFull.Error())
}

// onceOnly is a write that has no effect when it is repeated though the try before was committed: the
// response of a leader may be lost, and a newer change of the pin may have been accepted since. All
// that was committed before is applied first.
func (c *Consensus) onceOnly(entry expected, write func(context.Context) error) func(context.Context) error {
	var failed error
	return func(ctx context.Context) error {
		if failed != nil {
			if err := c.barrier(ctx); err != nil {
				return errors.Join(failed, err)
			}
			select {
			case <-entry.applied:
				return nil
			default:
			}
		}
		failed = write(ctx)
		return failed
	}
}

// underOneLeader ends a write that another leader than the present one would have to accept. A write
// that was redirected to a leader that is frozen gets no response, and would wait for as long as its
// caller does. It returns when upstream has: what upstream goes on with may still be committed (U70 in
// docs/upstream-faults.md).
func (c *Consensus) underOneLeader(ctx context.Context, entry expected, write func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- c.makeAgain(ctx, c.onceOnly(entry, write)) }()
	tick := time.NewTicker(leaderPoll)
	defer tick.Stop()
	first, _ := c.Leader(ctx) // Empty when there is none now.
	began := time.Now()
	var changed time.Time
	var late error
	for {
		select {
		case err := <-done:
			if err != nil && late != nil {
				return late
			}
			return err
		case <-tick.C:
		}
		leader, err := c.Leader(ctx)
		if err == nil && first == "" {
			first = leader
		}
		if err == nil && leader != first && changed.IsZero() {
			changed = time.Now()
		}
		switch {
		case late != nil || err == nil && leader == c.self && changed.IsZero():
			continue // It has been ended, or upstream commits it here.
		case first != c.self && !changed.IsZero() && time.Since(changed) > leaderGrace:
			late = errors.New("the Raft leader that was asked does not respond and is leader no more; the change may still take effect")
		case time.Since(began) > leaderLimit:
			late = fmt.Errorf("no Raft leader has accepted the change within %s; the change may still take effect", leaderLimit)
		default:
			continue
		}
		cancel()
	}
}

// await waits until this peer has applied a committed entry: a follower applies it a moment after
// the leader. Once a snapshot was restored, which may contain the entry, it waits until all that was
// committed before is here; the state alone may show what others made of the pin since.
func (c *Consensus) await(ctx context.Context, entry expected, key api.Cid, in func(api.Pin, error) bool) error {
	tick := time.NewTicker(applyPoll)
	defer tick.Stop()
	restored := entry.restored
	for {
		select {
		case <-entry.applied:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("the change is committed, and this peer has not applied it yet; the change may still take effect: %w", ctx.Err())
		case <-restored:
			restored = nil
		case <-tick.C:
		}
		if st, err := c.State(ctx); err == nil && in(st.Get(ctx, key)) {
			return nil
		}
		if restored == nil && c.barrier(ctx) == nil {
			return nil
		}
	}
}

func (c *Consensus) awaitPin(ctx context.Context, entry expected, key api.Cid, m mark) error {
	return c.await(ctx, entry, key, func(now api.Pin, err error) bool {
		record, invalid := now.ProtoMarshal()
		return err == nil && invalid == nil && string(record) == string(m.record)
	})
}

func (c *Consensus) awaitRemoval(ctx context.Context, entry expected, key api.Cid) error {
	return c.await(ctx, entry, key, func(_ api.Pin, err error) bool { return errors.Is(err, state.ErrNotFound) })
}

// WaitForSync waits for a leader, and until this peer has applied all that was committed before the
// call. Upstream counts an entry as applied when it is queued (U33 in docs/upstream-faults.md).
func (c *Consensus) WaitForSync(ctx context.Context) error {
	if err := c.Consensus.WaitForSync(ctx); err != nil {
		return err
	}
	for {
		err := c.barrier(ctx)
		if err == nil {
			c.appliedOnce.Do(func() { close(c.applied) })
		}
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return err
		}
	}
}

// Applied returns a channel that is closed by the first WaitForSync that succeeds.
func (c *Consensus) Applied() <-chan struct{} { return c.applied }

// barrier proposes an entry that changes nothing, the removal of a pin that cannot exist, and waits
// until it is applied here.
func (c *Consensus) barrier(ctx context.Context) error {
	key, err := barrierCID()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, barrierTimeout)
	defer cancel()
	// await's look at the state would be satisfied at once.
	entry, forget := c.store.expect(c.store.key(key).String())
	defer forget()
	propose := func(ctx context.Context) error { return c.Consensus.LogUnpin(ctx, api.PinCid(key)) }
	if err := c.makeAgain(ctx, propose); err != nil {
		return err
	}
	select {
	case <-entry.applied:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// barrierPrefix begins the identity hash of the CIDs of barriers.
const barrierPrefix = "pinsvc.barrier."

// barrierCID is a CID that no pin has: its codec is refused everywhere.
func barrierCID() (api.Cid, error) {
	hash, err := multihash.Sum([]byte(barrierPrefix+rand.Text()), multihash.IDENTITY, -1)
	if err != nil {
		return api.CidUndef, err
	}
	return api.NewCid(cid.NewCidV1(uint64(multicodec.Libp2pKey), hash)), nil
}

// isBarrier reports whether a removal is a barrier.
func isBarrier(c api.Cid) bool {
	if c.Type() != uint64(multicodec.Libp2pKey) {
		return false
	}
	hash, err := multihash.Decode(c.Hash())
	return err == nil && hash.Code == multihash.IDENTITY && len(hash.Digest) > len(barrierPrefix) &&
		string(hash.Digest[:len(barrierPrefix)]) == barrierPrefix
}
