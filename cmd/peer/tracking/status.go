package tracking

import (
	"context"

	"github.com/ipfs-cluster/ipfs-cluster/api"
)

// Status implements ipfscluster.PinTracker. It tells of the newest record.
func (t *Tracker) Status(ctx context.Context, c api.Cid) api.PinInfo {
	info := t.Inner.Status(ctx, c)
	t.describe(&info)
	t.describeMoved(ctx, &info)
	return info
}

// fromState are the statuses that upstream's tracker finds by the state and the IPFS node; all others
// are those of its operations.
const fromState = api.TrackerStatusPinned | api.TrackerStatusUnexpectedlyUnpinned | api.TrackerStatusSharded | api.TrackerStatusRemote

// StatusAll implements ipfscluster.PinTracker. However slowly its results are read, no call that
// begins an operation waits for that.
func (t *Tracker) StatusAll(ctx context.Context, filter api.TrackerStatus, out chan<- api.PinInfo) error {
	defer close(out)
	ctx, cancel := context.WithCancel(ctx)
	infos := make(chan api.PinInfo, cap(out))
	defer func() {
		cancel()
		go func() { // Upstream's list of the pins heeds no context while it waits to be read (U24).
			for range infos {
			}
		}()
	}()
	failed := make(chan error, 1)
	go func() { failed <- t.Inner.StatusAll(ctx, withRoots(filter), infos) }()
	if !filter.Match(fromState) {
		return t.sendOperations(ctx, filter, infos, failed, out)
	}
	var node roots
	for info := range infos {
		if err := t.describeRoot(ctx, &info, &node); err != nil {
			return err
		}
		if err := t.send(ctx, filter, info, out); err != nil {
			return err
		}
	}
	if err := <-failed; err != nil {
		return err
	}
	return ctx.Err() // Upstream's only logs that its list of the state ended early.
}

// sendOperations reads the operations before it sends the first of them: upstream's tracker keeps
// its lock meanwhile, so that nothing could be tracked while the reader takes its time, and the CRDT, which
// tracks what it merges, would stand still (U83 in docs/upstream-faults.md).
func (t *Tracker) sendOperations(ctx context.Context, filter api.TrackerStatus, infos <-chan api.PinInfo, failed <-chan error, out chan<- api.PinInfo) error {
	var all []api.PinInfo
	for info := range infos {
		all = append(all, info)
	}
	if err := <-failed; err != nil {
		return err
	}
	for _, info := range all {
		if err := t.send(ctx, filter, info, out); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tracker) send(ctx context.Context, filter api.TrackerStatus, info api.PinInfo, out chan<- api.PinInfo) error {
	t.describe(&info)
	t.describeMoved(ctx, &info)
	if !info.Status.Match(filter) {
		return nil
	}
	select {
	case out <- info:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// describeMoved makes the status of what is unpinned because other peers are to hold it that of a
// pin of theirs (U98 in docs/upstream-faults.md).
func (t *Tracker) describeMoved(ctx context.Context, info *api.PinInfo) {
	if !info.Status.Match(api.TrackerStatusUnpinning | api.TrackerStatusUnpinQueued | api.TrackerStatusUnpinError) {
		return
	}
	st, err := t.cfg.State(ctx)
	if err != nil {
		return
	}
	pin, err := st.Get(ctx, info.Cid)
	if err != nil || pin.Type == api.MetaType || !pin.IsRemotePin(t.cfg.Self) {
		return
	}
	info.Status, info.TS, info.Error, info.AttemptCount, info.PriorityPin = api.TrackerStatusRemote, pin.Timestamp, "", 0, false
	describe(info, pin)
}

// describe replaces what the status has of a record that is not the newest.
func (t *Tracker) describe(info *api.PinInfo) {
	t.mu.Lock()
	defer t.mu.Unlock()
	op := t.unread[info.Cid]
	if op == nil || op.newest == nil {
		return
	}
	describe(info, *op.newest)
}

func describe(info *api.PinInfo, pin api.Pin) {
	info.Name, info.Allocations, info.Origins, info.Metadata = pin.Name, pin.Allocations, pin.Origins, pin.Metadata
	info.Created = pin.Timestamp
}
