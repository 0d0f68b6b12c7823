package clusterrpc

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Parts is what the process knows of the parts of its own peer, and the RPC
// tells late or not at all. Both methods are asked for every change and
// several times a second, and answer from memory. The details of a
// *pinsvc.Error are told to clients, of other errors nothing.
type Parts interface {
	// Consensus returns why no change of the shared state can be made now:
	// Raft has no leader. It is nil when one can, or when nothing is known.
	Consensus() error
	// IPFS returns why the IPFS node cannot be asked now, or nil.
	IPFS() error
}

// unwatched are the parts of which nothing is known.
type unwatched struct{}

func (unwatched) Consensus() error { return nil }
func (unwatched) IPFS() error      { return nil }

const (
	// partsBeat is how often the parts are looked at for the log, and for
	// the changes that wait.
	partsBeat = 250 * time.Millisecond
	// electionTime is how long the consensus may be away before changes are
	// given up. Raft chooses another leader in less.
	electionTime = 2 * time.Second
)

// readable is an error of Parts as clients may read it.
func readable(err error, details string) error {
	if err == nil || pinsvc.KindOf(err) == pinsvc.KindUnavailable {
		return err
	}
	return pinsvc.Wrap(pinsvc.KindUnavailable, err, "%s", details)
}

func (b *Backend) consensusAway() error {
	return readable(b.opts.Parts.Consensus(), "the consensus of the cluster is away")
}

func (b *Backend) ipfsNodeAway() error {
	return readable(b.opts.Parts.IPFS(), "the IPFS node is away")
}

// missing is what the peer depends on and is away now; nil when nothing is.
// what names the parts, and not how they are.
func (b *Backend) missing() (what string, err error) {
	consensus, ipfs := b.consensusAway(), b.ipfsNodeAway()
	if ipfs == nil {
		b.condition.mu.Lock()
		ipfs = b.condition.unwell
		b.condition.mu.Unlock()
	}
	switch {
	case consensus == nil && ipfs == nil:
		return "", nil
	case ipfs == nil:
		return "consensus", consensus
	case consensus == nil:
		return "peer", ipfs
	}
	return "consensus and peer", pinsvc.Wrap(pinsvc.KindUnavailable, errors.Join(consensus, ipfs), "%s; %s",
		pinsvc.FailureOf(consensus).Details, pinsvc.FailureOf(ipfs).Details)
}

// guard tells the log what goes away and comes back, and gives up the changes
// that wait for a consensus that does not come back.
func (b *Backend) guard(ctx context.Context) {
	for was := ""; sleep(ctx, partsBeat); {
		_ = b.writable() // What waits is ended by the look at it.
		what, err := b.missing()
		switch {
		case what == was:
		case err == nil:
			log.Infof("ready again: nothing is away")
		default:
			log.Warnf("not ready: %s", err)
		}
		was = what
	}
}

// writable returns why changes are refused now, or nil.
func (b *Backend) writable() error { return b.outage.saw(b.consensusAway()) }

// outage is a time without consensus.
type outage struct {
	now func() time.Time

	mu    sync.Mutex
	since time.Time       // zero: there is none
	over  context.Context // ends when the outage is longer than an election
	end   context.CancelCauseFunc
}

func newOutage(now func() time.Time) *outage {
	o := &outage{now: now}
	o.over, o.end = context.WithCancelCause(context.Background())
	return o
}

// saw enters what was seen of the consensus and returns it if it has been so
// for longer than an election takes.
func (o *outage) saw(away error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	switch {
	case away == nil && o.over.Err() != nil:
		o.over, o.end = context.WithCancelCause(context.Background())
		fallthrough
	case away == nil:
		o.since = time.Time{}
		return nil
	case o.since.IsZero():
		o.since = now
	}
	if now.Sub(o.since) < electionTime {
		return nil
	}
	o.end(away)
	return away
}

// bound lets a context end with an outage, whose reason is its cause.
func (o *outage) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	o.mu.Lock()
	over := o.over
	o.mu.Unlock()
	ctx, giveUp := context.WithCancelCause(ctx)
	if over.Err() != nil {
		giveUp(context.Cause(over))
	}
	stop := context.AfterFunc(over, func() { giveUp(context.Cause(over)) })
	return ctx, func() {
		stop()
		giveUp(nil)
	}
}
