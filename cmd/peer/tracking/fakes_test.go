package tracking

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/pintracker/stateless"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/ipfs/go-cid"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"
)

// self and other are peers.
const self, other = peer.ID("self"), peer.ID("other")

// ipfs is the connector of an IPFS node in memory.
type ipfs struct {
	ipfscluster.IPFSConnector
	mu   sync.Mutex
	pins map[api.Cid]api.Pin
	// before, if not nil, is called before a pin is made or removed.
	before func(ctx context.Context, c api.Cid) error
	// late, if not nil, has the node carry out the removals whose requests were cancelled when it is closed.
	late chan struct{}
	// allKinds has PinLs list all kinds of pins that it is called for, and listErr is what it returns.
	allKinds bool
	listErr  error
	lists    []string // the kinds that were listed
	listed   func()   // if not nil, is called when the pins were listed
	// removals are the requests to unpin that wait, and ended those that were answered or cancelled.
	removals, ended int
}

func (f *ipfs) ready(ctx context.Context, c api.Cid) error {
	f.mu.Lock()
	before := f.before
	f.mu.Unlock()
	if before == nil {
		return ctx.Err()
	}
	return before(ctx, c)
}

func (f *ipfs) Pin(ctx context.Context, pin api.Pin) error {
	if err := f.ready(ctx, pin.Cid); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() == nil {
		f.pins[pin.Cid] = pin
	}
	return ctx.Err()
}

func (f *ipfs) Unpin(ctx context.Context, c api.Cid) error {
	f.mu.Lock()
	f.removals++
	f.mu.Unlock()
	err := f.ready(ctx, c)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.removals, f.ended = f.removals-1, f.ended+1
	switch {
	case err != nil && f.late != nil:
		go f.removeWhen(f.late, c)
		return err
	case err != nil:
		return err
	}
	if ctx.Err() == nil {
		delete(f.pins, c)
	}
	return ctx.Err()
}

// removeWhen removes a pin once a channel is closed and there is the pin.
func (f *ipfs) removeWhen(closed <-chan struct{}, c api.Cid) {
	<-closed
	for !f.unpinned(c) {
		runtime.Gosched()
	}
}

func (f *ipfs) unpinned(c api.Cid) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.pins[c]
	delete(f.pins, c)
	return ok
}

// PinLs lists the pins of the first kind, as upstream's connector (U109), or of all kinds.
func (f *ipfs) PinLs(_ context.Context, kinds []string, out chan<- api.IPFSPinInfo) error {
	defer close(out)
	f.mu.Lock()
	f.lists = append(f.lists, kinds...)
	if !f.allKinds {
		kinds = kinds[:1]
	}
	f.mu.Unlock()
	for c, pin := range f.has() {
		if status := pin.MaxDepth.ToPinMode().ToIPFSPinStatus(); slices.Contains(kinds, status.String()) {
			out <- api.IPFSPinInfo{Cid: c, Type: status}
		}
	}
	if f.listed != nil {
		f.listed()
	}
	return f.listErr
}

// waiting is how many requests to unpin wait.
func (f *ipfs) waiting() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.removals
}

