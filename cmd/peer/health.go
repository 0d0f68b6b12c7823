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

// componentHealth reports to the Pinning Service API, without delay, which of
// the peer's components are unavailable. Its texts for clients name no peers,
// addresses or paths; those go to the log.
type componentHealth struct{ peer *Peer }

// Consensus returns why no change can be committed now. CRDT always accepts
// changes.
func (h componentHealth) Consensus() error {
	if h.peer.consensus.kind != ConsensusRaft {
		return nil
	}
	_, err := h.peer.consensus.Leader(h.peer.ctx)
	if err == nil {
		return nil
	}
	q, unknown := h.peer.raftQuorum(h.peer.ctx)
	if unknown != nil || q.members == 0 {
		return pinsvc.Wrap(pinsvc.KindUnavailable, cmp.Or(unknown, err), "no Raft leader")
	}
	return pinsvc.Wrap(pinsvc.KindUnavailable, fmt.Errorf("%w%s", err, q.names()), "no Raft leader: %s", q.counts())
}

// IPFS returns why the managed node does not serve requests now. An external
// node is not observed.
func (h componentHealth) IPFS() error {
	if h.peer.node == nil {
		return nil
	}
	return nodeUnavailable(h.peer.node, time.Now())
}

// nodeUnavailable returns why a node does not serve requests, in words for
// clients, or nil.
func nodeUnavailable(n node, now time.Time) error {
	status, _ := n.Watch()
	if servesRPC(status) {
		return nil
	}
	state := status.State.String()
	if wait := status.NextTry.Sub(now); status.State == kubo.StateRestarting && wait > 0 {
		state = fmt.Sprintf("restarting in %s", max(wait.Round(time.Second), time.Second))
	}
	return pinsvc.Wrap(pinsvc.KindUnavailable, notRunning(status), "the IPFS node is %s", state)
}

// nodeNotRunning returns why a node does not serve requests, in words for the
// operator, or nil.
func nodeNotRunning(n node) error {
	status, _ := n.Watch()
	if servesRPC(status) {
		return nil
	}
	return notRunning(status)
}

// quorum is how many of the Raft peers are connected.
type quorum struct {
	connected, members int
	unreachable        []string
}

// counts says what is missing. Connections do not elect a leader alone: packets may get
// through in one direction only.
func (q quorum) counts() string {
	needed := q.members/2 + 1
	if q.connected >= needed {
		return fmt.Sprintf("%d of %d Raft peers are connected, which is enough, but none is elected: an election is under way, "+
			"or a link between them passes packets in one direction only", q.connected, q.members)
	}
	return fmt.Sprintf("%d of %d Raft peers are connected, %d are needed", q.connected, q.members, needed)
}

// names lists the unreachable peers, if any.
func (q quorum) names() string {
	if len(q.unreachable) == 0 {
		return ""
	}
	return "; unreachable: " + strings.Join(q.unreachable, ", ")
}

// raftQuorum counts the Raft peers that are connected.
func (p *Peer) raftQuorum(ctx context.Context) (quorum, error) {
	members, err := p.consensus.Peers(ctx)
	if err != nil {
		return quorum{}, fmt.Errorf("the Raft peers are not known: %w", err)
	}
	q := quorum{members: len(members)}
	for _, member := range members {
		if member == p.ID() || isConnected(p.network, member) {
			q.connected++
		} else {
			q.unreachable = append(q.unreachable, member.String())
		}
	}
	return q, nil
}

// missingQuorum describes what Raft lacks.
func (p *Peer) missingQuorum(ctx context.Context) string {
	q, err := p.raftQuorum(ctx)
	switch {
	case err != nil:
		return err.Error()
	case q.members == 0:
		return "not yet a member of the Raft peers"
	}
	return q.counts() + q.names()
}

func isConnected(n *network, id libp2ppeer.ID) bool {
	return n.host.Network().Connectedness(id) == libp2pnetwork.Connected
}
