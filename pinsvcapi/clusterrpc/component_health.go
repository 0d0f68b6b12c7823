package clusterrpc

import (
	"context"
	"errors"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// ComponentHealth is what the process knows of the components of its own peer, which the
// RPC reports late or not at all. Both methods are called for every change and several
// times a second, and return from memory. Responses contain the details of a
// *pinsvc.Error; for other errors they state only which component is unavailable.
type ComponentHealth interface {
	// Consensus returns why no change of the shared state can be made now, such as a
	// Raft without a leader. It is nil when one can, or when nothing is known.
	Consensus() error
	// IPFS returns why the IPFS node cannot be used now, or nil.
	IPFS() error
}

// alwaysHealthy is the health of components of which nothing is known.
type alwaysHealthy struct{}

func (alwaysHealthy) Consensus() error { return nil }
func (alwaysHealthy) IPFS() error      { return nil }

const (
	// healthInterval is how often the health is read for the log, and for the changes
	// that wait.
	healthInterval = 250 * time.Millisecond

	detailsIPFSDown      = "the IPFS node is unavailable"
	detailsConsensusDown = "the consensus of the cluster is unavailable"
)

// forClients is an error of ComponentHealth as clients may read it.
func forClients(err error, details string) error {
	if err == nil || pinsvc.KindOf(err) == pinsvc.KindUnavailable {
		return err
	}
	return pinsvc.Wrap(pinsvc.KindUnavailable, err, "%s", details)
}

func (b *Backend) consensusHealth() error {
	return forClients(b.opts.ComponentHealth.Consensus(), detailsConsensusDown)
}

func (b *Backend) ipfsHealth() error {
	if err := b.opts.ComponentHealth.IPFS(); err != nil {
		return forClients(err, detailsIPFSDown)
	}
	return b.readiness.lastProbe()
}

// unhealthy is what the peer depends on and is unavailable now; nil when nothing is. which
// names the components without their state.
func (b *Backend) unhealthy() (which string, err error) {
	consensus, ipfs := b.consensusHealth(), b.ipfsHealth()
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

// HealthDetails returns what an operator should attend to although requests can be served: what
// Options.HealthDetails returns, and clocks that differ.
func (b *Backend) HealthDetails() []string {
	details := b.clocks.Details()
	if b.opts.HealthDetails == nil {
		return details
	}
	return append(b.opts.HealthDetails(), details...)
}

// watchHealth logs which components become unavailable and come back, and ends the changes
// that wait for a consensus that does not come back.
func (b *Backend) watchHealth(ctx context.Context) {
	for last := ""; backoff.Sleep(ctx, healthInterval); {
		_ = b.writer.Available() // It ends what waits.
		which, err := b.unhealthy()
		switch {
		case which == last:
		case err == nil:
			log.Infof("ready again: all components are available")
		default:
			log.Warnf("not ready: %s", err)
		}
		last = which
	}
}
