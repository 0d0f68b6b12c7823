package peer

import (
	"context"
	"sync"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
)

// pingTurns keep two goroutines of upstream's cluster from writing its last ping at the same time without a lock
// (U120 in docs/upstream-faults.md): the one that pings regularly, and Join. Each asks for the ID of the IPFS node,
// reads and writes the last ping, and publishes it. So a turn begins as the ID is returned and ends as the ping
// is handed to the monitor. The contexts tell the two apart, and from those that only ask for the ID. (The cluster
// asks for it once as the regular one when it is ready, right before the first ping.)
type pingTurns struct {
	turn chan struct{} // has room for the token of the one whose turn it is

	mu   sync.Mutex
	held pinger
}

// pinger is one of the two that ping. The zero pinger is nobody.
type pinger string

const (
	regularPinger pinger = "regular"
	joiningPinger pinger = "joining"
)

// pingerKey is the key of a context's pinger.
type pingerKey struct{}

// pingMetric is the name of the metric that the cluster's pings are.
const pingMetric = "ping"

// pingLimit is how long one waits for the other. Between the ID and the ping are microseconds; but one that
// waits for what fails before the ping must not wait for ever.
const pingLimit = time.Second

func newPingTurns() *pingTurns { return &pingTurns{turn: make(chan struct{}, 1)} }

// as returns a context under which IDs are asked for and pings are published as a pinger's.
func (who pinger) as(ctx context.Context) context.Context {
	return context.WithValue(ctx, pingerKey{}, who)
}

func pingerOf(ctx context.Context) pinger {
	who, _ := ctx.Value(pingerKey{}).(pinger)
	return who
}

// begin waits until the other's turn is over, and begins that of the context's pinger unless it has begun.
func (t *pingTurns) begin(ctx context.Context) {
	who := pingerOf(ctx)
	if who == "" || t.holder() == who {
		return
	}
	limit, cancel := context.WithTimeout(ctx, pingLimit)
	defer cancel()
	select {
	case t.turn <- struct{}{}:
		t.mu.Lock()
		t.held = who
		t.mu.Unlock()
	case <-limit.Done():
	}
}

// end ends the turn of the context's pinger, if it is its turn.
func (t *pingTurns) end(ctx context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if who := pingerOf(ctx); who != "" && t.held == who {
		t.held = ""
		<-t.turn
	}
}

func (t *pingTurns) holder() pinger {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.held
}

// turnsConnector begins a turn with the ID of the IPFS node.
type turnsConnector struct {
	ipfscluster.IPFSConnector
	turns *pingTurns
}

func (c turnsConnector) ID(ctx context.Context) (api.IPFSID, error) {
	id, err := c.IPFSConnector.ID(ctx)
	c.turns.begin(ctx)
	return id, err
}

// turnsMonitor ends a turn with the ping.
type turnsMonitor struct {
	ipfscluster.PeerMonitor
	turns *pingTurns
}

func (m turnsMonitor) PublishMetric(ctx context.Context, metric api.Metric) error {
	if metric.Name == pingMetric {
		m.turns.end(ctx)
	}
	return m.PeerMonitor.PublishMetric(ctx, metric)
}
