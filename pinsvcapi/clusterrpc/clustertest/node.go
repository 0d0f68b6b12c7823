package clustertest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"sync"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

var _ ipfscluster.IPFSConnector = (*Node)(nil)

// errAway is what the cluster's own connector returns for a daemon that is down.
var errAway error = &url.Error{
	Op: "Post", URL: "http://127.0.0.1:5001/api/v0/id", Err: errors.New("dial tcp 127.0.0.1:5001: connect: connection refused"),
}

// Node stands in for an IPFS node: it keeps pins in memory and does with a
// new one what the test sets. By default every pin succeeds at once. All
// methods may be called by many goroutines at once.
type Node struct {
	id        peer.ID
	ready     chan struct{}
	readyOnce sync.Once

	mu          sync.Mutex
	changed     chan struct{} // closed and replaced whenever outcomes change
	addresses   []string
	pins        map[cid.Cid]api.IPFSPinStatus
	kept        *keptPins // nil: none
	blocks      map[cid.Cid][]byte
	outcomes    map[cid.Cid]error // nil is success
	held        map[cid.Cid]struct{}
	hold        bool
	delay       time.Duration
	unavailable bool
	calls       int
	working     map[cid.Cid]int // calls of Pin that have not returned
}

// NewNode makes a node with an identity of its own and two addresses.
func NewNode() *Node {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		panic(err) // Only a broken source of randomness fails.
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		panic(err) // It is our own key.
	}
	return &Node{
		id: id, ready: make(chan struct{}), changed: make(chan struct{}),
		addresses: []string{"/ip4/203.0.113.7/tcp/4001", "/ip4/127.0.0.1/tcp/4001"},
		pins:      make(map[cid.Cid]api.IPFSPinStatus),
		blocks:    make(map[cid.Cid][]byte),
		outcomes:  make(map[cid.Cid]error),
		working:   make(map[cid.Cid]int),
		held:      make(map[cid.Cid]struct{}),
	}
}

// PeerID is the node's own, not that of its cluster peer.
func (n *Node) PeerID() peer.ID { return n.id }

// change runs f with exclusive access to the node, and wakes pins that wait.
func (n *Node) change(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	close(n.changed)
	n.changed = make(chan struct{})
}

// HoldPins lets pins without an outcome of their own wait, or succeed.
func (n *Node) HoldPins(hold bool) { n.change(func() { n.hold = hold }) }

// Hold lets the pin wait until its outcome is set.
func (n *Node) Hold(c cid.Cid) { n.change(func() { n.held[c] = struct{}{} }) }

// SetDelay lets every new pin take that long.
func (n *Node) SetDelay(d time.Duration) { n.change(func() { n.delay = d }) }

// Succeed lets the pin succeed, now if it waits and later if it comes.
func (n *Node) Succeed(c cid.Cid) { n.change(func() { n.outcomes[c] = nil }) }

// Fail makes the pin fail with that error.
func (n *Node) Fail(c cid.Cid, err error) { n.change(func() { n.outcomes[c] = err }) }

// Undecided clears what was set for the pin.
func (n *Node) Undecided(c cid.Cid) {
	n.change(func() {
		delete(n.outcomes, c)
		delete(n.held, c)
	})
}

// Lose makes the node forget a pin that it has.
func (n *Node) Lose(c cid.Cid) { n.change(func() { n.drop(c) }) }

// status is what the node has of a pin. It needs the lock.
func (n *Node) status(c cid.Cid) (status api.IPFSPinStatus, has bool) {
	if status, has = n.pins[c]; !has && n.kept.has(c) {
		return api.IPFSPinStatusRecursive, true
	}
	return status, has
}

// drop needs the lock.
func (n *Node) drop(c cid.Cid) {
	delete(n.pins, c)
	n.kept.drop(c)
}

// SetUnavailable makes every request fail as if the daemon were down, or ends that.
func (n *Node) SetUnavailable(unavailable bool) { n.change(func() { n.unavailable = unavailable }) }

// SetAddresses sets the addresses that the node reports.
func (n *Node) SetAddresses(addresses ...string) {
	n.change(func() { n.addresses = addresses })
}

// PutBlock lets the node have a block.
func (n *Node) PutBlock(c cid.Cid, data []byte) { n.change(func() { n.blocks[c] = data }) }

// Has reports whether the node has the content pinned.
func (n *Node) Has(c cid.Cid) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.status(c)
	return ok
}

// PinCalls is how often a pin was tried.
func (n *Node) PinCalls() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.calls
}

