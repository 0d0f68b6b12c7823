package watch

import (
	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
)

// Subscribe has f called with every event from now on until cancel is called. f must not block
// and must not call the tracker: the cluster's consensus waits while it runs.
func (t *Tracker) Subscribe(f func(clusterrpc.Event)) (cancel func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := t.nextID
	t.nextID++
	t.subscribers[id] = f
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.subscribers, id)
	}
}

// Announce tells of a change that the state has now, long after the consensus called Track or Untrack
// for it, as that comes before the commit. found is false for a removal; then only the CID of rec
// counts. It does not block.
func (t *Tracker) Announce(rec api.Pin, found bool) {
	if found {
		t.announce(clusterrpc.RecordEvent(rec))
	} else {
		t.announce(clusterrpc.RemovalEvent(rec.Cid))
	}
}

func (t *Tracker) announce(e clusterrpc.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.notify(e)
}

// notify needs the lock.
func (t *Tracker) notify(e clusterrpc.Event) {
	for _, f := range t.subscribers {
		f(e)
	}
}
