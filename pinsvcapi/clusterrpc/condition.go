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
	// pollStarting, pollRunning and pollUnwell are how often the peer is
	// looked at.
	pollStarting, pollRunning, pollUnwell = 200 * time.Millisecond, 5 * time.Second, time.Second
	// beat is how often accepted changes are looked for in the state, and
	// peers are asked to try again; backgroundRound is how many beats lie
	// between two rounds that nobody asked for.
	beat            = time.Second
	backgroundRound = 10
	// tellProgress is how often the log says how far the filling has come.
	tellProgress = 5 * time.Second
)

// condition is what Ready and Health answer from.
type condition struct {
	reached chan struct{} // closed once ready

	mu     sync.Mutex
	waits  string        // what readiness waits for
	detail func() string // how far that has come; nil: nothing to tell
	unwell error
}

func newCondition() *condition {
	return &condition{reached: make(chan struct{}), waits: "waiting for the cluster peer"}
}

// ready reports whether requests can be served.
func (c *condition) ready() bool {
	select {
	case <-c.reached:
		return true
	default:
		return false
	}
}

// Ready returns nil once requests can be served, else a KindUnavailable error
// that says what is missing. Once ready it stays so.
func (b *Backend) Ready() error {
	if b.condition.ready() {
		return nil
	}
	return &pinsvc.Error{
		Kind: pinsvc.KindUnavailable, Details: "the service is starting: " + b.condition.text(), RetryAfter: time.Second,
	}
}

// filling reports whether all that is missing is being read into the view.
func (c *condition) filling() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.detail != nil
}

// text is what readiness waits for, and how far that has come.
func (c *condition) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.detail == nil {
		return c.waits
	}
	return c.waits + ": " + c.detail()
}

// Health returns nil while this peer and its IPFS node answer and changes can
// be made.
func (b *Backend) Health() error {
	if !b.condition.ready() {
		return errors.New(b.condition.text())
	}
	_, err := b.missing()
	return err
}

// watch runs in the background until the context ends.
func (b *Backend) watch(ctx context.Context) {
	hints := newHintQueue()
	if b.opts.Hints != nil {
		// Before the first look at the state, so that no change is missed.
		defer b.opts.Hints.Subscribe(func(h Hint) {
			b.pending.announced(h)
			hints.add(h)
		})()
	}
	for !b.begin(ctx) {
		if !sleep(ctx, pollStarting) {
			return
		}
	}
	b.tasks.start(func(ctx context.Context) { b.feed.follow(ctx, hints) })
	b.tasks.start(func(ctx context.Context) { b.feed.reconcile(ctx, b.opts.ReconcileInterval) })
	b.tasks.start(b.sweepAll)
	b.tasks.start(b.keep)
	b.tasks.start(b.guard)
	for pause := pollRunning; sleep(ctx, pause); {
		_, err := b.look(ctx)
		if pause = pollRunning; err != nil && ctx.Err() == nil {
			pause = pollUnwell
		}
		b.condition.mu.Lock()
		b.condition.unwell = err
		b.condition.mu.Unlock()
		if err := b.learnMembers(ctx); err != nil && ctx.Err() == nil {
			log.Debugf("%s", err)
		}
	}
}

// keep sees to it that what was promised happens: that changes get into the
// state, that failed pins are tried again, that lost keys come back and that
// statuses move while nobody asks.
func (b *Backend) keep(ctx context.Context) {
	for n := 1; sleep(ctx, beat); n++ {
		b.settle(ctx)
		b.mend(ctx)
		b.restore(ctx)
		if n%backgroundRound == 0 {
			b.freshen(ctx)
		}
	}
}

// begin takes the steps to readiness and reports whether it is reached: the
// peer has sent its first sign of life, which it does when consensus and IPFS
// are there, its IPFS node has an address to tell, the view has all of the
// state, and its own pins are confirmed as far as that can be done.
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
	if err := b.learnMembers(ctx); err != nil {
		return b.wait("waiting for the shared state")
	}
	if err := b.fill(ctx); err != nil {
		log.Debugf("%s", err)
		return b.wait("waiting for the shared state")
	}
	close(b.condition.reached)
	return true
}

// fill reads the whole pinset into the view, and asks this peer about its
// pins. What it cannot be asked about stays unconfirmed.
func (b *Backend) fill(ctx context.Context) error {
	began := time.Now()
	defer b.tell(ctx)()
	b.progressing("reading the pinset", b.feed.progress.String)
	if err := b.feed.walk(ctx); err != nil {
		return err
	}
	log.Infof("the pinset was read in %s: %s", time.Since(began).Round(time.Millisecond), b.feed.progress.String())
	b.progressing("asking the IPFS node for its pins", b.sweeps.progress.String)
	if err := b.sweep(ctx, b.self); err != nil && ctx.Err() == nil {
		log.Warnf("the pins of this peer cannot be confirmed yet: %s", err)
	}
	b.view.FinishLoad()
	log.Infof("%d pins are known, %d of them confirmed to be pinned", b.view.Len(), b.view.Count(pinsvc.SetOf(pinsvc.StatusPinned)))
	return ctx.Err()
}

// progressing says what readiness waits for and how far that has come.
func (b *Backend) progressing(what string, detail func() string) {
	b.condition.mu.Lock()
	defer b.condition.mu.Unlock()
	b.condition.waits, b.condition.detail = what, detail
}

// tell has the log say now and then how far the start has come, until the
// returned function is called.
func (b *Backend) tell(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for sleep(ctx, tellProgress) {
			log.Infof("not ready: %s", b.condition.text())
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// wait says what readiness waits for.
func (b *Backend) wait(what string) bool {
	b.condition.mu.Lock()
	defer b.condition.mu.Unlock()
	if b.condition.waits != what {
		log.Infof("not ready: %s", what)
	}
	b.condition.waits, b.condition.detail = what, nil
	return false
}

// look asks this peer about itself and its IPFS node.
func (b *Backend) look(ctx context.Context) (api.ID, error) {
	call, cancel := context.WithTimeout(ctx, b.opts.StatusTimeout)
	defer cancel()
	id, err := b.cluster.id(call, local)
	switch {
	case err != nil && b.peerAnswers(ctx):
		// The peer asks its IPFS node before it answers.
		return id, pinsvc.Wrap(pinsvc.KindUnavailable, err, "the IPFS node does not answer")
	case err != nil:
		return id, pinsvc.Wrap(pinsvc.KindUnavailable, err, "the cluster peer does not answer")
	case id.IPFS.Error != "":
		// What the node said names addresses: it is for the log.
		return id, pinsvc.Wrap(pinsvc.KindUnavailable, errors.New(id.IPFS.Error), "the IPFS node is away")
	}
	b.delegates.told(b.self, id.IPFS)
	return id, nil
}

// peerAnswers reports whether this peer answers what it needs no IPFS node for.
func (b *Backend) peerAnswers(ctx context.Context) bool {
	if _, err := b.alive(ctx); err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, b.opts.StatusTimeout)
	defer cancel()
	_, err := b.cluster.members(ctx)
	return err == nil
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
