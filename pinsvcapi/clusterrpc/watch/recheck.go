package watch

import (
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
)

// Recheck has the tracker follow the state of a pin that became another one, or none (found
// is false), without the consensus calling Track or Untrack last. Of rec only the CID counts
// then. It does not block.
func (t *Tracker) Recheck(rec api.Pin, found bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	// Due at once. What the tracker was told of is the opposite of what it should do.
	t.watchRemoval(&removal{key: rec.Cid.Cid, since: time.Now().Add(-t.delays[0]), tracked: !found})
	if found {
		t.notify(clusterrpc.RecordEvent(rec))
	} else {
		t.notify(clusterrpc.RemovalEvent(rec.Cid))
	}
}

// CheckRemoved checks a removal that was not passed on, because its pin was about to be added again: if
// the state does not have the pin in the end, another peer's removal came in between, and it is unpinned.
// It does not block.
func (t *Tracker) CheckRemoved(c api.Cid) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watchRemoval(&removal{key: c.Cid, since: time.Now(), tracked: true})
}
