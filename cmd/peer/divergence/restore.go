package divergence

import (
	"context"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/raftstate"
)

// Replica is the state of a Raft peer: a *raftstate.Consensus.
type Replica interface {
	Leader(ctx context.Context) (peer.ID, error)
	// LeaderBarrier returns when this peer, as the leader, has applied all that was committed before.
	LeaderBarrier(ctx context.Context) error
	// Rewrite gives rows the records that read gets from the leader after its LeaderBarrier. It
	// returns the keys of those that it changed.
	Rewrite(ctx context.Context, read func(context.Context) ([]raftstate.Row, error)) (changed []string, err error)
}

// restore gives rows of a Raft peer what the leader has. Nothing is done when this peer is the
// leader, or the other one is not; nor with rows in which a third peer agrees with this one: then it
// may be the leader that lost something. Until all can be asked that, it is told.
func (w *Watcher) restore(ctx context.Context, id peer.ID, rows []suspect) {
	leader, err := w.cfg.Replica.Leader(ctx)
	if err != nil || leader != id {
		log.Warnf("%d pins differ from those of peer %s, which is not the Raft leader: nothing is repaired here: %s", len(rows), id, names(keysOf(rows)))
		return
	}
	alone, err := w.alone(ctx, id, rows)
	if err != nil {
		log.Warnf("%d pins differ from those of the Raft leader, %s, and are not repaired before all peers can be asked what they have (%s): %s",
			len(rows), id, err, names(keysOf(rows)))
		return
	}
	if n := len(rows) - len(alone); n > 0 {
		log.Errorf("%d pins differ from those of the Raft leader, %s, but not from those of another peer: the leader may have lost or changed them. "+
			"Nothing is repaired; stop the leader, so that another peer becomes it: %s", n, id, names(missing(keysOf(rows), alone)))
	}
	var changed []string
	for part := range slices.Chunk(alone, maxRecords) {
		some, err := w.cfg.Replica.Rewrite(ctx, func(ctx context.Context) ([]raftstate.Row, error) {
			return w.records(ctx, id, part)
		})
		changed = append(changed, some...)
		if err != nil {
			log.Warnf("restoring pins from the Raft leader: %s", err)
			break
		}
	}
	w.countRepaired(len(changed))
	if len(alone) > 0 {
		log.Warnf("%d pins differed from those of the Raft leader, %s, %d of them were restored from it: %s", len(rows), id, len(changed), names(alone))
	}
}

// alone are the keys of the rows in which no third peer agrees with this one. It fails when one
// cannot be asked.
func (w *Watcher) alone(ctx context.Context, leader peer.ID, rows []suspect) ([]string, error) {
	members, err := w.cfg.Members(ctx)
	if err != nil {
		return nil, err
	}
	keys := keysOf(rows)
	agreed := make([]bool, len(keys))
	for _, id := range members {
		if id == leader || id == w.cfg.Host.ID() {
			continue
		}
		theirs, err := w.rowsOf(ctx, id, keys)
		if err != nil {
			return nil, err
		}
		for i, row := range rows {
			agreed[i] = agreed[i] || theirs[i] == row.mine
		}
	}
	var alone []string
	for i, key := range keys {
		if !agreed[i] {
			alone = append(alone, key)
		}
	}
	return alone, nil
}
