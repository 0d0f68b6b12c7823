// Package origins has the IPFS node of a peer connect to the origins of the
// pins that it fetches, for as long as it fetches them.
//
// Upstream's connector dials the first ten origins of a pin once, when the pin
// starts (U17 in docs/upstream-faults.md). A Connector in front of it takes the origins over: all of them are
// dialled in parallel, the most connectable first, and again with back-off
// until the pin ends. A Tracker in front of the pin tracker hands the origins
// of later records of the pin to the dials under way.
package origins

import (
	"context"
	"sync"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	logging "github.com/ipfs/go-log/v2"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

var logger = logging.Logger("origins")

// Swarm opens connections of the IPFS node.
type Swarm interface {
	// Connect returns once the IPFS node is connected to the node. It returns
	// at once if it is connected already. Without addresses the IPFS node
	// uses those that it knows or finds.
	Connect(ctx context.Context, to peer.AddrInfo) error
	// Peers returns the nodes of the IPFS node's peering subsystem, AddPeers
	// and RemovePeers change them.
	Peers(ctx context.Context) ([]peer.ID, error)
	AddPeers(ctx context.Context, nodes []peer.ID) error
	RemovePeers(ctx context.Context, nodes []peer.ID) error
	// Close releases idle connections to the IPFS node.
	Close()
}

// Config is what a Connector needs.
type Config struct {
	Swarm Swarm
	// Self is the peer of the cluster that the connector is of.
	Self peer.ID
	// NoMembers: the IPFS nodes of the other members are not dialled.
	NoMembers bool
	// Restarts, if not nil, counts the restarts of the IPFS node.
	Restarts func() int
}

// Connector is an IPFS connector that dials the origins of a pin, and the IPFS
// nodes of other members of the cluster, while the pin is fetched. All other
// requests go to the inner connector.
type Connector struct {
	ipfscluster.IPFSConnector
	cfg     Config
	swarm   Swarm
	dialler *dialler
	peering *peering

	mu     sync.Mutex
	recent recentOrigins
}

// New wraps a connector. Shutdown of the wrapper shuts the inner one down.
func New(inner ipfscluster.IPFSConnector, cfg Config) *Connector {
	if cfg.Restarts == nil {
		cfg.Restarts = func() int { return 0 }
	}
	dialler := newDialler(cfg.Swarm, defaultLimits())
	return &Connector{
		IPFSConnector: inner, cfg: cfg, swarm: cfg.Swarm,
		dialler: dialler, peering: newPeering(cfg.Swarm, dialler.ids, cfg.Restarts),
	}
}

// SetClient implements ipfscluster.Component. The members are asked from then on.
func (c *Connector) SetClient(client *rpc.Client) {
	c.IPFSConnector.SetClient(client)
	if !c.cfg.NoMembers {
		c.dialler.members.start(membersOf(client, c.cfg.Self))
	}
}

// Pin pins through the inner connector and has the IPFS node dial the origins
// of the pin, and nodes of members, until it returns. The inner connector gets no origins, so that it
// does not dial them as well.
func (c *Connector) Pin(ctx context.Context, pin api.Pin) error {
	job := c.begin(pin)
	defer c.dialler.end(job)
	pin.Origins = nil
	c.peering.add(ctx) // Before the IPFS node selects the peers to request from.
	err := c.IPFSConnector.Pin(ctx, pin)
	if err != nil && ctx.Err() == nil {
		c.dialler.logFailures(job)
	}
	return err
}

// begin uses the origins of the record that the pin was started with and those
// of a later one that came before this call.
func (c *Connector) begin(pin api.Pin) *job {
	// The lock keeps Update from coming between the two steps.
	c.mu.Lock()
	defer c.mu.Unlock()
	later := c.recent.take(pin.Cid.Cid)
	return c.dialler.begin(pin.Cid.Cid, merge(addresses(pin.Origins), later), pin.Allocations)
}

// Update has the origins of a new record dialled at once if the pin is being
// fetched. Those of earlier records stay: any of them may have the content.
func (c *Connector) Update(pin api.Pin) {
	if len(pin.Origins) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if addrs := addresses(pin.Origins); !c.dialler.update(pin.Cid.Cid, addrs) {
		c.recent.put(pin.Cid.Cid, addrs)
		return
	}
	c.peering.later()
}

// Stats returns the counters and gauges of the dials.
func (c *Connector) Stats() Stats { return c.dialler.stats() }

// Shutdown ends all dials and shuts the inner connector down.
func (c *Connector) Shutdown(ctx context.Context) error {
	c.dialler.stop()
	c.peering.stop()
	c.swarm.Close()
	return c.IPFSConnector.Shutdown(ctx)
}

func addresses(origins []api.Multiaddr) []multiaddr.Multiaddr {
	addrs := make([]multiaddr.Multiaddr, 0, len(origins))
	for _, origin := range origins {
		if addr := origin.Value(); len(addr) > 0 {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}
