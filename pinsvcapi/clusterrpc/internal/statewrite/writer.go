// Package statewrite is the one write path to the shared state: locks by pin, the
// checks of the cluster that the consensus itself does not make, the outage of the
// consensus that ends writes, and the end of writes that take too long.
//
// A write reads one record, under the lock of its pin, and is handed to the consensus
// without another read.
//
// The errors of all methods are *pinsvc.Error: KindUnavailable when the cluster did
// not accept the write, KindForbidden on a peer in follower mode, KindBadRequest for
// records that the cluster refuses.
package statewrite

import (
	"context"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/keylock"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/span"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/statesync"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Submitter submits changes to the cluster: a clusterapi.Client.
type Submitter interface {
	Pin(ctx context.Context, pin api.Pin) (api.Pin, error)
	Unpin(ctx context.Context, key api.Cid) (api.Pin, error)
	LogPin(ctx context.Context, pin api.Pin) error
	LogUnpin(ctx context.Context, key api.Cid) error
}

// Config is what a Writer needs.
type Config struct {
	Submitter Submitter
	Syncer    *statesync.Syncer
	Now       func() time.Time
	// Timeout bounds one write.
	Timeout time.Duration
	// Consensus returns why the consensus is unavailable now, or nil. The error is
	// of KindUnavailable.
	Consensus func() error
}

// Writer writes to the shared state. It is safe for concurrent use.
type Writer struct {
	cfg     Config
	locks   keylock.Locks
	outage  *outage
	overdue overdueWrites
	cluster clusterSettings
}

// New returns a writer.
func New(cfg Config) *Writer { return &Writer{cfg: cfg, outage: newOutage(cfg.Now)} }

// Lock makes the writes of this peer to the pins follow each other, so that none of
// them reads a record that another is about to change. Both forms of a CID have one
// lock. It is taken before the records are read, and is kept after unlock by a write
// that has failed and not ended.
func (w *Writer) Lock(ctx context.Context, pins ...cid.Cid) (unlock func(), err error) {
	ctx, end := span.Start(ctx, "lock")
	defer end()
	keys := make([]string, len(pins))
	for i, c := range pins {
		keys[i] = pinsvc.PinKey(c)
	}
	release, free := w.locks.TryLock(keys...)
	if !free {
		if release, err = w.awaitLock(ctx, keys); err != nil {
			return nil, err
		}
	}
	ended := w.cfg.Syncer.Begin(pins...)
	return func() {
		w.overdue.afterAll(keys, func() {
			ended()
			release()
		})
	}, nil
}

// awaitLock takes locks that others hold. A write before this one may hang for as long as the
// consensus is away.
func (w *Writer) awaitLock(ctx context.Context, keys []string) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.Timeout)
	defer cancel()
	ctx, unbind := w.outage.bound(ctx)
	defer unbind()
	if release, err = w.locks.Lock(ctx, keys...); err != nil {
		return nil, clusterapi.Failure(context.Cause(ctx), "wait for another write to the pin")
	}
	return release, nil
}

// Available returns why writes are refused now, or nil.
func (w *Writer) Available() error { return w.outage.observe(w.cfg.Consensus()) }

// Put submits the record that a mutation makes of before, which the caller has read
// under the lock of the pin, and returns it as it will be in the state.
func (w *Writer) Put(ctx context.Context, before statesync.Versioned, m statesync.Mutation) (api.Pin, error) {
	rec, err := w.write(ctx, before, m)
	if err != nil {
		return api.Pin{}, w.failure(err, "pin")
	}
	return rec, nil
}

// PutVersion is Put in the place of a record that another peer may have changed since it was read: a
// consensus that heeds conditions replaces no other version. It is for changes that no client asks for
// now. written is false when there was another one.
func (w *Writer) PutVersion(ctx context.Context, before api.Pin, m statesync.Mutation) (written bool, err error) {
	_, err = w.write(onlyOf(ctx, before), statesync.Versioned{Rec: before, Found: true}, m)
	return w.changedOnly(ctx, before.Cid, err, "pin")
}

