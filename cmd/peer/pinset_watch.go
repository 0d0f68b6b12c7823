package peer

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ipfs/go-datastore"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/digest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/divergence"
)

// pinsetRows says where in the datastore the records of the shared state are.
func (p *Peer) pinsetRows(kind ConsensusKind) digest.Rows {
	cfgs := p.cfg.Helper.Configs()
	if kind == ConsensusRaft {
		return digest.Rows{
			Prefix: datastore.NewKey(cfgs.Raft.DatastoreNamespace),
			Of:     func(key string) (string, bool) { return key, !strings.Contains(key, "/") },
			To:     func(row string) string { return row },
		}
	}
	return digest.Rows{ // The values of go-ds-crdt's set.
		Prefix: p.cfg.crdtRoot().ChildString("s/k"),
		Of:     func(key string) (string, bool) { return strings.CutSuffix(key, "/v") },
		To:     func(row string) string { return row + "/v" },
		Undone: func(err error) bool { return errors.Is(err, errStoreFull) },
	}
}

// openPinset wraps the datastore of the consensus so that there is a digest of the pinset.
func (p *Peer) openPinset(kind ConsensusKind) error {
	batching, ok := p.store.(datastore.Batching)
	if !ok {
		return errors.New("the datastore cannot batch")
	}
	p.pinset = digest.New(batching, p.pinsetRows(kind))
	return nil
}

// newWatcher makes what compares this peer's pinset with those of the others.
func (p *Peer) newWatcher() error {
	cfg := divergence.Config{
		Host: p.network.host, Pinset: p.pinset, Interval: p.opts.PinsetInterval,
		Members: p.consensus.Peers, LatestMetrics: p.monitor.LatestMetrics, Trusted: p.consensus.IsTrustedPeer,
	}
	if p.raft != nil {
		cfg.Replica = p.raft
	}
	if p.consensus.kind == ConsensusCRDT {
		cfg.Elements, cfg.ClusterName = p.crdtStore, p.cfg.Helper.Configs().Crdt.ClusterName
	}
	watcher, err := divergence.New(cfg)
	if err != nil {
		return fmt.Errorf("comparing the pinset with those of other peers: %w", err)
	}
	p.watcher = watcher
	p.details.add(watcher.Details)
	p.teardown.push("comparison of the pinset", closeLimit, func(context.Context) error {
		watcher.Close()
		return nil
	})
	return p.metrics.countDivergence(watcher.Stats)
}

// watchPinset counts and compares the pinset once the peer serves requests.
func (p *Peer) watchPinset() {
	ctx, cancel := p.untilDone()
	defer cancel()
	select {
	case <-p.ready:
		p.watcher.Run(ctx)
	case <-ctx.Done():
	}
}
