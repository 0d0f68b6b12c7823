package clusterrpc

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/ipfs/go-cid"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/peer"
)

// me is the peer that the fake services belong to. The tests need a valid ID
// for the addresses of its IPFS node.
var me = mustPeerID("12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA")

func mustPeerID(text string) peer.ID {
	id, err := peer.Decode(text)
	if err != nil {
		panic(err)
	}
	return id
}

// fakeClock stands still until a test moves it.
type fakeClock struct{ ahead atomic.Int64 }

func (c *fakeClock) now() time.Time {
	return time.Unix(1_800_000_000, 0).Add(time.Duration(c.ahead.Load()))
}

func (c *fakeClock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// services are RPC services of a peer that does what a test says: they record
// calls, fail, and wait. It keeps records as the cluster's state does.
type services struct {
	mu      sync.Mutex
	calls   []string
	fails   map[string]error
	hangs   map[string]chan struct{}
	pins    map[cid.Cid]api.Pin
	answers map[cid.Cid]api.PinInfo
	peers   []peer.ID
	alloc   []peer.ID
	id      api.ID
	pinged  bool
	batch   bool // writes are accepted and not made
}

func newServices() *services {
	addr, err := api.NewMultiaddr("/ip4/203.0.113.7/tcp/4001")
	if err != nil {
		panic(err)
	}
	return &services{
		fails: make(map[string]error), hangs: make(map[string]chan struct{}),
		pins: make(map[cid.Cid]api.Pin), answers: make(map[cid.Cid]api.PinInfo),
		peers: []peer.ID{me}, alloc: []peer.ID{me}, pinged: true,
		id: api.ID{ID: me, IPFS: api.IPFSID{ID: me, Addresses: []api.Multiaddr{addr}}},
	}
}

// client answers calls to every peer from these services, in the process.
func (s *services) client(t testing.TB) *rpc.Client {
	t.Helper()
	server := rpc.NewServer(nil, "/test")
	err := errors.Join(
		server.RegisterName("Cluster", &fakeCluster{s}),
		server.RegisterName("PinTracker", &fakeTracker{s}),
		server.RegisterName("Consensus", &fakeConsensus{s}),
		server.RegisterName("PeerMonitor", &fakeMonitor{s}),
		server.RegisterName("IPFSConnector", &fakeConnector{s}),
	)
	if err != nil {
		t.Fatal(err)
	}
	return rpc.NewClientWithServer(nil, "/test", server)
}

// backend is ready, and closed with the test.
func (s *services) backend(t testing.TB, opts Options) *Backend {
	t.Helper()
	opts.Self = me
	if opts.RoundInterval == 0 {
		opts.RoundInterval = time.Microsecond
	}
	if opts.MaxPinAttempts == 0 {
		opts.MaxPinAttempts = 1
	}
	b := New(s.client(t), opts)
	t.Cleanup(b.Close)
	ready(t, b)
	return b
}

func ready(t testing.TB, b *Backend) {
	t.Helper()
	until(t, "ready", func() bool { return b.Ready() == nil })
}

// until waits for something that happens in the background.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("never %s", what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// set changes the services under their lock.
func (s *services) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *services) fail(method string, err error) { s.set(func() { s.fails[method] = err }) }

// hang lets calls wait without a look at their context until release.
func (s *services) hang(method string) (release func()) {
	ch := make(chan struct{})
	s.set(func() { s.hangs[method] = ch })
	return sync.OnceFunc(func() {
		s.set(func() { delete(s.hangs, method) })
		close(ch)
	})
}

// called is how often a method was.
func (s *services) called(method string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, call := range s.calls {
		if call == method {
			n++
		}
	}
	return n
}

// begin is what each method starts with.
func (s *services) begin(method string) error {
	s.mu.Lock()
	s.calls = append(s.calls, method)
	err, hang := s.fails[method], s.hangs[method]
	s.mu.Unlock()
	if hang != nil {
		<-hang
	}
	return err
}

func (s *services) write(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.batch {
		f()
	}
}

type fakeCluster struct{ *services }

func (f *fakeCluster) Pin(_ context.Context, in api.Pin, out *api.Pin) error {
	if err := f.begin("Cluster.Pin"); err != nil {
		return err
	}
	in.Timestamp = time.Now()
	if in.Type == api.DataType {
		in.ReplicationFactorMin, in.ReplicationFactorMax = 1, len(in.Allocations)
	}
	f.write(func() { f.pins[in.Cid.Cid] = in })
	*out = in
	return nil
}

