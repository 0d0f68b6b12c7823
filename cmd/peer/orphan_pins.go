package peer

import (
	"context"
	"errors"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
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
		Node: orphans.NewKubo(p.ipfsRPC), List: p.listWanted, Wanted: p.wanted, Moved: p.moved, Gone: p.knownGone,
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

// listWanted calls each with the pins of the shared state that this peer is to hold. What other
// peers hold is no orphan of an external node, which may be theirs.
func (p *Peer) listWanted(ctx context.Context, each func(cid.Cid)) error {
	st, err := p.consensus.State(ctx)
	if err != nil {
		return err
	}
	const buffer = 1024
	pins, failed := make(chan api.Pin, buffer), make(chan error, 1)
	go func() { failed <- st.List(ctx, pins) }()
	for pin := range pins { // To its end: the sender blocks otherwise (U24).
		if p.node == nil || !p.heldByOthers(pin) {
			each(pin.Cid.Cid)
		}
	}
	return <-failed
}

// wanted reports whether the shared state has a pin that this peer is to hold.
func (p *Peer) wanted(ctx context.Context, key cid.Cid) (bool, error) {
	pin, found, err := p.record(ctx, key)
	return found && !p.heldByOthers(pin), err
}

// moved reports whether the shared state has a pin that others are to hold.
func (p *Peer) moved(ctx context.Context, key cid.Cid) (bool, error) {
	pin, found, err := p.record(ctx, key)
	return found && p.heldByOthers(pin), err
}

// keepsMoved reports whether the IPFS node has a pin that others are to hold, and that this peer may have
// the only copy of: it was away when the pin was given to others, which cannot get the content. The scanner
// of orphans asks them, and has the pin removed. The state may not show the record yet that says so.
func (p *Peer) keepsMoved(ctx context.Context, key api.Cid) (bool, error) {
	if p.cfg.Helper.Configs().Ipfshttp.UnpinDisable {
		return false, nil
	}
	pinned, _, err := orphans.NewKubo(p.ipfsRPC).Pinned(ctx, key.Cid)
	if err != nil || !pinned {
		return false, err
	}
	p.orphans.GivenUp(key.Cid, false)
	return true, nil
}

// record is the record of a pin in the shared state.
func (p *Peer) record(ctx context.Context, key cid.Cid) (pin api.Pin, found bool, err error) {
	st, err := p.consensus.State(ctx)
	if err != nil {
		return api.Pin{}, false, err
	}
	pin, err = st.Get(ctx, api.NewCid(key))
	if errors.Is(err, state.ErrNotFound) {
		return api.Pin{}, false, nil
	}
	return pin, err == nil, err
}

// heldByOthers reports whether a pin is to be held by other peers alone.
func (p *Peer) heldByOthers(pin api.Pin) bool {
	return pin.Type != api.MetaType && pin.IsRemotePin(p.ID())
}

// knownGone reports whether it is known that a pin, which this peer is not to hold, was deleted or is
// held by others.
func (p *Peer) knownGone(ctx context.Context, key cid.Cid) (bool, error) {
	pin, found, err := p.record(ctx, key)
	switch {
	case err != nil:
		return false, err
	case found:
		return p.pinnedByOthers(ctx, pin)
	}
	return p.knownDeleted(ctx, key)
}

// pinnedByOthers reports whether enough other peers say that they have pinned what this one is not to
// hold. A peer that has got another identity may have the only copy of pins that the former one was to
// hold.
func (p *Peer) pinnedByOthers(ctx context.Context, pin api.Pin) (bool, error) {
	const limit = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	info, err := p.cluster.Status(ctx, pin.Cid)
	if err != nil {
		return false, err
	}
	pinned := 0
	for id, at := range info.PeerMap {
		if id != p.ID().String() && at.Status == api.TrackerStatusPinned {
			pinned++
		}
	}
	return pinned >= max(pin.ReplicationFactorMin, 1), nil
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
