package clusterrpc

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// readiness is the state that Ready and Health report.
type readiness struct {
	now     func() time.Time
	started time.Time
	reached chan struct{} // closed once ready

	mu        sync.Mutex
	waitsFor  string
	progress  func() string // how far that is; nil: nothing to report
	readyAt   time.Time
	unhealthy error // of the last probe of this peer
}

func newReadiness(now func() time.Time) *readiness {
	return &readiness{now: now, started: now(), reached: make(chan struct{}), waitsFor: "waiting for the cluster peer"}
}

// ready reports whether requests can be served.
func (r *readiness) ready() bool {
	select {
	case <-r.reached:
		return true
	default:
		return false
	}
}

// reach is called once.
func (r *readiness) reach() {
	r.mu.Lock()
	r.readyAt = r.now()
	r.mu.Unlock()
	close(r.reached)
}

// took is the time from the start to readiness; zero before.
func (r *readiness) took() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.readyAt.IsZero() {
		return 0
	}
	return r.readyAt.Sub(r.started)
}

// since is the time since readiness was reached; zero before.
func (r *readiness) since() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.readyAt.IsZero() {
		return 0
	}
	return r.now().Sub(r.readyAt)
}

// step notes what readiness waits for, and reports whether that is another step.
func (r *readiness) step(waitsFor string, progress func() string) (changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed = r.waitsFor != waitsFor
	r.waitsFor, r.progress = waitsFor, progress
	return changed
}

// filling reports whether the view is being filled, which is all that is missing then.
func (r *readiness) filling() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.progress != nil
}

// text is what readiness waits for, and how far that is.
func (r *readiness) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.progress == nil {
		return r.waitsFor
	}
	return r.waitsFor + ": " + r.progress()
}

func (r *readiness) probed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unhealthy = err
}

func (r *readiness) lastProbe() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.unhealthy
}

// Ready returns nil once requests can be served, else a KindUnavailable error that states
// what is missing. Once ready it stays so.
func (b *Backend) Ready() error {
	if b.readiness.ready() {
		return nil
	}
	return &pinsvc.Error{
		Kind: pinsvc.KindUnavailable, Details: "the service is starting: " + b.readiness.text(), RetryAfter: time.Second,
	}
}

// Wait is Ready for a request that can wait: while the view is being filled it waits up to
// Options.FillWait.
func (b *Backend) Wait(ctx context.Context) error {
	if b.readiness.ready() || !b.readiness.filling() {
		return b.Ready()
	}
	timer := time.NewTimer(b.opts.FillWait)
	defer timer.Stop()
	select {
	case <-b.readiness.reached:
		return nil
	case <-timer.C:
		return b.Ready()
	case <-ctx.Done():
		return clusterapi.Failure(ctx.Err(), "wait for the pinset")
	}
}

// Health returns nil while this peer and its IPFS node respond and changes can be made.
func (b *Backend) Health() error {
	if !b.readiness.ready() {
		return errors.New(b.readiness.text())
	}
	_, err := b.unhealthy()
	return err
}

// probePeer requests the ID of this peer and its IPFS node.
func (b *Backend) probePeer(ctx context.Context) (api.ID, error) {
	call, cancel := context.WithTimeout(ctx, b.opts.StatusTimeout)
	defer cancel()
	id, err := b.cluster.ID(call, clusterapi.Local)
	switch {
	case err != nil && b.peerResponds(ctx):
		// The peer queries its IPFS node before it responds.
		return id, pinsvc.Wrap(pinsvc.KindUnavailable, err, clusterapi.DetailsIPFSUnavailable)
	case err != nil:
		return id, pinsvc.Wrap(pinsvc.KindUnavailable, err, "the cluster peer does not respond")
	case id.IPFS.Error != "":
		// The text of the node names addresses: it is for the log.
		return id, pinsvc.Wrap(pinsvc.KindUnavailable, errors.New(id.IPFS.Error), detailsIPFSDown)
	}
	b.delegates.Enter(b.opts.Self, id.IPFS)
	return id, nil
}

// peerResponds reports whether this peer responds where it needs no IPFS node.
func (b *Backend) peerResponds(ctx context.Context) bool {
	if _, err := b.sentPing(ctx); err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, b.opts.StatusTimeout)
	defer cancel()
	_, err := b.cluster.Members(ctx)
	return err == nil
}

// ipfsUnavailable reports whether this peer's IPFS node does not respond.
func (b *Backend) ipfsUnavailable(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, b.opts.StatusTimeout)
	defer cancel()
	return b.cluster.ProbeIPFS(ctx) != nil
}

// sentPing reports whether this peer has sent a ping.
func (b *Backend) sentPing(ctx context.Context) (bool, error) {
	pings, err := b.pings(ctx)
	for _, ping := range pings {
		if ping.Peer == b.opts.Self {
			return true, err
		}
	}
	return false, err
}

// pings are the valid pings of the members.
func (b *Backend) pings(ctx context.Context) ([]api.Metric, error) {
	ctx, cancel := context.WithTimeout(ctx, b.opts.StatusTimeout)
	defer cancel()
	return b.cluster.LatestMetrics(ctx, "ping")
}

// refreshMembers reads who the members of the cluster are.
func (b *Backend) refreshMembers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, b.opts.StateTimeout)
	defer cancel()
	members, err := b.cluster.Members(ctx)
	if err != nil {
		return clusterapi.Failure(err, "read the list of the cluster's peers")
	}
	if b.tracker.SetMembers(members) {
		b.choices.purge()
		b.cache.Purge()
		b.poller.MembersChanged()
	}
	return nil
}
