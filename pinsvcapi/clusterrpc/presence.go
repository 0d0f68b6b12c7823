package clusterrpc

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

const (
	// presenceTime is how old a response of a peer may be for the peer to be present.
	presenceTime = 10 * time.Second
	// shortageInterval is the time between two counts of the pins that lack replicas.
	shortageInterval = 30 * time.Second
)

// shortage is the last count of the pinned pins that lack replicas.
type shortage struct{ wanted, required atomic.Int64 }

// refreshPresence enters which peers respond: those with a valid ping, and those that
// responded to a poll.
func (b *Backend) refreshPresence(ctx context.Context) error {
	pings, err := b.pings(ctx)
	if err != nil {
		return err
	}
	responding := []peer.ID{b.opts.Self}
	for _, ping := range pings {
		responding = append(responding, ping.Peer)
	}
	now := b.opts.Now()
	for id, stats := range b.poller.Stats() {
		if since := now.Sub(stats.Responded); !stats.Responded.IsZero() && since.Abs() < presenceTime {
			responding = append(responding, id)
		}
	}
	if b.tracker.SetPresence(responding, b.opts.ReplicaAwayAfter) {
		log.Warnf("peers that have not responded for %s (api.pinsvcapi.replica_away_after), or respond again: their replicas are counted anew", b.opts.ReplicaAwayAfter)
		b.countShortage(ctx)
	}
	return nil
}

// countShortage counts the pins that lack replicas, for metrics.
func (b *Backend) countShortage(context.Context) {
	wanted, required := b.tracker.Shortage()
	b.shortage.wanted.Store(int64(wanted))
	b.shortage.required.Store(int64(required))
}

// otherPeers are the members and the connected peers that this one trusts, without itself. A
// peer whose clock is back is no member for the others.
func (b *Backend) otherPeers() []peer.ID {
	peers := b.tracker.Members()
	if b.opts.Connected != nil {
		peers = append(peers, b.opts.Connected()...)
	}
	slices.Sort(peers)
	return slices.DeleteFunc(slices.Compact(peers), func(p peer.ID) bool {
		return p == b.opts.Self || b.opts.Trusted != nil && !b.opts.Trusted(p)
	})
}

// awaitedPeers are the peers that this one knows from its configuration, until there was time to
// hear of those that live.
func (b *Backend) awaitedPeers() []peer.ID {
	if len(b.opts.Expected) == 0 || b.readiness.since() >= b.opts.PingInterval {
		return nil
	}
	return b.opts.Expected
}

const (
	// clockInterval is the time between two measurements of the peers' clocks. A peer whose clock was
	// set back is missed when its last sign of life has expired, which takes longer.
	clockInterval = 10 * time.Second
)

// measureClocks measures the clocks of the other peers.
func (b *Backend) measureClocks(ctx context.Context) { b.clocks.Measure(ctx) }

// clockCause adds to a failure for a lack of peers that the clocks are a cause of it, as they were
// measured last: a peer whose clock is back is missed.
func (b *Backend) clockCause(err error) error {
	var failure *pinsvc.Error
	if !errors.As(err, &failure) {
		return err
	}
	wrong := b.clocks.Wrong()
	if len(wrong) == 0 {
		return err
	}
	explained := *failure
	for _, skew := range wrong {
		explained.Details += "; " + skew.String()
	}
	explained.Details += ", and what a peer publishes expires by its clock"
	return &explained
}
