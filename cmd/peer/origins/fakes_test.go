package origins

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multihash"
)

var errUnreachable = errors.New("unreachable")

// fakeSwarm records dials. Nodes are unreachable, and their dials hang until
// the time-out, unless set otherwise.
type fakeSwarm struct {
	mu        sync.Mutex
	reachable map[peer.ID]bool
	refused   map[peer.ID]bool // Dials fail at once.
	dials     []dial
	active    int
	most      int // Dials at once.
	closed    bool
	peers     map[peer.ID]bool // The peering subsystem.
	requests  int              // To it.
	err       error            // Of them.
	hangs     bool             // They do.
}

type dial struct {
	to peer.AddrInfo
	at time.Time
}

func newFakeSwarm() *fakeSwarm {
	return &fakeSwarm{reachable: make(map[peer.ID]bool), refused: make(map[peer.ID]bool), peers: make(map[peer.ID]bool)}
}

func (s *fakeSwarm) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *fakeSwarm) Connect(ctx context.Context, to peer.AddrInfo) error {
	s.mu.Lock()
	s.dials = append(s.dials, dial{to, time.Now()})
	s.active++
	s.most = max(s.most, s.active)
	reachable, refused := s.reachable[to.ID], s.refused[to.ID]
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.active--
	}()
	switch {
	case reachable:
		return nil
	case refused:
		return errUnreachable
	}
	<-ctx.Done()
	return ctx.Err()
}

func (s *fakeSwarm) Peers(ctx context.Context) ([]peer.ID, error) {
	if s.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	return slices.Collect(maps.Keys(s.peers)), s.err
}

func (s *fakeSwarm) AddPeers(_ context.Context, nodes []peer.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	for _, id := range nodes {
		s.peers[id] = true
	}
	return s.err
}

func (s *fakeSwarm) RemovePeers(_ context.Context, nodes []peer.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	if s.err != nil {
		return s.err
	}
	for _, id := range nodes {
		delete(s.peers, id)
	}
	return nil
}

// peered is whether a node is in the peering subsystem.
func (s *fakeSwarm) peered(id peer.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peers[id]
}

func (s *fakeSwarm) Close() { s.closed = true }

func (s *fakeSwarm) set(list map[peer.ID]bool, id peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list[id] = true
}

// of returns the times of the dials of a node.
func (s *fakeSwarm) of(id peer.ID) []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	var times []time.Time
	for _, d := range s.dials {
		if d.to.ID == id {
			times = append(times, d.at)
		}
	}
	return times
}

func (s *fakeSwarm) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.dials)
}

// inProgress returns the number of dials in progress, and the highest one.
func (s *fakeSwarm) inProgress() (now, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active, s.most
}

// nodes returns the number of nodes that the first n dials were to.
func (s *fakeSwarm) nodes(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make(map[peer.ID]bool)
	for _, d := range s.dials[:n] {
		ids[d.to.ID] = true
	}
	return len(ids)
}

func (s *fakeSwarm) last() peer.AddrInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dials[len(s.dials)-1].to
}

func (s *fakeSwarm) requestsMade() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// fakeIPFS takes its time for a pin, or until the context ends.
type fakeIPFS struct {
	ipfscluster.IPFSConnector
	takes  time.Duration
	err    error
	mu     sync.Mutex
	pinned []api.Pin
	down   bool
}

func (f *fakeIPFS) Pin(ctx context.Context, pin api.Pin) error {
	f.mu.Lock()
	f.pinned = append(f.pinned, pin)
	f.mu.Unlock()
	select {
	case <-time.After(f.takes):
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fakeIPFS) Shutdown(context.Context) error { f.down = true; return nil }

// world is a connector with fakes on both sides, inside a bubble of its own
// time.
type world struct {
	*Connector
	t     *testing.T
	swarm *fakeSwarm
	ipfs  *fakeIPFS
	start time.Time
	// restarts are those of the IPFS node that are known.
	restarts int
}

// inBubble runs a test in a synctest bubble. At its end nothing may be left.
func inBubble(t *testing.T, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, swarm: newFakeSwarm(), ipfs: &fakeIPFS{takes: time.Hour}, start: time.Now()}
		w.Connector = New(w.ipfs, Config{Swarm: w.swarm, Restarts: func() int { return w.restarts }})
		test(w)
		if err := w.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// pin begins a pin in the background, waits until it waits for content and
// returns what ends it.
func (w *world) pin(pin api.Pin) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.Pin(ctx, pin)
	}()
	synctest.Wait()
	return func() { cancel(); <-done; synctest.Wait() }
}

// after lets time pass.
func (w *world) after(d time.Duration) { time.Sleep(d); synctest.Wait() }

func nodeID(n int) peer.ID {
	sum := sha256.Sum256(fmt.Append(nil, "node", n))
	hash, err := multihash.Encode(sum[:], multihash.SHA2_256)
	if err != nil {
		panic(err)
	}
	return peer.ID(hash)
}

func ids(nodes ...int) []peer.ID {
	var ids []peer.ID
	for _, n := range nodes {
		ids = append(ids, nodeID(n))
	}
	return ids
}

func origin(t testing.TB, addr string, n int) multiaddr.Multiaddr {
	t.Helper()
	m, err := multiaddr.NewMultiaddr(addr + "/p2p/" + nodeID(n).String())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// publicOrigin is an address of the node in the Internet.
func publicOrigin(t testing.TB, n int) multiaddr.Multiaddr {
	t.Helper()
	return origin(t, fmt.Sprintf("/ip4/8.8.%d.%d/tcp/4001", n/200, n%200+1), n)
}

func record(content int, origins ...multiaddr.Multiaddr) api.Pin {
	hash, err := multihash.Sum(fmt.Append(nil, "content", content), multihash.SHA2_256, -1)
	if err != nil {
		panic(err)
	}
	pin := api.PinCid(api.NewCid(cid.NewCidV1(cid.Raw, hash)))
	for _, o := range origins {
		pin.Origins = append(pin.Origins, api.NewMultiaddrWithValue(o))
	}
	return pin
}
