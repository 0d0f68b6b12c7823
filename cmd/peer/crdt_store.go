package peer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/consensus/crdt"
	"github.com/ipfs/boxo/datastore/dshelp"
	"github.com/ipfs/go-datastore"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/commitstore"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/crdtstore"
)

// repairInterval is the longest time between two checks whether the CRDT store is marked
// dirty, which cost nothing when it is not. Upstream's default, an hour, is how long a
// failed walk would wait until it goes on (U27 in docs/upstream-faults.md).
const repairInterval = 2 * time.Minute

// rebroadcastInterval is how often a peer tells the others of its newest changes again. What was
// told while a link was cut, or more at once than a peer takes, it learns of then (U60 in
// docs/upstream-faults.md): with upstream's default, which is in every configuration, a minute
// later.
const rebroadcastInterval = 10 * time.Second

// openCRDTStore wraps the store that go-ds-crdt gets: see package crdtstore.
func (p *Peer) openCRDTStore(under datastore.Batching) (*crdtstore.Store, error) {
	opts := crdtstore.Options{Changed: p.recheck, Again: p.awaitSpace}
	store, err := crdtstore.Open(p.ctx, under, p.cfg.crdtRoot(), opts)
	if err != nil {
		return nil, err
	}
	return store, p.metrics.countCRDT(store.Mended, store.Unfinished)
}

// awaitSpace waits after a write that was refused for a full disk, and reports whether there is space
// again. So merges go on where they were, as with a datastore that waits itself (U91). Clients are
// told of a change of this peer that was refused.
func (p *Peer) awaitSpace(ctx context.Context, err error) bool {
	if commitstore.Watched(ctx) || !errors.Is(err, errStoreFull) {
		return false
	}
	ticker := time.NewTicker(spaceRetry)
	defer ticker.Stop()
	for p.storeFull() != nil {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return false
		case <-p.done:
			return false
		case <-p.ctx.Done():
			return false
		}
	}
	return true
}

// recheck has the tracker and the API follow a key of the shared state that changed without
// a hook of the consensus that said so (U26).
func (p *Peer) recheck(key string, value []byte) {
	binary, err := dshelp.BinaryFromDsKey(datastore.NewKey(key))
	if err != nil {
		return // Not a pin.
	}
	c, err := api.CastCid(binary)
	if err != nil || p.tracker == nil {
		return
	}
	pin := api.PinCid(c)
	if value != nil {
		if err := pin.ProtoUnmarshal(value); err != nil {
			logger.Warnf("the record of %s cannot be read: %s", c, err)
			return
		}
		pin.Cid = c
	}
	p.tracker.Recheck(pin, value != nil)
}

// removedRecords are the records of a pin that the CRDT knows to be removed. A record that is not
// among them may be a newer one.
func (p *Peer) removedRecords(ctx context.Context, key api.Cid) ([]api.Pin, error) {
	return p.recordsBy(ctx, p.crdtStore.Buried, key)
}

// pastRecords are the records of a pin that came to the CRDT, whatever became of them.
func (p *Peer) pastRecords(ctx context.Context, key api.Cid) ([]api.Pin, error) {
	return p.recordsBy(ctx, p.crdtStore.Elements, key)
}

func (p *Peer) recordsBy(ctx context.Context, read func(context.Context, string) ([][]byte, error), key api.Cid) ([]api.Pin, error) {
	name := dshelp.NewKeyFromBinary(key.Bytes()).String()[1:]
	if err := p.crdtStore.Await(ctx, name); err != nil {
		return nil, err
	}
	values, err := read(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("reading the earlier records of %s: %w", key, err)
	}
	var records []api.Pin
	for _, value := range values {
		var rec api.Pin
		if err := rec.ProtoUnmarshal(value); err != nil {
			continue // No peer can show it.
		}
		rec.Cid = key
		records = append(records, rec)
	}
	return records, nil
}

// crdtConfig is the configuration that go-ds-crdt gets.
func crdtConfig(cfg *crdt.Config) *crdt.Config {
	changed := *cfg
	if cfg.RepairInterval > 0 {
		changed.RepairInterval = min(cfg.RepairInterval, repairInterval)
	}
	if cfg.RebroadcastInterval == crdt.DefaultRebroadcastInterval {
		changed.RebroadcastInterval = rebroadcastInterval
	}
	return &changed
}

// newCRDT makes upstream's consensus over a store of its own.
func (p *Peer) newCRDT() (*committedCRDT, error) {
	store, err := p.openCRDTStore(p.pinset)
	if err != nil {
		return nil, fmt.Errorf("consensus.crdt: %w", err)
	}
	p.crdtStore = store
	if err := p.metrics.countCommits(); err != nil {
		return nil, fmt.Errorf("registering metrics of commits: %w", err)
	}
	cfg := crdtConfig(p.cfg.Helper.Configs().Crdt)
	inner, err := newCommittedCRDT(p.network.host, p.network.dht, p.network.pubsub, cfg, store, p.commits())
	if err != nil {
		return nil, fmt.Errorf("consensus.crdt: %w", err)
	}
	inner.onOpen = p.space.bind
	p.crdt = inner
	return inner, nil
}
