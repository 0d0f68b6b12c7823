package tracking

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
)

// fromNode are the statuses that upstream's tracker finds by the pins of the IPFS node.
const fromNode = api.TrackerStatusPinned | api.TrackerStatusUnexpectedlyUnpinned

// lostText is what upstream says of a pin that the IPFS node does not have.
const lostText = "the item should be pinned but it is not"

// roots are the pins of which the IPFS node has the root alone (ipfs pin add --recursive=false), usually none;
// nil: they were not read yet. In a report on all pins upstream does not know the kinds of pins (U109 in
// docs/upstream-faults.md).
type roots map[api.Cid]struct{}

// withRoots is the filter for the inner tracker: a root may have the other status.
func withRoots(filter api.TrackerStatus) api.TrackerStatus {
	if filter&fromNode == 0 {
		return filter
	}
	return filter | fromNode
}

// describeRoot sets the status of a pin of which the IPFS node has the root alone: it is pinned if no more
// was to be pinned, and not otherwise. The roots are read when the inner tracker has read the other pins, so
// that one that becomes recursive meanwhile is in no list by mistake.
func (t *Tracker) describeRoot(ctx context.Context, info *api.PinInfo, node *roots) (err error) {
	if info.Status&fromNode == 0 {
		return nil
	}
	if *node == nil {
		if *node, err = t.roots(ctx); err != nil {
			return fmt.Errorf("the direct pins of the IPFS node: %w", err)
		}
	}
	if _, ok := (*node)[info.Cid]; !ok {
		return nil
	}
	st, err := t.cfg.State(ctx)
	if err != nil {
		return err
	}
	pin, err := st.Get(ctx, info.Cid)
	switch {
	case errors.Is(err, state.ErrNotFound): // It was removed meanwhile.
	case err != nil:
		return err
	case pin.MaxDepth == 0:
		info.Status, info.Error = api.TrackerStatusPinned, ""
	default:
		info.Status, info.Error = api.TrackerStatusUnexpectedlyUnpinned, lostText
	}
	return nil
}

func (t *Tracker) roots(ctx context.Context) (roots, error) {
	pins := make(chan api.IPFSPinInfo, 64)
	failed := make(chan error, 1)
	go func() { failed <- t.cfg.Node.PinLs(ctx, []string{"direct"}, pins) }()
	node := make(roots)
	for pin := range pins {
		if pin.Type == api.IPFSPinStatusDirect {
			node[pin.Cid] = struct{}{}
		}
	}
	return node, <-failed
}
