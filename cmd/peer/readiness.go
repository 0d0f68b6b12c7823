package peer

import (
	"context"
	"fmt"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
)

// awaitReady follows the peer through the phases of its start until it serves
// requests.
func (p *Peer) awaitReady() {
	ctx, cancel := p.untilDone() // A peer that ended by itself does not get ready.
	defer cancel()
	for _, phase := range []struct {
		stage  Stage
		detail func() string
		end    <-chan struct{}
	}{
		{StageConsensus, p.consensusDetail, p.consensus.ready.opened},
		{StageIPFS, p.ipfsDetail, p.connector.ready.opened},
		{StageRequests, nil, p.cluster.Ready()},
		{StageRequests, nil, p.monitor.running.opened},
	} {
		if !p.awaitPhase(ctx, phase.stage, phase.detail, phase.end) {
			return
		}
	}
	if p.apis.awaitPinsvc(ctx, p.report) != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopping || p.ended != nil {
		return
	}
	p.report.enter(StageReady, nil)
	p.metrics.ready(time.Since(p.created))
	close(p.ready)
	notifySystemd(daemonReady)
}

// awaitPhase waits for the end of one phase and reports the phase if it is not
// over already.
func (p *Peer) awaitPhase(ctx context.Context, stage Stage, detail func() string, end <-chan struct{}) bool {
	select {
	case <-end:
		return true
	default:
	}
	p.report.enter(stage, detail)
	select {
	case <-end:
		return true
	case <-ctx.Done():
		return false
	}
}

// readyWait is how long a cluster may take to become ready after its consensus
// and its IPFS node are: it requests the ID of the node in between.
const readyWait = 10 * time.Second

// holdReadiness keeps the cluster from becoming ready while it is shut down
// (U1 in docs/upstream-faults.md). A cluster that is about to become ready is
// waited for.
func (p *Peer) holdReadiness(ctx context.Context, cluster *ipfscluster.Cluster) {
	consensusReady, ipfsReady := p.consensus.ready.hold(), p.connector.ready.hold()
	if !consensusReady || !ipfsReady {
		return
	}
	timeout := time.NewTimer(readyWait)
	defer timeout.Stop()
	select {
	case <-p.monitor.running.opened:
	case <-cluster.Done():
	case <-ctx.Done():
	case <-timeout.C:
		logger.Warn("the peer was about to be ready when it was stopped")
	}
}

// consensusDetail describes what the consensus lacks.
func (p *Peer) consensusDetail() string {
	if p.consensus.kind != ConsensusRaft {
		return ""
	}
	return p.consensus.missing(p.ctx)
}

// ipfsDetail describes what the managed IPFS node is doing, or which external
// node does not respond.
func (p *Peer) ipfsDetail() string {
	if p.node == nil {
		return fmt.Sprintf("no response from %s (ipfs_connector.ipfshttp.node_multiaddress)",
			p.cfg.Helper.Configs().Ipfshttp.NodeAddr)
	}
	if err := nodeNotRunning(p.node); err != nil {
		return err.Error()
	}
	return ""
}
