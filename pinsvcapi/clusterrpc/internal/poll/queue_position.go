package poll

import (
	"cmp"
	"slices"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/peerstatus"
)

// setQueue notes the order in which this peer's tracker will come to the pins that
// wait: the order in which they came, since new ones go to the end.
func (a *activePolls) setQueue(reports map[cid.Cid]peerstatus.Report) {
	type waiting struct {
		key   cid.Cid
		since time.Time
	}
	var queue []waiting
	for key, r := range reports {
		if r.Status == api.TrackerStatusPinQueued {
			queue = append(queue, waiting{key, r.Since})
		}
	}
	slices.SortFunc(queue, func(a, b waiting) int {
		return cmp.Or(a.since.Compare(b.since), cmp.Compare(a.key.KeyString(), b.key.KeyString()))
	})
	positions := make(map[cid.Cid]int, len(queue))
	for i, w := range queue {
		positions[w.key] = i + 1
	}
	a.queue.Store(&positions)
}

// QueuePosition is the position of a pin in this peer's pin queue, from 1, and the
// length of the queue, as of the last active poll; zero when the pin is not in it.
func (p *Poller) QueuePosition(key cid.Cid) (at, of int) {
	queue := p.active.queue.Load()
	if queue == nil {
		return 0, 0
	}
	return (*queue)[key], len(*queue)
}
