package peer

import "sync"

// gate is a readiness signal: a channel that is closed once, and that can be
// kept from closing. It is by hand because upstream's Cluster.Shutdown
// deadlocks when the cluster becomes ready during the shutdown (fault U1 in
// docs/upstream-faults.md): a gate held before the shutdown rules that out.
type gate struct {
	mu     sync.Mutex
	opened chan struct{}
	open   bool
	held   bool
}

func newGate() *gate { return &gate{opened: make(chan struct{})} }

// pass opens the gate, unless it is held.
func (g *gate) pass() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.held && !g.open {
		g.open = true
		close(g.opened)
	}
}

// hold keeps the gate shut from now on and reports whether it was open before.
func (g *gate) hold() (open bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = true
	return g.open
}