func (w *Writer) write(ctx context.Context, before statesync.Versioned, m statesync.Mutation) (api.Pin, error) {
	rec, direct := w.cluster.prepare(m(before).Rec, w.cfg.Now())
	if err := w.cfg.Syncer.Uncommitted().Room(rec.Cid.Cid); err != nil {
		return api.Pin{}, err
	}
	write := statesync.Write{Key: rec.Cid.Cid, Before: before, After: statesync.Versioned{Rec: rec, Found: true}}
	err := w.submit(ctx, &write, func(ctx context.Context) (statesync.Versioned, error) {
		if direct {
			return statesync.Versioned{Rec: rec, Found: true}, w.cfg.Submitter.LogPin(ctx, rec)
		}
		written, err := w.cfg.Submitter.Pin(ctx, rec)
		if err == nil {
			w.cluster.learn(rec, written)
		}
		return statesync.Versioned{Rec: written, Found: true}, err
	})
	return write.After.Rec, err
}

// onlyOf is the context of a call that changes one version of a pin.
func onlyOf(ctx context.Context, rec api.Pin) context.Context {
	return clusterapi.OnlyVersion(ctx, rec.Cid, pinrecord.Form(rec))
}

// changedOnly is the result of a call with the context of onlyOf. What is there instead of the version
// is entered.
func (w *Writer) changedOnly(ctx context.Context, key api.Cid, failed error, action string) (changed bool, err error) {
	switch {
	case failed == nil:
		return true, nil
	case clusterapi.IsChanged(failed):
		_, _, err = w.cfg.Syncer.Get(ctx, key)
		return false, err
	}
	return false, w.failure(failed, action)
}

// DeleteVersion is Delete of a record that another peer may have changed since it was read: see
// PutVersion. deleted is false when there was another one.
func (w *Writer) DeleteVersion(ctx context.Context, rec api.Pin) (deleted bool, err error) {
	return w.changedOnly(ctx, rec.Cid, w.remove(onlyOf(ctx, rec), rec), "unpin")
}

// Delete takes a record out of the state, which the caller has read under the lock of
// the pin.
func (w *Writer) Delete(ctx context.Context, rec api.Pin) error {
	if err := w.remove(ctx, rec); err != nil {
		return w.failure(err, "unpin")
	}
	return nil
}

func (w *Writer) remove(ctx context.Context, rec api.Pin) error {
	if err := w.cfg.Syncer.Uncommitted().Room(rec.Cid.Cid); err != nil {
		return err
	}
	write := statesync.Write{Key: rec.Cid.Cid, Before: statesync.Versioned{Rec: rec, Found: true}}
	uncommitted := w.cfg.Syncer.Uncommitted().Pending(rec.Cid.Cid)
	return w.submit(ctx, &write, func(ctx context.Context) (none statesync.Versioned, err error) {
		// The cluster itself does not find a record that is accepted and not committed. A sharded root
		// that has a change of that kind is there.
		if uncommitted && rec.Type != api.MetaType || w.cluster.deletesDirectly(rec) {
			return none, w.cfg.Submitter.LogUnpin(ctx, rec.Cid)
		}
		if _, err = w.cfg.Submitter.Unpin(ctx, rec.Cid); clusterapi.IsNotFound(err) {
			return none, w.removeRoot(ctx, rec.Cid)
		}
		return none, err
	})
}

// removeRoot removes what the cluster could not remove for the lack of a record. That is nothing, when another
// peer was faster, or a sharded root whose parts are gone: the cluster removes those first, and an earlier
// removal has ended in between (U112 in docs/upstream-faults.md).
func (w *Writer) removeRoot(ctx context.Context, key api.Cid) error {
	now, err := w.cfg.Syncer.Committed(ctx, key)
	if err != nil || !now.Found || now.Rec.Type != api.MetaType {
		return err
	}
	return w.cfg.Submitter.LogUnpin(ctx, key)
}
