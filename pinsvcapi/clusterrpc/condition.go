package clusterrpc

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

const (
	// pollStarting and pollRunning are how often the peer is looked at.
	pollStarting, pollRunning = 200 * time.Millisecond, 5 * time.Second
	// pollPending is how often accepted changes are looked for in the state.
	pollPending = time.Second
)

// condition is what Ready and Health answer from.
type condition struct {
	mu     sync.Mutex
	ready  bool
	waits  string // what readiness waits for
	unwell error
}

func newCondition() *condition { return &condition{waits: "waiting for the cluster peer"} }

// Ready returns nil once requests can be served, else a KindUnavailable error
// that says what is missing. Once ready it stays so.
func (b *Backend) Ready() error {
	b.condition.mu.Lock()
	defer b.condition.mu.Unlock()
	if b.condition.ready {
		return nil
	}
	return &pinsvc.Error{
		Kind: pinsvc.KindUnavailable, Details: "the service is starting: " + b.condition.waits, RetryAfter: time.Second,
	}
}

// Health returns nil while this peer and its IPFS node answer.
func (b *Backend) Health() error {
	b.condition.mu.Lock()
	defer b.condition.mu.Unlock()
	if !b.condition.ready {
		return errors.New(b.condition.waits)
	}
	return b.condition.unwell
}

// watch runs in the background until the context ends.
func (b *Backend) watch(ctx context.Context) {
	for !b.begin(ctx) {
		if !sleep(ctx, pollStarting) {
			return
		}
	}
	b.tasks.start(b.watchPending)
	b.tasks.start(b.watchState)
	for sleep(ctx, pollRunning) {
		_, err := b.look(ctx)
		b.condition.mu.Lock()
		b.condition.unwell = err
		b.condition.mu.Unlock()
	}
}

// watchPending looks whether the state shows what was accepted.
func (b *Backend) watchPending(ctx context.Context) {
	for sleep(ctx, pollPending) {
		b.settle(ctx)
	}
}

// watchState learns creation times that other peers gave out.
func (b *Backend) watchState(ctx context.Context) {
	for sleep(ctx, b.opts.ReconcileInterval) {
		if err := b.learn(ctx); err != nil && ctx.Err() == nil {
			log.Warnf("read the pinset: %s", err)
		}
	}
}

// begin takes the steps to readiness and reports whether it is reached: the
// peer has sent its first sign of life, which it does when consensus and IPFS
// are there, its IPFS node has an address to tell, and the creation times in
// the state are known.
//
// Before that sign nothing may be asked that leads to the consensus component:
// the cluster hands out clients one component after the other, and a consensus
// that has none yet panics.
func (b *Backend) begin(ctx context.Context) bool {
	started, err := b.alive(ctx)
	switch {
	case err != nil:
		return b.wait("waiting for the cluster peer")
	case !started && b.ipfsAway(ctx):
		return b.wait("waiting for the IPFS node")
	case !started:
		return b.wait("waiting for consensus")
	}
	id, unwell := b.look(ctx)
	switch {
	case unwell != nil && id.IPFS.Error != "":
		return b.wait("waiting for the IPFS node")
	case len(b.delegates.peek(b.self)) == 0:
		return b.wait("waiting for the IPFS node to have an address")
	}
	b.wait("reading the pinset")
	if err := b.learn(ctx); err != nil {
		return b.wait("waiting for the shared state")
	}
	b.condition.mu.Lock()
	defer b.condition.mu.Unlock()
	b.condition.ready = true
	return true
}

// wait says what readiness waits for.
func (b *Backend) wait(what string) bool {
	b.condition.mu.Lock()
	defer b.condition.mu.Unlock()
	if b.condition.waits != what {
		log.Infof("not ready: %s", what)
	}
	b.condition.waits = what
	return false
}

// look asks this peer about itself and its IPFS node.
func (b *Backend) look(ctx context.Context) (api.ID, error) {
	ctx, cancel := context.WithTimeout(ctx, b.opts.StatusTimeout)
	defer cancel()
	id, err := b.cluster.id(ctx, local)
	switch {
	case err != nil:
		return id, pinsvc.Wrap(pinsvc.KindUnavailable, err, "the cluster peer does not answer")
	case id.IPFS.Error != "":
		// What the node said names addresses: it is for the log.
		return id, pinsvc.Wrap(pinsvc.KindUnavailable, errors.New(id.IPFS.Error), "the IPFS node is away")
	}
	b.delegates.told(b.self, id.IPFS)
	return id, nil
}

// ipfsAway reports whether this peer's IPFS node does not answer.
func (b *Backend) ipfsAway(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, b.opts.StatusTimeout)
	defer cancel()
	return b.cluster.askIPFS(ctx) != nil
}

// alive reports whether this peer has sent a sign of life.
func (b *Backend) alive(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, b.opts.StatusTimeout)
	defer cancel()
	pings, err := b.cluster.pings(ctx)
	for _, ping := range pings {
		if ping.Peer == b.self {
			return true, err
		}
	}
	return false, err
}

// learn reads the whole state for its creation times.
func (b *Backend) learn(ctx context.Context) error {
	return b.cluster.pins(ctx, func(rec api.Pin) error {
		created, _ := createdOf(rec)
		b.creation.saw(created)
		return nil
	})
}

// sleep waits and reports whether the context is still good.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
