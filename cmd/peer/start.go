package peer

import (
	"context"
	"errors"
	"fmt"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	ma "github.com/multiformats/go-multiaddr"
)

// ErrRemoved says that the other peers removed this one from the cluster.
var ErrRemoved = errors.New("the peer was removed from the cluster")

// errStopped is Start's when Stop came first.
var errStopped = errors.New("the peer was stopped")

// Start starts the peer's components and returns while they are still getting
// ready: see Ready. When ctx ends in the meantime it gives up. A peer that
// failed to start must be stopped.
func (p *Peer) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock() // Stop waits until there is a whole to stop.
	if p.stopping {
		return errStopped
	}
	if p.started {
		return errors.New("the peer was started before")
	}
	p.started = true
	abort := context.AfterFunc(ctx, p.cancel)
	defer abort()
	p.report.enter(StageStart, nil)
	if err := p.startCluster(); err != nil {
		return err
	}
	if !abort() {
		return ctx.Err()
	}
	p.background.Go(p.awaitReady)
	p.background.Go(p.awaitEnd)
	p.background.Go(func() { p.join(p.opts.Bootstraps) })
	return nil
}

// awaitReady follows the peer until it serves requests.
func (p *Peer) awaitReady() {
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	p.background.Go(func() { // A peer that has ended is ready for nothing.
		select {
		case <-p.done:
			cancel()
		case <-ctx.Done():
		}
	})
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
	close(p.ready)
	if err := notify("READY=1"); err != nil {
		logger.Warn(err)
	}
}

// awaitPhase waits for the end of one phase, and tells so if there is
// anything to wait for.
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

// awaitEnd notices that the cluster shut itself down.
func (p *Peer) awaitEnd() {
	select {
	case <-p.cluster.Done():
	case <-p.ctx.Done():
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stopping {
		p.ended = ErrRemoved
		logger.Warn(ErrRemoved)
		close(p.done)
	}
}

// join joins the clusters of the given peers, trying again until it worked:
// upstream tries once and then waits for nothing.
func (p *Peer) join(bootstraps []ma.Multiaddr) {
	for _, addr := range bootstraps {
		pause := time.Second
		for {
			logger.Infof("joining the cluster of %s", addr)
			err := p.cluster.Join(p.ctx, addr)
			if err == nil {
				break
			}
			if p.ctx.Err() != nil {
				return
			}
			logger.Warnf("joining the cluster of %s failed, trying again in %s: %s", addr, pause, err)
			select {
			case <-time.After(pause):
			case <-p.cluster.Done():
				return
			case <-p.ctx.Done():
				return
			}
			pause = min(2*pause, joinPauseMax)
		}
	}
}

const joinPauseMax = 30 * time.Second

// stop is Stop's first call.
func (p *Peer) stop(ctx context.Context) error {
	if !p.mu.TryLock() { // Start is at work: it is not to go on dialling peers.
		p.cancel()
		p.mu.Lock()
	}
	p.stopping = true
	running := p.cluster
	ended := p.ended
	if ended == nil {
		close(p.done)
	}
	p.mu.Unlock()

	p.report.enter(StageStopping, p.teardown.current)
	if err := notify("STOPPING=1"); err != nil {
		logger.Warn(err)
	}
	if running != nil {
		p.holdReadiness(ctx, running)
	}
	err := p.teardown.unwind(ctx)
	p.background.Wait()
	return errors.Join(ended, err)
}

// holdReadiness keeps the cluster from becoming ready while it is shut down;
// see gate. If it is just about to become so, that is waited for.
func (p *Peer) holdReadiness(ctx context.Context, running *ipfscluster.Cluster) {
	consensus, ipfs := p.consensus.ready.hold(), p.connector.ready.hold()
	if !consensus || !ipfs {
		return
	}
	patience := time.NewTimer(readyWait)
	defer patience.Stop()
	select {
	case <-p.monitor.running.opened:
	case <-running.Done():
	case <-ctx.Done():
	case <-patience.C:
		logger.Warn("the peer was about to be ready when it was stopped")
	}
}

// readyWait is how long a cluster may take to become ready after its
// consensus and its IPFS node are. It asks that node for its ID in between.
const readyWait = 10 * time.Second

// consensusDetail says what the consensus is missing.
func (p *Peer) consensusDetail() string {
	if p.consensus.again == nil {
		return ""
	}
	return p.consensus.again(p.ctx)
}

// ipfsDetail says what the IPFS node is doing, or where it was looked for.
func (p *Peer) ipfsDetail() string {
	if p.node == nil {
		return fmt.Sprintf("no answer from %s (ipfs_connector.ipfshttp.node_multiaddress)",
			p.cfg.Helper.Configs().Ipfshttp.NodeAddr)
	}
	if err := notRunningNow(p.node); err != nil {
		return err.Error()
	}
	return ""
}
