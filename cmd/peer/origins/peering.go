package origins

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Limits of the requests to the peering subsystem.
const (
	// peeringTimeout bounds what a pin waits for them.
	peeringTimeout = 2 * time.Second
	// peeringPause is the pause after a failure.
	peeringPause = 5 * time.Second
	// peeringLinger is how long a node stays after the last pin that has it as
	// an origin, so that a stream of short pins makes few requests.
	peeringLinger = 30 * time.Second
	// peeringGiveUp is how long the removal of a node is tried.
	peeringGiveUp = 10 * time.Minute
	// peeringValid is how long a node is taken to be there. The IPFS node
	// forgets it when it restarts, which is known of a managed one only.
	peeringValid = time.Minute
)

// peering keeps the origins of pins in progress, and the nodes of members, in the
// peering subsystem of the IPFS node.
//
// Kubo (0.43) requests content from a connected node only if the node has a
// private address, has sent content over this connection or is in the peering
// subsystem (Internal.Bitswap.BroadcastControl; boxo's peerWantManager,
// skipBroadcast; U22 in docs/upstream-faults.md). Other nodes receive
// requests when they connect. So an origin that is connected before a pin starts
// would never receive one.
type peering struct {
	swarm    Swarm
	wanted   func() []peer.ID
	restarts func() int

	requests chan struct{} // Held during requests.
	mu       sync.Mutex
	nodes    map[peer.ID]*peered
	paused   time.Time
	restart  int // Of the IPFS node, the last that is known.

	wake   chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// peered is a node in the peering subsystem.
type peered struct {
	ours      bool // It was not there before.
	confirmed time.Time
	unused    time.Time // Zero while the node is wanted.
}

// newPeering keeps the nodes that wanted returns in the peering subsystem. restarts
// counts those of the IPFS node, as far as they are known.
func newPeering(swarm Swarm, wanted func() []peer.ID, restarts func() int) *peering {
	p := &peering{
		swarm: swarm, wanted: wanted, restarts: restarts, nodes: make(map[peer.ID]*peered),
		requests: make(chan struct{}, 1), wake: make(chan struct{}, 1),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.wg.Go(p.run)
	return p
}

// stop removes all nodes that were added.
func (p *peering) stop() {
	p.cancel()
	p.wg.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), peeringTimeout)
	defer cancel()
	p.remove(ctx, func(*peered) bool { return true })
}

// later has the wanted nodes added soon.
func (p *peering) later() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *peering) run() {
	tick := time.NewTicker(peeringLinger / 2)
	defer tick.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-p.wake:
			p.add(p.ctx)
		case now := <-tick.C:
			p.add(p.ctx)
			p.remove(p.ctx, func(n *peered) bool { return !n.unused.IsZero() && now.Sub(n.unused) >= peeringLinger })
		}
	}
}

// add adds the wanted nodes that are not there. A failure is logged only: most
// pins do without.
func (p *peering) add(ctx context.Context) {
	if p.ctx.Err() != nil || len(p.missing()) == 0 {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, peeringTimeout)
	defer cancel()
	select {
	case p.requests <- struct{}{}:
		defer func() { <-p.requests }()
	case <-bounded.Done():
		return
	}
	missing := p.missing() // Another pin may have added them meanwhile.
	if len(missing) == 0 {
		return
	}
	err := p.addMissing(bounded, missing)
	if err == nil || ctx.Err() != nil {
		return
	}
	logger.Debugf("adding origins to the peering subsystem of the IPFS node: %s", err)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = time.Now().Add(peeringPause)
}

// missing returns the wanted nodes that are not known to be there.
func (p *peering) missing() []peer.ID {
	wanted, restart := p.wanted(), p.restarts()
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if restart != p.restart {
		p.restart, p.paused = restart, time.Time{}
		for _, n := range p.nodes {
			n.confirmed = time.Time{}
		}
	}
	isWanted := make(map[peer.ID]bool, len(wanted))
	var missing []peer.ID
	for _, id := range wanted {
		isWanted[id] = true
		if n := p.nodes[id]; n == nil || now.Sub(n.confirmed) >= peeringValid {
			missing = append(missing, id)
		}
	}
	for id, n := range p.nodes {
		switch {
		case isWanted[id]:
			n.unused = time.Time{}
		case n.unused.IsZero():
			n.unused = now
		}
	}
	if now.Before(p.paused) {
		return nil
	}
	return missing
}

// addMissing leaves those alone that are there already: they are the
// operator's, who wants them to stay.
func (p *peering) addMissing(ctx context.Context, missing []peer.ID) error {
	there, err := p.swarm.Peers(ctx)
	if err != nil {
		return err
	}
	isThere := make(map[peer.ID]bool, len(there))
	for _, id := range there {
		isThere[id] = true
	}
	var added []peer.ID
	for _, id := range missing {
		if !isThere[id] {
			added = append(added, id)
		}
	}
	if len(added) > 0 {
		err = p.swarm.AddPeers(ctx, added)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range missing {
		n := p.nodes[id]
		if n == nil {
			n = &peered{ours: !isThere[id]}
			p.nodes[id] = n
		}
		if n.ours = n.ours || !isThere[id]; err == nil {
			n.confirmed = time.Now()
		}
	}
	return err
}

// remove removes the nodes that are chosen, unless they are the operator's.
func (p *peering) remove(ctx context.Context, chosen func(*peered) bool) {
	ctx, cancel := context.WithTimeout(ctx, peeringTimeout)
	defer cancel()
	select {
	case p.requests <- struct{}{}:
		defer func() { <-p.requests }()
	case <-ctx.Done():
		return
	}
	var ours []peer.ID
	p.mu.Lock()
	for id, n := range p.nodes {
		switch {
		case !chosen(n):
		case n.ours:
			ours = append(ours, id)
		default:
			delete(p.nodes, id)
		}
	}
	p.mu.Unlock()
	if len(ours) == 0 {
		return
	}
	err := p.swarm.RemovePeers(ctx, ours)
	if err != nil {
		// They stay known as ours, and the next round removes them. A node that
		// is unavailable for so long has forgotten them.
		logger.Debugf("removing origins from the peering subsystem of the IPFS node: %s", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ours {
		if n := p.nodes[id]; n != nil && chosen(n) && (err == nil || time.Since(n.unused) > peeringGiveUp) {
			delete(p.nodes, id)
		}
	}
}
