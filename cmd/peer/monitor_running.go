package peer

import (
	"context"
	"sync"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
)

// runningMonitor is any peer monitor with a signal that the cluster runs:
// upstream's cluster reads the alerts once it has become ready, and nobody
// else reads them. The cluster's own Ready comes a moment before it may be
// shut down (U1 in docs/upstream-faults.md).
type runningMonitor struct {
	ipfscluster.PeerMonitor
	running *gate
	stop    sync.Once
}

func newRunningMonitor(inner ipfscluster.PeerMonitor) *runningMonitor {
	return &runningMonitor{PeerMonitor: inner, running: newGate()}
}

// Shutdown shuts the monitor down, once: upstream's logs a warning when it is
// called again.
func (m *runningMonitor) Shutdown(ctx context.Context) (err error) {
	m.stop.Do(func() { err = m.PeerMonitor.Shutdown(ctx) })
	return err
}

// Alerts returns the monitor's alerts.
func (m *runningMonitor) Alerts() <-chan api.Alert {
	m.running.pass()
	return m.PeerMonitor.Alerts()
}
