package repair

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	logging "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/errgroup"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/poll"
)

var log = logging.Logger("clusterrpc")

const (
	// maxRetries bounds the retries of one call of RetryDue, retryWorkers of them at a
	// time.
	maxRetries, retryWorkers = 512, 8
	// lostSlotTime replaces slotTime for lost content: closer peers may not know of the
	// loss, and a second request is harmless.
	lostSlotTime = 5 * time.Second
)

// Client sends requests to peers: a clusterapi.Client.
type Client interface {
	Recover(ctx context.Context, p peer.ID, key api.Cid) (api.PinInfo, error)
	ID(ctx context.Context, p peer.ID) (api.ID, error)
	TrackerStatus(ctx context.Context, p peer.ID, key api.Cid) (api.PinInfo, error)
}

// RetrierConfig is what a Retrier needs. All fields are required.
type RetrierConfig struct {
	Client  Client
	Tracker *peerstatus.Tracker
	Breaker *poll.Breaker
	Self    peer.ID
	Now     func() time.Time
	// Timeout bounds one request, and RetryDelay is the shortest time between two
	// retries of one pin.
	Timeout, RetryDelay time.Duration
}

// Retrier has peers retry pins. RetryDue is used by one goroutine at a time.
type Retrier struct {
	cfg   RetrierConfig
	nodes map[peer.ID]nodeProbe
	sent  atomic.Uint64
}

// nodeProbe is whether the IPFS node of a peer was available when it was last probed.
type nodeProbe struct {
	available bool
	until     time.Time
}

// NewRetrier returns a retrier.
func NewRetrier(cfg RetrierConfig) *Retrier {
	return &Retrier{cfg: cfg, nodes: make(map[peer.ID]nodeProbe)}
}

// Sent is how many retries were sent to peers.
func (r *Retrier) Sent() uint64 { return r.sent.Load() }

// RetryDue sends the retries that are due and this peer's turn.
func (r *Retrier) RetryDue(ctx context.Context) {
	var g errgroup.Group
	g.SetLimit(retryWorkers)
	for _, retry := range r.cfg.Tracker.DueRetries(maxRetries) {
		if retry.State == peerstatus.Failed {
			r.cfg.Tracker.RetryDeferred(retry, r.checkDelay())
			g.Go(func() error {
				r.check(ctx, retry)
				return nil
			})
			continue
		}
		if delay := r.slotDelay(retry); delay > 0 {
			r.cfg.Tracker.RetryDeferred(retry, delay)
			continue
		}
		if r.cfg.Breaker.Open(retry.Peer) || retry.State == peerstatus.Waiting && !r.nodeAvailable(ctx, retry.Peer) {
			r.cfg.Tracker.RetryDeferred(retry, r.cfg.RetryDelay)
			continue
		}
		r.cfg.Tracker.RetrySent(retry)
		g.Go(func() error {
			r.recover(ctx, retry)
			return nil
		})
	}
	_ = g.Wait() // None of them fails.
}

const (
	// checkDelay is the time between two polls of a peer for a pin that it tries again
	// by itself, and checkRate bounds those polls per second.
	checkDelay, checkRate = 15 * time.Second, 50
)

// checkDelay grows with the number of pins that fail.
func (r *Retrier) checkDelay() time.Duration {
	return checkDelay + time.Duration(r.cfg.Tracker.FailurePins()/checkRate)*time.Second
}

// check polls a peer for a pin that failed there and that the peer tries again by
// itself once it has space (U39 in docs/upstream-faults.md).
func (r *Retrier) check(ctx context.Context, retry peerstatus.Retry) {
	if r.cfg.Breaker.Open(retry.Peer) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	info, err := r.cfg.Client.TrackerStatus(ctx, r.destination(retry.Peer), api.NewCid(retry.Key))
	if err != nil {
		log.Debugf("poll peer %s for pin %s: %s", retry.Peer, retry.Key, err)
		return
	}
	r.cfg.Tracker.Observe(retry.Peer, retry.Key, peerstatus.ReportOf(info))
}

// slotDelay is how long to leave a retry to peers that are closer to the pin, counted
// from when it became due; zero when it is this peer's turn.
func (r *Retrier) slotDelay(retry peerstatus.Retry) time.Duration {
	if retry.Yielded {
		return 0
	}
	each := slotTime
	if retry.State == peerstatus.Lost {
		each = lostSlotTime
	}
	return time.Duration(Rank(retry.Key, r.cfg.Self, retry.Holders, r.cfg.Breaker.Open)) * each
}

// nodeAvailable reports whether the IPFS node of a peer responds.
func (r *Retrier) nodeAvailable(ctx context.Context, p peer.ID) bool {
	now := r.cfg.Now()
	if probe, ok := r.nodes[p]; ok && now.Before(probe.until) {
		return probe.available
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	id, err := r.cfg.Client.ID(ctx, r.destination(p))
	probe := nodeProbe{available: err == nil && id.IPFS.Error == "", until: now.Add(r.cfg.RetryDelay / 2)}
	r.nodes[p] = probe
	return probe.available
}

// recover has a peer retry a pin, unless the peer did not respond just before: one that
// is frozen must not hold up what there is to do elsewhere.
func (r *Retrier) recover(ctx context.Context, retry peerstatus.Retry) {
	if r.cfg.Breaker.Open(retry.Peer) {
		return
	}
	r.sent.Add(1)
	call, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	info, err := r.cfg.Client.Recover(call, r.destination(retry.Peer), api.NewCid(retry.Key))
	if err != nil {
		if retry.Peer != r.cfg.Self && ctx.Err() == nil && call.Err() != nil {
			r.cfg.Breaker.Failure(retry.Peer)
		}
		log.Debugf("have peer %s retry pin %s: %s", retry.Peer, retry.Key, err)
		return
	}
	if info.Cid.Defined() {
		r.cfg.Tracker.Observe(retry.Peer, retry.Key, peerstatus.ReportOf(info))
	}
}

func (r *Retrier) destination(p peer.ID) peer.ID {
	if p == r.cfg.Self {
		return clusterapi.Local
	}
	return p
}
