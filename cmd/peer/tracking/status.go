package tracking

import (
	"context"

	"github.com/ipfs-cluster/ipfs-cluster/api"
)

// Status implements ipfscluster.PinTracker. It tells of the newest record.
func (t *Tracker) Status(ctx context.Context, c api.Cid) api.PinInfo {
	info := t.Inner.Status(ctx, c)
	t.describe(&info)
	return info
}

// StatusAll implements ipfscluster.PinTracker.
func (t *Tracker) StatusAll(ctx context.Context, filter api.TrackerStatus, out chan<- api.PinInfo) error {
	t.mu.Lock()
	held := t.held
	t.mu.Unlock()
	if held == 0 {
		return t.Inner.StatusAll(ctx, filter, out)
	}
	defer close(out)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	infos := make(chan api.PinInfo, cap(out))
	failed := make(chan error, 1)
	go func() { failed <- t.Inner.StatusAll(ctx, filter, infos) }()
	for info := range infos {
		t.describe(&info)
		select {
		case out <- info:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return <-failed
}

// describe replaces what the status has of a record that is not the newest.
func (t *Tracker) describe(info *api.PinInfo) {
	t.mu.Lock()
	defer t.mu.Unlock()
	op := t.unread[info.Cid]
	if op == nil || op.newest == nil {
		return
	}
	pin := op.newest
	info.Name, info.Allocations, info.Origins, info.Metadata = pin.Name, pin.Allocations, pin.Origins, pin.Metadata
	info.Created = pin.Timestamp
}