// Pin implements ipfscluster.IPFSConnector.
func (n *Node) Pin(ctx context.Context, pin api.Pin) error {
	n.mu.Lock()
	n.calls++
	n.working[pin.Cid.Cid]++
	delay := n.delay
	n.mu.Unlock()
	defer n.returned(pin.Cid.Cid)
	if err := pass(ctx, delay); err != nil {
		return err
	}
	for {
		done, changed, err := n.tryPin(pin)
		if done {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (n *Node) returned(c cid.Cid) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.working[c]--; n.working[c] == 0 {
		delete(n.working, c)
	}
}

// pinning reports whether the node works on a pin.
func (n *Node) pinning(c cid.Cid) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.working[c] > 0
}

// pass waits for d.
func pass(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *Node) tryPin(pin api.Pin) (done bool, changed chan struct{}, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := pin.Cid.Cid
	outcome, decided := n.outcomes[c]
	held, _ := n.status(c)
	switch {
	case n.unavailable:
		return true, nil, errAway
	case held == pin.MaxDepth.ToPinMode().ToIPFSPinStatus():
		return true, nil, nil
	case held == api.IPFSPinStatusRecursive:
		return true, nil, fmt.Errorf("pin: %s already pinned recursively", pin.Cid)
	case decided && outcome != nil:
		return true, nil, outcome
	case !decided && n.waits(c):
		return false, n.changed, nil
	}
	n.pins[c] = pin.MaxDepth.ToPinMode().ToIPFSPinStatus()
	return true, nil, nil
}

// waits is called with the lock held.
func (n *Node) waits(c cid.Cid) bool {
	_, held := n.held[c]
	return held || n.hold
}

// Unpin implements ipfscluster.IPFSConnector.
func (n *Node) Unpin(_ context.Context, c api.Cid) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.unavailable {
		return errAway
	}
	n.drop(c.Cid)
	return nil
}

// PinLsCid implements ipfscluster.IPFSConnector. It looks for pins of the kind that is wanted, as the
// cluster's own connector.
func (n *Node) PinLsCid(_ context.Context, pin api.Pin) (api.IPFSPinStatus, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.unavailable {
		return api.IPFSPinStatusError, errAway
	}
	if status, ok := n.status(pin.Cid.Cid); ok && status == pin.MaxDepth.ToPinMode().ToIPFSPinStatus() {
		return status, nil
	}
	return api.IPFSPinStatusUnpinned, nil
}

// PinLs implements ipfscluster.IPFSConnector. It lists the pins of the first kind, as the cluster's own
// connector (U109 in docs/upstream-faults.md).
func (n *Node) PinLs(ctx context.Context, kinds []string, out chan<- api.IPFSPinInfo) error {
	defer close(out)
	n.mu.Lock()
	unavailable, pins, kept := n.unavailable, maps.Clone(n.pins), n.kept.all()
	n.mu.Unlock()
	if unavailable {
		return errAway
	}
	send := func(c cid.Cid, status api.IPFSPinStatus) error {
		if status.String() != kinds[0] {
			return nil
		}
		select {
		case out <- api.IPFSPinInfo{Cid: api.NewCid(c), Type: status}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for c, status := range pins {
		if err := send(c, status); err != nil {
			return err
		}
	}
	for c := range kept {
		if err := send(c, api.IPFSPinStatusRecursive); err != nil {
			return err
		}
	}
	return nil
}

// ID implements ipfscluster.IPFSConnector.
func (n *Node) ID(context.Context) (api.IPFSID, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.unavailable {
		return api.IPFSID{}, errAway
	}
	id := api.IPFSID{ID: n.id}
	for _, text := range n.addresses {
		addr, err := api.NewMultiaddr(fmt.Sprintf("%s/p2p/%s", text, n.id))
		if err != nil {
			return api.IPFSID{}, err
		}
		id.Addresses = append(id.Addresses, addr)
	}
	return id, nil
}

// Ready implements ipfscluster.IPFSConnector: it is closed once the node is
// not unavailable.
func (n *Node) Ready(ctx context.Context) <-chan struct{} {
	go func() {
		for {
			n.mu.Lock()
			unavailable, changed := n.unavailable, n.changed
			n.mu.Unlock()
			if !unavailable {
				n.readyOnce.Do(func() { close(n.ready) })
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return n.ready
}

// RepoStat implements ipfscluster.IPFSConnector.
func (n *Node) RepoStat(context.Context) (api.IPFSRepoStat, error) {
	return api.IPFSRepoStat{RepoSize: 1 << 20, StorageMax: 1 << 40}, nil
}

// BlockGet implements ipfscluster.IPFSConnector.
func (n *Node) BlockGet(_ context.Context, c api.Cid) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if data, ok := n.blocks[c.Cid]; ok && !n.unavailable {
		return data, nil
	}
	return nil, fmt.Errorf("block %s was not found locally (offline): ipld: could not find it", c)
}

// What no component that is tested here uses.

// SetClient implements ipfscluster.Component.
func (n *Node) SetClient(*rpc.Client) {}

// Shutdown implements ipfscluster.Component.
func (n *Node) Shutdown(context.Context) error { return nil }

// ConnectSwarms implements ipfscluster.IPFSConnector.
func (n *Node) ConnectSwarms(context.Context) error { return nil }

// SwarmPeers implements ipfscluster.IPFSConnector.
func (n *Node) SwarmPeers(context.Context) ([]peer.ID, error) { return nil, nil }

// ConfigKey implements ipfscluster.IPFSConnector.
func (n *Node) ConfigKey(string) (any, error) { return nil, errors.ErrUnsupported }

// RepoGC implements ipfscluster.IPFSConnector.
func (n *Node) RepoGC(context.Context) (api.RepoGC, error) {
	return api.RepoGC{}, errors.ErrUnsupported
}

// Resolve implements ipfscluster.IPFSConnector.
func (n *Node) Resolve(context.Context, string) (api.Cid, error) {
	return api.CidUndef, errors.ErrUnsupported
}

// BlockStream implements ipfscluster.IPFSConnector.
func (n *Node) BlockStream(context.Context, <-chan api.NodeWithMeta) error {
	return errors.ErrUnsupported
}
