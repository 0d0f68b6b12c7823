package peer

import (
	"context"
	"errors"
	"fmt"
	"io"

	ipfslite "github.com/hsanjuan/ipfs-lite"
	"github.com/ipfs-cluster/ipfs-cluster/consensus/crdt"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/namespace"
	dscrdt "github.com/ipfs/go-ds-crdt"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/crdtstore"
)

// CRDTStats are figures of the CRDT store.
type CRDTStats struct {
	Heads     []cid.Cid
	MaxHeight uint64
	// Dirty means that the store is repaired at the next start.
	Dirty bool
}

// CRDTStats reads the figures of a peer that does not run. The caller holds
// the Lock.
func (c *Configuration) CRDTStats(ctx context.Context) (CRDTStats, error) {
	var stats CRDTStats
	err := c.withCRDT(ctx, func(open *offlineCRDT) error {
		internal := open.crdt.InternalStats(ctx)
		stats = CRDTStats{Heads: internal.Heads, MaxHeight: internal.MaxHeight, Dirty: open.crdt.IsDirty(ctx)}
		return nil
	})
	return stats, err
}

// WriteCRDTDot writes the CRDT's DAG in the language of Graphviz. The caller
// holds the Lock.
func (c *Configuration) WriteCRDTDot(ctx context.Context, w io.Writer) error {
	return c.withCRDT(ctx, func(open *offlineCRDT) error { return open.crdt.DotDAG(ctx, w) })
}

// MarkCRDT marks the CRDT store of a peer that does not run as dirty, which
// makes the next start repair it, or as clean, which gives up what could not be repaired.
// The caller holds the Lock.
func (c *Configuration) MarkCRDT(ctx context.Context, dirty bool) error {
	return c.withCRDT(ctx, func(open *offlineCRDT) error {
		store := open.crdt
		if dirty {
			store.MarkDirty(ctx)
		} else {
			store.MarkClean(ctx)
		}
		if store.IsDirty(ctx) != dirty { // U16 in docs/upstream-faults.md.
			return errors.New("the state of the store could not be written; the log has the reason")
		}
		if dirty {
			return nil
		}
		// The next start would make it dirty again for them (U27).
		return crdtstore.Forget(ctx, open.store, c.crdtRoot())
	})
}

// crdtRoot is where in the datastore the CRDT is.
func (c *Configuration) crdtRoot() datastore.Key {
	return datastore.NewKey(c.Helper.Configs().Crdt.DatastoreNamespace)
}

func (c *Configuration) withCRDT(ctx context.Context, do func(*offlineCRDT) error) error {
	consensus, _, err := c.Engines()
	if err != nil {
		return err
	}
	if consensus != ConsensusCRDT {
		return errors.New("this peer was initialized with raft consensus and has no CRDT store")
	}
	store, err := c.openCRDT(ctx)
	if err != nil {
		return err
	}
	return errors.Join(do(store), store.Close())
}

// offlineCRDT is a CRDT store without a network.
type offlineCRDT struct {
	crdt   *dscrdt.Datastore
	store  datastore.Datastore
	cancel context.CancelFunc
}

func (o *offlineCRDT) Close() error {
	err := o.crdt.Close()
	o.cancel()
	return errors.Join(err, o.store.Close())
}

// openStore opens the datastore of the configuration.
func (c *Configuration) openStore() (datastore.Datastore, error) {
	manager, err := c.stateManager()
	if err != nil {
		return nil, err
	}
	store, err := manager.GetStore()
	if err != nil {
		return nil, fmt.Errorf("opening the datastore: %w", err)
	}
	return store, nil
}

// openCRDT opens the store as crdt.OfflineState does. It is by hand because that
// function's result cannot be closed before the datastore under it (U14 in
// docs/upstream-faults.md).
func (c *Configuration) openCRDT(ctx context.Context) (*offlineCRDT, error) {
	store, err := c.openStore()
	if err != nil {
		return nil, err
	}
	batching, ok := store.(datastore.Batching)
	if !ok {
		return nil, errors.Join(errors.New("the datastore cannot batch"), store.Close())
	}
	root := c.crdtRoot()
	blocks := namespace.Wrap(batching, root.ChildString(crdt.BlocksNs))
	ctx, cancel := context.WithCancel(ctx)
	// A cache would be filled in the background, even after the store is closed.
	dag, err := ipfslite.New(ctx, blocks, nil, nil, nil, &ipfslite.Config{Offline: true, UncachedBlockstore: true})
	if err != nil {
		cancel()
		return nil, errors.Join(fmt.Errorf("opening the CRDT's blocks: %w", err), store.Close())
	}
	opts := dscrdt.DefaultOptions()
	opts.RepairInterval = 0 // Reading a dirty store must not start a repair.
	crdtStore, err := dscrdt.New(batching, root, dag, nil, opts)
	if err != nil {
		cancel()
		return nil, errors.Join(fmt.Errorf("opening the CRDT store: %w", err), store.Close())
	}
	return &offlineCRDT{crdt: crdtStore, store: store, cancel: cancel}, nil
}