// blocks has the node wait until the function that it returns is called.
func (f *ipfs) blocks() (release func()) {
	wait := make(chan struct{})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = func(ctx context.Context, _ api.Cid) error {
		select {
		case <-wait:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return func() { close(wait) }
}

func (f *ipfs) fails(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = func(context.Context, api.Cid) error { return err }
}

func (f *ipfs) has() map[api.Cid]api.Pin {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.pins)
}

// The services that upstream's tracker calls.
type (
	clusterService   struct{}
	connectorService struct {
		connector ipfscluster.IPFSConnector
		ipfs      *ipfs
	}
)

func (clusterService) IPFSID(context.Context, peer.ID, *api.IPFSID) error { return nil }

func (s connectorService) Pin(ctx context.Context, in api.Pin, _ *struct{}) error {
	return s.connector.Pin(ctx, in)
}

func (s connectorService) Unpin(ctx context.Context, in api.Pin, _ *struct{}) error {
	return s.connector.Unpin(ctx, in.Cid)
}

func (s connectorService) PinLsCid(_ context.Context, in api.Pin, out *api.IPFSPinStatus) error {
	*out = api.IPFSPinStatusUnpinned
	if pin, ok := s.ipfs.has()[in.Cid]; ok && pin.MaxDepth == in.MaxDepth {
		*out = in.MaxDepth.ToPinMode().ToIPFSPinStatus()
	}
	return nil
}

func (s connectorService) PinLs(ctx context.Context, in <-chan []string, out chan<- api.IPFSPinInfo) error {
	return s.ipfs.PinLs(ctx, <-in, out)
}

// shared is the state.
type shared struct {
	state.ReadOnly
	mu   sync.Mutex
	pins map[api.Cid]api.Pin
	// lists is how many lists have not ended.
	lists atomic.Int32
}

func (s *shared) Get(_ context.Context, c api.Cid) (api.Pin, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pin, ok := s.pins[c]; ok {
		return pin, nil
	}
	return api.Pin{}, state.ErrNotFound
}

// List heeds the context before each pin and not while it sends one, as upstream's (U24).
func (s *shared) List(ctx context.Context, out chan<- api.Pin) error {
	s.lists.Add(1)
	defer s.lists.Add(-1)
	defer close(out)
	s.mu.Lock()
	pins := maps.Clone(s.pins)
	s.mu.Unlock()
	for _, pin := range pins {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		out <- pin
	}
	return nil
}

func (s *shared) set(pin api.Pin) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pins[pin.Cid] = pin
}

// setup is upstream's tracker with ours in front, as in a peer.
type setup struct {
	*Tracker
	connector *Connector
	ipfs      *ipfs
	shared    *shared
	release   func()

	notes   sync.Mutex
	givenUp map[api.Cid]int
}

func newSetup(t *testing.T, workers int) *setup {
	t.Helper()
	s := &setup{givenUp: map[api.Cid]int{}, ipfs: &ipfs{pins: map[api.Cid]api.Pin{}}, shared: &shared{pins: map[api.Cid]api.Pin{}}}
	cfg := &stateless.Config{}
	if err := cfg.Default(); err != nil {
		t.Fatal(err)
	}
	cfg.ConcurrentPins = workers
	st := func(context.Context) (state.ReadOnly, error) { return s.shared, nil }
	s.Tracker = NewTracker(stateless.New(cfg, self, "", State(st)), Config{Self: self, State: st, Node: s.ipfs, GivenUp: s.giveUp})
	s.unanswered.settle = 10 * time.Millisecond
	s.connector = &Connector{IPFSConnector: s.ipfs, Tracker: s.Tracker, Barrier: func(ctx context.Context) error {
		return s.ipfs.Unpin(ctx, api.CidUndef)
	}}
	server := rpc.NewServer(nil, "test")
	for name, service := range map[string]any{"Cluster": clusterService{}, "IPFSConnector": connectorService{s.connector, s.ipfs}} {
		if err := server.RegisterName(name, service); err != nil {
			t.Fatal(err)
		}
	}
	s.SetClient(rpc.NewClientWithServer(nil, "test", server))
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *setup) giveUp(c api.Cid) {
	s.notes.Lock()
	defer s.notes.Unlock()
	s.givenUp[c]++
}

// record is a pin of a content, with the name.
func record(n int, name string) api.Pin {
	hash, err := multihash.Sum(fmt.Appendf(nil, "content %d", n), multihash.SHA2_256, -1)
	if err != nil {
		panic(err)
	}
	pin := api.PinCid(api.NewCid(cid.NewCidV1(cid.Raw, hash)))
	pin.Name, pin.Timestamp = name, time.Unix(int64(1000+n), 0)
	pin.ReplicationFactorMin, pin.ReplicationFactorMax = -1, -1
	return pin
}

// elsewhere is the pin, to be held by another peer.
func elsewhere(pin api.Pin) api.Pin {
	pin.ReplicationFactorMin, pin.ReplicationFactorMax, pin.Allocations = 1, 1, []peer.ID{other}
	return pin
}
