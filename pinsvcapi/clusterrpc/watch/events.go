package watch

import "github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"

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

// notify needs the lock.
func (t *Tracker) notify(e clusterrpc.Event) {
	for _, f := range t.subscribers {
		f(e)
	}
}
