package crdtstore

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/boxo/ipld/merkledag"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/namespace"
	"github.com/ipfs/go-datastore/query"
	crdt "github.com/ipfs/go-ds-crdt"
	logging "github.com/ipfs/go-log/v2"
	"go.uber.org/zap"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

var root = datastore.NewKey("/c")

// deadline bounds failures; no test waits for it to pass.
const deadline = 30 * time.Second

// feed is a broadcaster whose messages the test hands over.
type feed struct {
	in chan []byte

	mu   sync.Mutex
	sent [][]byte
}

func (f *feed) Broadcast(_ context.Context, data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent = append(f.sent, data)
	return nil
}

func (f *feed) last() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent[len(f.sent)-1]
}

func (f *feed) Next(ctx context.Context) ([]byte, error) {
	select {
	case data := <-f.in:
		return data, nil
	case <-ctx.Done():
		return nil, crdt.ErrNoMoreBroadcast
	}
}

// network fetches blocks from the blockstores of other replicas.
type network struct {
	mu     sync.Mutex
	others []blockstore.Blockstore
	own    blockstore.Blockstore
	left   int           // blocks until it finds nothing more; negative: no limit
	gate   chan struct{} // if not nil, each block waits for one
}

func (n *network) limit(left int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.left = left
}

func (n *network) GetBlock(ctx context.Context, c cid.Cid) (blocks.Block, error) {
	n.mu.Lock()
	others, gate := slices.Clone(n.others), n.gate
	if n.left == 0 {
		others = nil
	} else {
		n.left--
	}
	n.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	for _, other := range others {
		if b, err := other.Get(ctx, c); err == nil {
			return b, n.own.PutMany(ctx, []blocks.Block{b})
		}
	}
	return nil, fmt.Errorf("nobody has %s", c)
}

func (n *network) GetBlocks(ctx context.Context, cids []cid.Cid) (<-chan blocks.Block, error) {
	out := make(chan blocks.Block, len(cids))
	defer close(out)
	for _, c := range cids {
		if b, err := n.GetBlock(ctx, c); err == nil {
			out <- b
		}
	}
	return out, nil
}

func (n *network) NotifyNewBlocks(context.Context, ...blocks.Block) error { return nil }
func (n *network) Close() error                                           { return nil }

// replica is a go-ds-crdt over a disk.
type replica struct {
	t       testing.TB
	disk    *disk
	store   *Store // nil without one
	crdt    *crdt.Datastore
	feed    *feed
	blocks  blockstore.Blockstore
	network *network

	mu   sync.Mutex
	told map[string]string // what hooks and Changed said last, by key
}

// start opens a replica: over a Store, or as upstream does without one.
func start(t testing.TB, d *disk, plain bool) *replica {
	t.Helper()
	if !plain {
		return startWith(t, d, Options{})
	}
	r := newReplica(t, d)
	r.run(d)
	return r
}

// startWith opens a replica over a Store with options, of which it sets Changed.
func startWith(t testing.TB, d *disk, opts Options) *replica {
	t.Helper()
	r := newReplica(t, d)
	opts.Changed = r.changed
	store, err := Open(t.Context(), d, root, opts)
	noError(t, err)
	r.store = store
	r.run(store)
	return r
}

func newReplica(t testing.TB, d *disk) *replica {
	return &replica{t: t, disk: d, feed: &feed{in: make(chan []byte)}, told: make(map[string]string)}
}

func (r *replica) run(ds datastore.Batching) {
	r.t.Helper()
	r.blocks = blockstore.NewBlockstore(namespace.Wrap(ds, root.ChildString("b")), blockstore.WriteThrough(true))
	r.network = &network{own: r.blocks, left: -1}
	opts := crdt.DefaultOptions()
	opts.Logger = &logging.ZapEventLogger{SugaredLogger: *zap.NewNop().Sugar()}
	opts.DAGSyncerTimeout = time.Second
	opts.RepairInterval = 50 * time.Millisecond
	opts.PutHook = func(k datastore.Key, v []byte) { r.changed(k.String()[1:], v) }
	opts.DeleteHook = func(k datastore.Key) { r.changed(k.String()[1:], nil) }
	var err error
	r.crdt, err = crdt.New(queried{ds, r.disk}, root, merkledag.NewDAGService(blockservice.New(r.blocks, r.network)), r.feed, opts)
	noError(r.t, err)
	r.t.Cleanup(r.stop)
}

func (r *replica) changed(key string, value []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if value == nil {
		delete(r.told, key)
	} else {
		r.told[key] = string(value)
	}
}

func (r *replica) stop() {
	if r.crdt != nil {
		_ = r.crdt.Close()
		r.crdt = nil
	}
}

// restart is a start after a kill.
func (r *replica) restart() *replica {
	r.t.Helper()
	r.stop()
	return start(r.t, r.disk.reopen(), r.store == nil)
}

func (r *replica) put(key, value string) error {
	return r.crdt.Put(r.t.Context(), datastore.NewKey(key), []byte(value))
}

func (r *replica) delete(key string) error {
	return r.crdt.Delete(r.t.Context(), datastore.NewKey(key))
}

// reach lets the replica fetch the blocks of another.
func (r *replica) reach(other *replica) {
	r.network.mu.Lock()
	defer r.network.mu.Unlock()
	r.network.others = append(r.network.others, other.blocks)
}

// hear hands a message of another replica over.
func (r *replica) hear(data []byte) {
	r.t.Helper()
	select {
	case r.feed.in <- data:
	case <-time.After(deadline):
		r.t.Fatal("the replica takes no messages")
	}
}

// heads is a message with all heads, as peers send it about every minute.
func (r *replica) heads() []byte {
	var out []byte
	for _, c := range r.crdt.InternalStats(r.t.Context()).Heads {
		// CRDTBroadcast{repeated Head heads = 1}, Head{bytes cid = 1}.
		head := append([]byte{0x0a, byte(len(c.Bytes()))}, c.Bytes()...)
		out = append(append(out, 0x0a, byte(len(head))), head...)
	}
	return out
}

// values are what the replica has.
func (r *replica) values() map[string]string {
	r.t.Helper()
	results, err := r.crdt.Query(r.t.Context(), query.Query{})
	noError(r.t, err)
	entries, err := results.Rest()
	noError(r.t, err)
	values := make(map[string]string, len(entries))
	for _, e := range entries {
		values[e.Key] = string(e.Value)
	}
	return values
}

// converge has two replicas tell each other their heads until they have the same values.
func converge(t testing.TB, a, b *replica) {
	t.Helper()
	a.reach(b)
	b.reach(a)
	await.Success(t, "both have the same", func() error {
		a.hear(b.heads())
		b.hear(a.heads())
		if va, vb := a.values(), b.values(); !maps.Equal(va, vb) {
			return fmt.Errorf("%d and %d values", len(va), len(vb))
		}
		return nil
	})
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var _ io.Closer = (*network)(nil)
