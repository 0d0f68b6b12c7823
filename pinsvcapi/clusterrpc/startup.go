package clusterrpc

import (
	"context"
	"sync"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

const (
	// startInterval is the time between two attempts to start.
	startInterval = 200 * time.Millisecond
	// progressInterval is how often the progress of the start is logged.
	progressInterval = 5 * time.Second
	// maxRecoveryHold is how long what is missing may keep the cluster from recovering pins.
	maxRecoveryHold = 10 * time.Second
)

// recoveryHolder is an EventSource that can hold back what the cluster does at its own start: to
// look for all pins that have to be recovered.
type recoveryHolder interface {
	// HoldRecovery holds recoveries of all pins back until release is called.
	HoldRecovery() (release func())
}

// start takes the steps to readiness until it is reached; false: the context ended.
//
// Meanwhile the cluster's first recovery waits, because it reads the whole shared state and all
// pins of the IPFS node, too, and both at once would take twice as long each.
func (b *Backend) start(ctx context.Context) bool {
	release := func() {}
	if holder, ok := b.opts.Events.(recoveryHolder); ok {
		release = holder.HoldRecovery()
	}
	defer release()
	for began := b.opts.Now(); !b.tryStart(ctx); {
		if b.opts.Now().Sub(began) >= maxRecoveryHold {
			release() // Pins are recovered although the service cannot start.
		}
		if !backoff.Sleep(ctx, startInterval) {
			return false
		}
	}
	return true
}

// tryStart takes the steps to readiness and reports whether it is reached: the peer has
// sent its first ping, which it does when consensus and IPFS are there; its IPFS node has
// an address; the view has all of the state; and the pins of this peer are confirmed as
// far as that can be done.
//
// Before that ping nothing may be called that leads to the consensus component: the cluster
// hands out clients one component after the other, and a consensus without one panics (U3 and U8 in
// docs/upstream-faults.md).
func (b *Backend) tryStart(ctx context.Context) bool {
	started, err := b.sentPing(ctx)
	switch {
	case err != nil:
		return b.waitFor("waiting for the cluster peer")
	case !started && b.ipfsUnavailable(ctx):
		return b.waitFor("waiting for the IPFS node")
	case !started:
		return b.waitFor("waiting for consensus")
	}
	id, unhealthy := b.probePeer(ctx)
	switch {
	case unhealthy != nil && id.IPFS.Error != "":
		return b.waitFor("waiting for the IPFS node")
	case !b.delegates.Known(b.opts.Self):
		return b.waitFor("waiting for the IPFS node to have an address")
	}
	if err := b.refreshMembers(ctx); err != nil {
		return b.waitFor("waiting for the shared state")
	}
	b.delegates.Refresh(b.tracker.Members())
	if err := b.fill(ctx); err != nil {
		log.Debugf("%s", err)
		return b.waitFor("waiting for the shared state")
	}
	b.readiness.reach()
	return true
}

// waitFor notes what readiness waits for.
func (b *Backend) waitFor(step string) bool {
	if b.readiness.step(step, nil) {
		log.Infof("not ready: %s", step)
	}
	return false
}

// fill reads the whole pinset into the view, and polls this peer for its pins. What it does
// not report stays unconfirmed.
func (b *Backend) fill(ctx context.Context) error {
	began := b.opts.Now()
	defer b.logProgress(ctx)()
	b.readiness.step("reading the pinset", b.syncer.Progress)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	confirm := b.poller.ConfirmOwn(ctx)
	if err := b.syncer.Resync(ctx); err != nil {
		cancel()
		_ = confirm() // It ends with the context.
		return err
	}
	if err := b.replaced.Reread(ctx); err != nil {
		return err
	}
	log.Infof("the pinset was read in %s: %s", b.opts.Now().Sub(began).Round(time.Millisecond), b.syncer.Progress())
	b.readiness.step("reading the pins of the IPFS node", b.poller.ScanProgress)
	if err := confirm(); err != nil && ctx.Err() == nil {
		log.Warnf("the pins of this peer cannot be confirmed yet: %s", err)
	}
	b.view.FinishLoad()
	log.Infof("%d pins are known, %d of them confirmed to be pinned", b.view.Len(), b.view.Count(pinsvc.SetOf(pinsvc.StatusPinned)))
	return ctx.Err()
}

// logProgress logs the progress of the start until stop is called.
func (b *Backend) logProgress(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for backoff.Sleep(ctx, progressInterval) {
			log.Infof("not ready: %s", b.readiness.text())
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}
