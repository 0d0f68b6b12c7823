package clusterrpc

import (
	"context"
	"errors"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
)

const (
	// probeInterval is the time between two probes of this peer. With StatusTimeout it is how long
	// the peer seems to be healthy although its IPFS node is frozen.
	probeInterval = time.Second
	// repairInterval is the time between two checks for uncommitted writes, retries and
	// lost metadata.
	repairInterval = time.Second
	// idlePollInterval is the time between two active polls that no client requested.
	idlePollInterval = 10 * time.Second
)

// loops are what runs in the background once the view is filled. Each has a goroutine of its
// own, so that none holds up the others.
func (b *Backend) loops() []func(context.Context) {
	return []func(context.Context){
		b.syncer.Run,
		b.poller.RunScans,
		b.poller.FollowReplicas,
		b.probeAlways,
		b.watchHealth,
		b.every(repairInterval, "settle", b.writer.SettleUncommitted),
		b.every(repairInterval, "retry", b.retrier.RetryDue),
		b.every(repairInterval, "metadata", b.metadata.RepairDue),
		b.every(repairInterval, "replaced", b.replaced.UnpinDue),
		b.every(idlePollInterval, "active_poll", func(ctx context.Context) { b.poller.Active(ctx) }),
		b.clocksAlways,
		b.every(shortageInterval, "shortage", b.countShortage),
		b.watchIndex,
	}
}

// watchIndex logs when the index of the view had to be rebuilt.
func (b *Backend) watchIndex(ctx context.Context) {
	for last := 0; backoff.Sleep(ctx, time.Minute); {
		if n := b.view.IndexRebuilds(); n != last {
			log.Errorf("the index of the view was damaged and rebuilt %d times: please report this bug", n)
			last = n
		}
	}
}

// loopNames are the loops whose last run is a metric.
var loopNames = [...]string{"settle", "retry", "metadata", "replaced", "active_poll", "shortage", "clocks"}

// every calls f again and again, with a pause between two calls, until the context ends.
func (b *Backend) every(pause time.Duration, name string, f func(context.Context)) func(context.Context) {
	return func(ctx context.Context) {
		for backoff.Sleep(ctx, pause) {
			f(ctx)
			b.lastRuns.Store(name, b.opts.Now())
		}
	}
}

// clocksAlways measures the clocks of the other peers, first of all at the start.
func (b *Backend) clocksAlways(ctx context.Context) {
	b.measureClocks(ctx)
	b.every(clockInterval, "clocks", b.measureClocks)(ctx)
}

// probeAlways probes this peer, reads the members and keeps the addresses of their IPFS nodes.
func (b *Backend) probeAlways(ctx context.Context) {
	for backoff.Sleep(ctx, probeInterval) {
		_, err := b.probePeer(ctx)
		b.readiness.probed(err)
		if err := errors.Join(b.refreshMembers(ctx), b.refreshPresence(ctx)); err != nil && ctx.Err() == nil {
			log.Debugf("%s", err)
		}
		b.delegates.Refresh(b.tracker.Members())
	}
}
