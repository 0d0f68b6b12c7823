// Package statewrite is the one write path to the shared state: locks by pin, the
// mutations that are submitted, the outage of the consensus that ends them, and the
// resubmission of accepted writes that were lost.
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
	logging "github.com/ipfs/go-log/v2"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/keylock"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/span"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/statesync"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

var log = logging.Logger("clusterrpc")

// Submitter submits changes to the cluster: a clusterapi.Client.
type Submitter interface {
	Pin(ctx context.Context, pin api.Pin) (api.Pin, error)
	Unpin(ctx context.Context, key api.Cid) (api.Pin, error)
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
	cfg    Config
	locks  *keylock.Locks
	outage *outage
}

// New returns a writer.
func New(cfg Config) *Writer {
	return &Writer{cfg: cfg, locks: keylock.New(256), outage: newOutage(cfg.Now)}
}

// Lock makes the writes of this peer to the pins follow each other, so that none of
// them reads a record that another is about to change. Both forms of a CID have one
// lock.
func (w *Writer) Lock(ctx context.Context, pins ...cid.Cid) (unlock func(), err error) {
	ctx, end := span.Start(ctx, "lock")
	defer end()
	keys := make([]string, len(pins))
	for i, c := range pins {
		keys[i] = pinsvc.PinKey(c)
	}
	unlock, err = w.locks.Lock(ctx, keys...)
	if err != nil {
		return nil, clusterapi.Failure(err, "wait for another write to the pin")
	}
	return unlock, nil
}

// Available returns why writes are refused now, or nil.
func (w *Writer) Available() error { return w.outage.observe(w.cfg.Consensus()) }

// Put submits the record that a mutation makes of before, which the caller has read
// under the lock of the pin, and returns it as it will be in the state.
func (w *Writer) Put(ctx context.Context, before statesync.Versioned, m statesync.Mutation) (api.Pin, error) {
	rec := m.Apply(before).Rec
	if err := w.cfg.Syncer.Uncommitted().Room(rec.Cid.Cid); err != nil {
		return api.Pin{}, err
	}
	written, err := w.submitPin(ctx, rec)
	if err != nil {
		return api.Pin{}, w.failure(err, "pin")
	}
	w.written(ctx, statesync.Write{
		Key: rec.Cid.Cid, Mutation: m, Before: before, After: statesync.Versioned{Rec: written, Found: true},
	})
	return written, nil
}

// Delete takes the record of a key out of the state. found reports whether there was
// one.
func (w *Writer) Delete(ctx context.Context, key api.Cid) (found bool, err error) {
	if err := w.cfg.Syncer.Uncommitted().Room(key.Cid); err != nil {
		return false, err
	}
	outstanding := w.cfg.Syncer.Uncommitted().Outstanding(key.Cid)
	removed, err := w.submitUnpin(ctx, key, len(outstanding) > 0)
	switch {
	case clusterapi.IsNotFound(err):
		_, _, err = w.cfg.Syncer.Get(ctx, key) // The view was behind.
		return false, err
	case err != nil:
		return false, w.failure(err, "unpin")
	}
	m := statesync.Remove(key)
	w.written(ctx, statesync.Write{
		Key: key.Cid, Mutation: m, Before: removed, After: m.Apply(removed), Outstanding: outstanding,
	})
	return true, nil
}

// submitPin submits a record.
func (w *Writer) submitPin(ctx context.Context, rec api.Pin) (api.Pin, error) {
	ctx, end := span.Start(ctx, "commit")
	defer end()
	ctx, cancel := w.bound(ctx)
	defer cancel()
	// A pin that the cluster once made by an update would be made by an update
	// again, which needs the content that it was updated from.
	rec.PinUpdate = api.CidUndef
	return w.cfg.Submitter.Pin(ctx, rec)
}

// submitUnpin submits a removal and returns what the state had. A record that is
// accepted but not committed is not found by the cluster, and removed all the same.
func (w *Writer) submitUnpin(ctx context.Context, key api.Cid, uncommitted bool) (statesync.Versioned, error) {
	ctx, end := span.Start(ctx, "commit")
	defer end()
	ctx, cancel := w.bound(ctx)
	defer cancel()
	removed, err := w.cfg.Submitter.Unpin(ctx, key)
	if clusterapi.IsNotFound(err) && uncommitted {
		return statesync.Versioned{}, w.cfg.Submitter.LogUnpin(ctx, key)
	}
	return statesync.Versioned{Rec: removed, Found: true}, err
}

func (w *Writer) written(ctx context.Context, write statesync.Write) {
	ctx, end := span.Start(ctx, "update_view")
	defer end()
	w.cfg.Syncer.Written(ctx, write)
}

// bound is the context of one write. It goes on when the client has gone, because
// half a change is worse than a whole one, and ends when the consensus is lost.
func (w *Writer) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.cfg.Timeout)
	ctx, release := w.outage.bound(ctx)
	return ctx, func() {
		release()
		cancel()
	}
}

// failure is clusterapi.Failure for a write. The cluster itself waits a moment for a
// consensus that is unavailable, and then reports another cause.
func (w *Writer) failure(err error, action string) error {
	switch clusterapi.CauseOf(err.Error()) {
	case clusterapi.CauseOther, clusterapi.CauseTimedOut, clusterapi.CauseStalled:
		if unavailable := w.cfg.Consensus(); unavailable != nil {
			return unavailable
		}
	}
	return clusterapi.Failure(err, action)
}
