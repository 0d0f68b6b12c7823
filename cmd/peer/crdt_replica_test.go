package peer

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/consensus/crdt"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	pebbleds "github.com/ipfs/go-ds-pebble"
	"github.com/libp2p/go-libp2p"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	routinghelpers "github.com/libp2p/go-libp2p-routing-helpers"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	mh "github.com/multiformats/go-multihash"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/crdtstore"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/groupcommit"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// replica is a real CRDT consensus on loopback, with a tracker that notes its calls.
type replica struct {
	*committedCRDT
	host  host.Host
	calls *trackerCalls
}

// trackerCalls is the RPC service PinTracker, as far as the CRDT's hooks call it.
type trackerCalls struct {
	mu   sync.Mutex
	list []string
	// left is asked as the peer's own tracker asks it.
	left func(context.Context, api.Cid) (*api.Pin, bool)
}

func (c *trackerCalls) Track(_ context.Context, pin api.Pin, _ *struct{}) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, "track "+pin.Name)
	return nil
}

func (c *trackerCalls) Untrack(ctx context.Context, pin api.Pin, _ *struct{}) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, gone := c.left(ctx, pin.Cid); gone {
		c.list = append(c.list, "untrack")
	}
	return nil
}

// since returns the calls after the first n.
func (c *trackerCalls) since(n int) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.list[n:]...)
}

// quietRouting finds nothing and drops what it is to provide.
type quietRouting struct{ routinghelpers.Null }

func (quietRouting) Provide(context.Context, cid.Cid, bool) error { return nil }

// startReplica starts one on a datastore and connects it to others. The test stops it, unless stop is
// called before.
func startReplica(t testing.TB, store datastore.Batching, commits groupcommit.Config, join ...*replica) *replica {
	t.Helper()
	r := setUpReplica(t, store, commits)
	for _, other := range join {
		noError(t, r.host.Connect(t.Context(), addrInfo(other)))
	}
	_, err := r.State(t.Context())
	noError(t, err)
	return r
}

// setUpReplica is startReplica of one whose state nobody has asked for.
func setUpReplica(t testing.TB, store datastore.Batching, commits groupcommit.Config) *replica {
	t.Helper()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.Transport(tcp.NewTCPTransport),
		libp2p.DisableRelay(), libp2p.DisableMetrics(), libp2p.ResourceManager(nil))
	noError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	topics, err := pubsub.NewGossipSub(ctx, h, pubsub.WithFloodPublish(true))
	noError(t, err)
	cfg := &crdt.Config{}
	noError(t, cfg.Default())
	cfg.RebroadcastInterval = 500 * time.Millisecond
	kept, err := crdtstore.Open(t.Context(), store, datastore.NewKey(cfg.DatastoreNamespace), crdtstore.Options{})
	noError(t, err)
	consensus, err := newCommittedCRDT(h, quietRouting{}, topics, cfg, kept, commits)
	noError(t, err)
	r := &replica{committedCRDT: consensus, host: h, calls: &trackerCalls{left: consensus.left}}
	server := rpc.NewServer(nil, "test")
	noError(t, server.RegisterName("PinTracker", r.calls))
	r.SetClient(rpc.NewClientWithServer(nil, "test", server))
	t.Cleanup(func() {
		r.stop(t)
		cancel()
		noError(t, h.Close())
	})
	return r
}

func addrInfo(r *replica) peer.AddrInfo {
	return peer.AddrInfo{ID: r.host.ID(), Addrs: r.host.Addrs()}
}

func (r *replica) stop(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := r.Shutdown(ctx); err != nil {
		t.Errorf("stop a replica: %v", err)
	}
}

// pins is the whole state, as text.
func (r *replica) pins(t *testing.T) string {
	t.Helper()
	st, err := r.State(t.Context())
	noError(t, err)
	out := make(chan api.Pin, 10_000)
	noError(t, st.List(t.Context(), out))
	var lines []string
	for pin := range out {
		lines = append(lines, pin.Cid.String()+"="+pin.Name)
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// name is that of a pin in the state, "" when there is none.
func (r *replica) name(t *testing.T, c api.Cid) string {
	t.Helper()
	st, err := r.State(t.Context())
	noError(t, err)
	pin, err := st.Get(t.Context(), c)
	if err != nil {
		return ""
	}
	return pin.Name
}

// agree waits until replicas have the same state.
func agree(t *testing.T, replicas ...*replica) {
	t.Helper()
	await.Success(t, "agreement", func() error {
		first := replicas[0].pins(t)
		for _, r := range replicas[1:] {
			if other := r.pins(t); other != first {
				return fmt.Errorf("one peer has\n%s\nthe other\n%s", first, other)
			}
		}
		return nil
	})
}

func testCID(n int) api.Cid {
	sum, err := mh.Sum(fmt.Appendf(nil, "content %d", n), mh.SHA2_256, -1)
	if err != nil {
		panic(err) // SHA2-256 is always there.
	}
	return api.NewCid(cid.NewCidV1(cid.Raw, sum))
}

func testPin(n int, name string) api.Pin {
	return api.PinWithOpts(testCID(n), api.PinOptions{Name: name, ReplicationFactorMin: -1, ReplicationFactorMax: -1})
}

// openPebble opens pebble on a filesystem. What it has when the test ends is closed.
func openPebble(t *testing.T, fs vfs.FS) *pebbleds.Datastore {
	t.Helper()
	return openPebbleIn(t, "/store", fs)
}

func openPebbleIn(t testing.TB, folder string, fs vfs.FS) *pebbleds.Datastore {
	t.Helper()
	store, err := pebbleds.NewDatastore(folder, pebbleds.WithPebbleOpts(&pebble.Options{FS: fs}))
	noError(t, err)
	t.Cleanup(func() { noError(t, store.Close()) })
	return store
}

// dying is a datastore whose process dies, or whose disk fails, after some writes.
type dying struct {
	datastore.Batching
	mu    sync.Mutex
	left  int // writes until it fails; negative: it does not
	fails int // how many writes fail then; negative: all
}

var errDied = errors.New("the disk failed")

func (d *dying) fail() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.left < 0:
		return nil
	case d.left > 0:
		d.left--
		return nil
	case d.fails == 0:
		d.left = -1
		return nil
	}
	d.fails--
	return errDied
}

// after lets the store fail after n writes, so many times.
func (d *dying) after(n, fails int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left, d.fails = n, fails
}

func (d *dying) Put(ctx context.Context, key datastore.Key, value []byte) error {
	if err := d.fail(); err != nil {
		return err
	}
	return d.Batching.Put(ctx, key, value)
}

func (d *dying) Delete(ctx context.Context, key datastore.Key) error {
	if err := d.fail(); err != nil {
		return err
	}
	return d.Batching.Delete(ctx, key)
}

func (d *dying) Sync(ctx context.Context, key datastore.Key) error {
	if err := d.fail(); err != nil {
		return err
	}
	return d.Batching.Sync(ctx, key)
}

func (d *dying) Batch(ctx context.Context) (datastore.Batch, error) {
	b, err := d.Batching.Batch(ctx)
	return &dyingBatch{b, d}, err
}

type dyingBatch struct {
	datastore.Batch
	store *dying
}

func (b *dyingBatch) Commit(ctx context.Context) error {
	if err := b.store.fail(); err != nil {
		return err
	}
	return b.Batch.Commit(ctx)
}
