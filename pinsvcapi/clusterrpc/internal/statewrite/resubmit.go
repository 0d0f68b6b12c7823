package statewrite

import (
	"context"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/statesync"
)

// SettleUncommitted reads the state for uncommitted writes, which ends those that it
// shows, and submits again those that it should have shown by now.
func (w *Writer) SettleUncommitted(ctx context.Context) {
	uncommitted := w.cfg.Syncer.Uncommitted()
	for _, key := range uncommitted.DueReads() {
		if _, _, err := w.cfg.Syncer.Get(ctx, api.NewCid(key)); err != nil {
			return // The state is unavailable and shows nothing.
		}
	}
	for _, key := range uncommitted.EndOverdue() {
		if _, _, err := w.cfg.Syncer.Get(ctx, api.NewCid(key)); err != nil {
			w.cfg.Syncer.RequestResync() // The view still has the write.
		}
	}
	for _, key := range uncommitted.Overdue() {
		if ctx.Err() != nil {
			return
		}
		if err := w.resubmit(ctx, key); err != nil {
			log.Warnf("submit the write to pin %s again: %s", key, err)
		}
	}
}

// resubmit applies an overdue write to what the state has now. Everything is decided
// under the lock of the pin: a newer write of this peer has replaced the overdue one,
// and a newer one of another peer has ended it.
func (w *Writer) resubmit(ctx context.Context, key cid.Cid) error {
	unlock, err := w.Lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	uncommitted := w.cfg.Syncer.Uncommitted()
	if _, _, err := w.cfg.Syncer.Get(ctx, api.NewCid(key)); err != nil {
		return err
	}
	mutation, id, overdue := uncommitted.Resubmission(key)
	if !overdue {
		return nil
	}
	current, err := w.cfg.Syncer.Committed(ctx, api.NewCid(key))
	if err != nil {
		return err
	}
	if mutation.In(current) {
		uncommitted.Settled(key, id)
		return nil
	}
	log.Warnf("the cluster accepted a write to pin %s and has not committed it within %s: it is submitted again", key, uncommitted.CommitTime())
	after, err := w.apply(ctx, key, mutation, current)
	// A failure is tried again no sooner than a loss.
	uncommitted.WasResubmitted(key, id, after)
	return err
}

// apply submits what a mutation makes of the current record and returns it.
func (w *Writer) apply(ctx context.Context, key cid.Cid, m statesync.Mutation, current statesync.Versioned) (statesync.Versioned, error) {
	after := m.Apply(current)
	if after.Found {
		rec, err := w.submitPin(ctx, after.Rec)
		if err == nil {
			after.Rec = rec
		}
		return after, err
	}
	ctx, cancel := w.bound(ctx)
	defer cancel()
	err := w.cfg.Submitter.LogUnpin(ctx, api.NewCid(key))
	if clusterapi.IsNotFound(err) {
		err = nil
	}
	return after, err
}
