// Package delegates knows the addresses of the IPFS nodes of the cluster's peers, which
// clients connect to in order to hand their content over.
package delegates

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	logging "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/taskgroup"
)

var log = logging.Logger("clusterrpc")

const (
	// maxDelegates is the limit of the specification. Kubo dials them one after the
	// other, so the most useful come first and hopeless ones are left out.
	maxDelegates = 20
	// refreshAfter is the age at which Refresh has the addresses of a peer read again.
	refreshAfter = time.Minute
)

// retryDelays are the pauses before Refresh has a peer asked again that never reported any.
var retryDelays = backoff.Policy{Min: time.Second, Max: 5 * time.Second}

// Client reads the addresses of a peer's IPFS node: a clusterapi.Client.
type Client interface {
	ID(ctx context.Context, p peer.ID) (api.ID, error)
}

// Config is what a Directory needs. All fields are required.
type Config struct {
	Client Client
	Now    func() time.Time
	Tasks  *taskgroup.Group
	// Timeout bounds one request to a peer.
	Timeout time.Duration
	// OnChange is called when a peer has other addresses, with a lock held: it must
	// not call the directory.
	OnChange func()
}

// Directory keeps the addresses that each peer reported last for as long as it lives, because
// nodes rarely move and are often unavailable for a moment. Those of a member that answers are a minute
// and a few seconds old at most. It is safe for concurrent use.
type Directory struct {
	cfg Config

	mu    sync.Mutex
	nodes map[peer.ID]*node
}

// node is what is known of one IPFS node.
type node struct {
	addresses []address
	requested time.Time     // when the last request began
	pending   chan struct{} // closed when it has ended; nil without one
	asked     int           // how many requests have ended, however
	wanted    bool          // since the last request
}

// New returns an empty directory.
func New(cfg Config) *Directory { return &Directory{cfg: cfg, nodes: make(map[peer.ID]*node)} }

// For returns the delegates of a pin that these peers should hold; none when no peer has
// ever reported an address. It asks only peers that nobody has asked yet, and waits only for the
// first answer of each: Refresh keeps what is known.
func (d *Directory) For(ctx context.Context, peers []peer.ID) []string {
	groups := make([][]address, len(peers))
	var waits []chan struct{}
	for i, p := range peers {
		addresses, first := d.wanted(p)
		if groups[i] = addresses; first != nil {
			waits = append(waits, first)
		}
	}
	for _, wait := range waits {
		select {
		case <-wait:
		case <-ctx.Done():
			return choose(groups)
		}
	}
	if len(waits) > 0 {
		for i, p := range peers {
			groups[i] = d.known(p)
		}
	}
	return choose(groups)
}

// wanted returns the known addresses of a peer. first is not nil while it is asked for the first time.
func (d *Directory) wanted(p peer.ID) (addresses []address, first chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.node(p)
	n.wanted = true
	if n.requested.IsZero() {
		d.begin(p, n)
	}
	if n.asked == 0 {
		first = n.pending
	}
	return n.addresses, first
}

// Refresh begins to ask those of the members, and of the other peers that were wanted since they were
// asked last, whose addresses are old. It is called about once a second, and waits for nothing.
func (d *Directory) Refresh(members []peer.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range members {
		d.node(p).wanted = true
	}
	for p, n := range d.nodes {
		age := refreshAfter
		if len(n.addresses) == 0 {
			age = retryDelays.Next(n.asked)
		}
		since := d.cfg.Now().Sub(n.requested)
		if n.wanted && n.pending == nil && (n.requested.IsZero() || since >= age || since < 0) {
			d.begin(p, n)
		}
	}
}

// begin begins to ask a peer. It needs the lock.
func (d *Directory) begin(p peer.ID, n *node) {
	done := make(chan struct{})
	if d.cfg.Tasks.Go(func(ctx context.Context) { d.request(ctx, p, done) }) {
		n.pending, n.requested, n.wanted = done, d.cfg.Now(), false
	}
}

// node needs the lock.
func (d *Directory) node(p peer.ID) *node {
	n, ok := d.nodes[p]
	if !ok {
		n = &node{}
		d.nodes[p] = n
	}
	return n
}

// Known reports whether a peer has ever reported an address.
func (d *Directory) Known(p peer.ID) bool { return len(d.known(p)) > 0 }

func (d *Directory) known(p peer.ID) []address {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n, ok := d.nodes[p]; ok {
		return n.addresses
	}
	return nil
}

// request reads the addresses of a peer's IPFS node.
func (d *Directory) request(ctx context.Context, p peer.ID, done chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	id, err := d.cfg.Client.ID(ctx, p)
	switch {
	case err != nil:
		log.Debugf("read the addresses of the IPFS node of peer %s: %s", p, err)
	case id.IPFS.Error != "":
		log.Debugf("the IPFS node of peer %s is unavailable: %s", p, id.IPFS.Error)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.nodes[p]
	n.pending = nil
	n.asked++
	if err == nil {
		d.enter(n, id.IPFS)
	}
	close(done)
}

// Enter enters addresses that were read on another occasion.
func (d *Directory) Enter(p peer.ID, ipfs api.IPFSID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.node(p)
	n.requested = d.cfg.Now()
	n.asked++
	d.enter(n, ipfs)
}

// enter needs the lock. A node that reports no address keeps its last ones.
func (d *Directory) enter(n *node, ipfs api.IPFSID) {
	if addresses := usable(ipfs); len(addresses) > 0 && !slices.Equal(addresses, n.addresses) {
		n.addresses = addresses
		d.cfg.OnChange()
	}
}
