package peer

import (
	"context"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/boxo/datastore/dshelp"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/orphans"
)

// newOrphanScanner makes what finds pins of the IPFS node that the cluster does not
// have. Only pins of the managed node are removed because a scan found them.
func (p *Peer) newOrphanScanner() error {
	cfgs := p.cfg.Helper.Configs()
	name := ""
	if p.node != nil && !cfgs.Ipfshttp.UnpinDisable {
		name = pinName
	}
	p.orphans = orphans.New(orphans.Config{
		Node: orphans.NewKubo(p.ipfsRPC), List: p.listState, Has: p.stateHas, Deleted: p.knownDeleted,
		Untrack: func(ctx context.Context, key cid.Cid) (bool, error) {
			return p.tracker.UntrackAbsent(ctx, api.NewCid(key))
		},
		Name: name, Interval: cfgs.Cluster.PinRecoverInterval,
	})
	p.details.add(p.orphans.Details)
	return p.metrics.countOrphans(p.orphans.Stats)
}

// scanOrphans runs the scanner once the peer is ready.
func (p *Peer) scanOrphans() {
	ctx, cancel := p.untilDone()
	defer cancel()
	select {
	case <-p.ready:
		p.orphans.Run(ctx)
	case <-ctx.Done():
	}
}

// listState calls each with every pin of the shared state.
func (p *Peer) listState(ctx context.Context, each func(cid.Cid)) error {
	st, err := p.consensus.State(ctx)
	if err != nil {
		return err
	}
	const buffer = 1024
	pins, failed := make(chan api.Pin, buffer), make(chan error, 1)
	go func() { failed <- st.List(ctx, pins) }()
	for pin := range pins { // To its end: the sender blocks otherwise (U24).
		each(pin.Cid.Cid)
	}
	return <-failed
}

func (p *Peer) stateHas(ctx context.Context, key cid.Cid) (bool, error) {
	st, err := p.consensus.State(ctx)
	if err != nil {
		return false, err
	}
	return st.Has(ctx, api.NewCid(key))
}

// knownDeleted reports whether the shared state knows that a pin was deleted. A CRDT
// keeps a tomb of each deleted record; one that never had the record, because it is
// incomplete, has none. A Raft peer that is ready has applied all that its leader has.
func (p *Peer) knownDeleted(ctx context.Context, key cid.Cid) (bool, error) {
	if p.crdtStore == nil {
		_, err := p.consensus.Leader(ctx)
		return err == nil, nil
	}
	if p.crdtStore.Unfinished() > 0 {
		return false, nil // A newer record may be on its way.
	}
	members, err := p.crdtStore.Members(ctx, dshelp.NewKeyFromBinary(key.Bytes()).String()[1:])
	return err == nil && len(members.Live) == 0 && len(members.Tombs) > 0, err
}