func (f *fakeCluster) Unpin(_ context.Context, in api.Pin, out *api.Pin) error {
	if err := f.begin("Cluster.Unpin"); err != nil {
		return err
	}
	if err := f.begin("Cluster.Unpin of " + in.Cid.String()); err != nil {
		return err
	}
	f.mu.Lock()
	pin, ok := f.pins[in.Cid.Cid]
	f.mu.Unlock()
	if !ok {
		return state.ErrNotFound
	}
	*out = pin
	f.write(func() { delete(f.pins, in.Cid.Cid) })
	return nil
}

func (f *fakeCluster) PinGet(_ context.Context, in api.Cid, out *api.Pin) error {
	if err := f.begin("Cluster.PinGet"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	pin, ok := f.pins[in.Cid]
	if !ok {
		return state.ErrNotFound
	}
	*out = pin
	return nil
}

// Pins leaves out open when it fails at once, as the cluster does.
func (f *fakeCluster) Pins(_ context.Context, _ <-chan struct{}, out chan<- api.Pin) error {
	if err := f.begin("Cluster.Pins"); err != nil {
		return err
	}
	defer close(out)
	f.mu.Lock()
	pins := maps.Clone(f.pins)
	f.mu.Unlock()
	for _, pin := range pins {
		out <- pin
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fails["Cluster.Pins in the middle"]
}

func (f *fakeCluster) BlockAllocate(_ context.Context, _ api.Pin, out *[]peer.ID) error {
	if err := f.begin("Cluster.BlockAllocate"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	*out = f.alloc
	return nil
}

func (f *fakeCluster) ID(_ context.Context, _ struct{}, out *api.ID) error {
	if err := f.begin("Cluster.ID"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	*out = f.id
	return nil
}

type fakeTracker struct{ *services }

func (f *fakeTracker) Status(_ context.Context, in api.Cid, out *api.PinInfo) error {
	if err := f.begin("PinTracker.Status"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	*out = f.answers[in.Cid]
	return nil
}

// StatusAll has an answer for each pin that Status has one for.
func (f *fakeTracker) StatusAll(ctx context.Context, in <-chan api.TrackerStatus, out chan<- api.PinInfo) error {
	defer close(out)
	filter := <-in
	if err := f.begin("PinTracker.StatusAll"); err != nil {
		return err
	}
	f.mu.Lock()
	answers := maps.Clone(f.answers)
	f.mu.Unlock()
	for c, info := range answers {
		if !info.Status.Match(filter) {
			continue
		}
		info.Cid = api.NewCid(c)
		out <- info
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fails["PinTracker.StatusAll in the middle"]
}

func (f *fakeTracker) Recover(_ context.Context, in api.Cid, out *api.PinInfo) error {
	if err := f.begin("PinTracker.Recover"); err != nil {
		return err
	}
	return f.begin("PinTracker.Recover of " + in.String())
}

type fakeConsensus struct{ *services }

func (f *fakeConsensus) Peers(_ context.Context, _ struct{}, out *[]peer.ID) error {
	if err := f.begin("Consensus.Peers"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	*out = f.peers
	return nil
}

func (f *fakeConsensus) LogUnpin(_ context.Context, in api.Pin, _ *struct{}) error {
	if err := f.begin("Consensus.LogUnpin"); err != nil {
		return err
	}
	f.write(func() { delete(f.pins, in.Cid.Cid) })
	return nil
}

type fakeMonitor struct{ *services }

func (f *fakeMonitor) LatestMetrics(_ context.Context, _ string, out *[]api.Metric) error {
	if err := f.begin("PeerMonitor.LatestMetrics"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pinged {
		*out = []api.Metric{{Name: "ping", Peer: me, Valid: true}}
	}
	return nil
}

type fakeConnector struct{ *services }

func (f *fakeConnector) BlockGet(_ context.Context, _ api.Cid, _ *[]byte) error {
	return f.begin("IPFSConnector.BlockGet")
}

func (f *fakeConnector) RepoStat(_ context.Context, _ struct{}, _ *api.IPFSRepoStat) error {
	if err := f.begin("IPFSConnector.RepoStat"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.id.IPFS.Error != "" {
		return errors.New(f.id.IPFS.Error)
	}
	return nil
}
