package peer

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	libp2pnetwork "github.com/libp2p/go-libp2p/core/network"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kubo"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// parts tells the Pinning Service API what the peer knows of its parts at
// once. Clients are told no peers, addresses or paths; those are for the log.
type parts struct{ peer *Peer }

// Consensus returns why no change can be made now. CRDT takes changes always.
func (p parts) Consensus() error {
	if p.peer.consensus.again == nil {
		return nil
	}
	_, err := p.peer.consensus.Leader(p.peer.ctx)
	if err == nil {
		return nil
	}
	q, unknown := p.peer.quorum(p.peer.ctx)
	if unknown != nil || q.members == 0 {
		return pinsvc.Wrap(pinsvc.KindUnavailable, cmp.Or(unknown, err), "no Raft leader")
	}
	return pinsvc.Wrap(pinsvc.KindUnavailable, fmt.Errorf("%w%s", err, q.names()), "no Raft leader: %s", q.counts())
}

// IPFS returns why the managed node cannot be asked now. Of an external one
// nothing is known.
func (p parts) IPFS() error {
	if p.peer.node == nil {
		return nil
	}
	return away(p.peer.node, time.Now())
}

// away returns why a node cannot be asked, or nil.
func away(n node, now time.Time) error {
	status, _ := n.Watch()
	if running(status) {
		return nil
	}
	doing := status.State.String()
	if wait := status.NextTry.Sub(now); status.State == kubo.StateRestarting && wait > 0 {
		doing = fmt.Sprintf("restarting in %s", max(wait.Round(time.Second), time.Second))
	}
	return pinsvc.Wrap(pinsvc.KindUnavailable, notRunning(status), "the IPFS node is %s", doing)
}

// notRunningNow returns why the node does not serve requests, or nil.
func notRunningNow(n node) error {
	status, _ := n.Watch()
	if running(status) {
		return nil
	}
	return notRunning(status)
}

// quorum is how many of the Raft peers are connected.
type quorum struct {
	present, members int
	absent           []string
}

func (q quorum) counts() string {
	return fmt.Sprintf("%d of %d Raft peers are here, %d are needed", q.present, q.members, q.members/2+1)
}

// names are those of the absent, if any.
func (q quorum) names() string {
	if len(q.absent) == 0 {
		return ""
	}
	return "; away: " + strings.Join(q.absent, ", ")
}

// quorum counts the Raft peers that are connected.
func (p *Peer) quorum(ctx context.Context) (quorum, error) {
	members, err := p.consensus.Peers(ctx)
	if err != nil {
		return quorum{}, fmt.Errorf("the Raft peers are not known: %w", err)
	}
	q := quorum{members: len(members)}
	for _, member := range members {
		if member == p.ID() || connected(p.network, member) {
			q.present++
		} else {
			q.absent = append(q.absent, member.String())
		}
	}
	return q, nil
}

// missingPeers says in words what Raft lacks.
func (p *Peer) missingPeers(ctx context.Context) string {
	q, err := p.quorum(ctx)
	switch {
	case err != nil:
		return err.Error()
	case q.members == 0:
		return "not yet a member of the Raft peers"
	}
	return q.counts() + q.names()
}

func connected(n *network, id libp2ppeer.ID) bool {
	return n.host.Network().Connectedness(id) == libp2pnetwork.Connected
}
