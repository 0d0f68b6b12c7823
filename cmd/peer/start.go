package peer

import (
	"context"
	"errors"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kubo"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
)

// ErrRemoved reports that the other peers removed this one from the cluster.
var ErrRemoved = errors.New("the peer was removed from the cluster")

// errStopped is the error of Start after Stop.
var errStopped = errors.New("the peer was stopped")

// Start starts the peer's components and returns while they are still getting
// ready: see Ready. When ctx ends in the meantime it gives up. A peer that
// failed to start must be stopped.
func (p *Peer) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock() // Stop waits until all components are started.
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
	p.background.Go(p.watchPinset)
	p.background.Go(p.scanOrphans)
	p.background.Go(func() { p.join(p.opts.Bootstraps) })
	if p.reloader != nil {
		p.background.Go(func() {
			ctx, cancel := p.untilDone()
			defer cancel()
			p.reloader.watch(ctx, reloadPoll)
		})
	}
	return nil
}

// untilDone returns a context that ends with the peer's, or when the peer is
// stopped or has ended by itself. It is for goroutines of p.background.
func (p *Peer) untilDone() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(p.ctx)
	p.background.Go(func() {
		select {
		case <-p.done:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, cancel
}

// awaitEnd waits for the cluster to shut itself down.
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

// join joins the clusters of the given peers and repeats it until it succeeds:
// upstream tries once (U15 in docs/upstream-faults.md).
func (p *Peer) join(bootstraps []ma.Multiaddr) {
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	p.background.Go(func() {
		select {
		case <-p.cluster.Done():
			cancel()
		case <-ctx.Done():
		}
	})
	for _, addr := range bootstraps {
		retry := backoff.Counter{Policy: joinRetry}
		for {
			logger.Infof("joining the cluster of %s", addr)
			err := p.cluster.Join(joiningPinger.as(ctx), addr)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return
			}
			pause := retry.Next()
			logger.Warnf("joining the cluster of %s failed, trying again in %s: %s", addr, pause.Round(time.Millisecond), err)
			if !backoff.Sleep(ctx, pause) {
				return
			}
		}
	}
}

// joinRetry is how joining is repeated.
var joinRetry = backoff.Policy{Min: time.Second, Max: 30 * time.Second, Jitter: 0.2}

// storeFull returns why the datastore takes no writes, or nil.
func (p *Peer) storeFull() error {
	if p.reserved != nil {
		return p.reserved.check()
	}
	return p.space.Full()
}

// logFull returns why a Raft peer begins no change, or nil. Its log is on the disk, and its state in
// memory. An entry that cannot be written costs a leader its office, and a term that cannot be written ends
// the process (U107 in docs/upstream-faults.md).
func (p *Peer) logFull() error {
	folder := p.cfg.Helper.Configs().Raft.GetDataFolder()
	return checkReserve(func() (uint64, bool) { return kubo.FreeSpace(folder) }, storeReserve, errLogFull)
}

// fullDetails is a source of healthDetails, which says what is full.
func fullDetails(full func() error, what error) func() []string {
	return func() []string {
		if full() == nil {
			return nil
		}
		return []string{what.Error() + ": no change of the pinset is accepted until there is space"}
	}
}

// stop is Stop's first call.
func (p *Peer) stop(ctx context.Context) error {
	if !p.mu.TryLock() { // Start runs and must not go on dialling peers.
		p.cancel()
		p.mu.Lock()
	}
	p.stopping = true
	cluster := p.cluster
	ended := p.ended
	if ended == nil {
		close(p.done)
	}
	p.mu.Unlock()

	p.report.enter(StageStopping, p.teardown.current)
	notifySystemd(daemonStopping)
	if cluster != nil {
		p.holdReadiness(ctx, cluster)
		if p.member != nil {
			p.member.hold(ctx, cluster)
		}
	}
	full := p.storeFull()
	if full != nil {
		// Whatever writes to the store waits for space (U82 in docs/upstream-faults.md). All that was
		// accepted is on the disk.
		logger.Warnf("%s: the peer stops without waiting for space", full)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.cfg.Pinsvcapi.ShutdownTimeout)
		defer cancel()
	}
	err := p.teardown.unwind(ctx)
	if full == nil {
		p.background.Wait()
	}
	return errors.Join(ended, full, err)
}
