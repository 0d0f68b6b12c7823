package kubo

import (
	"context"
	"errors"
	"sync"
	"time"

	logging "github.com/ipfs/go-log/v2"
	"github.com/multiformats/go-multiaddr"
)

// errKilled is the error of a Stop that had to kill Kubo.
var errKilled = errors.New("the IPFS node did not stop in time and was killed")

var logger = logging.Logger("kubo")

// State is the state of a Node.
type State uint8

// The states of a Node. It begins in StateStarting and ends in StateStopped.
const (
	// StateStarting: the RPC has not responded yet, for the first time.
	StateStarting State = iota
	// StateRunning: the RPC responds.
	StateRunning
	// StateRestarting: Kubo has failed at least once and is started again, now
	// or after a delay.
	StateRestarting
	// StateStopping: Stop was called or the context has ended.
	StateStopping
	// StateStopped: the process has ended and is not started again.
	StateStopped
)

// String is the name of the state in lower case.
func (s State) String() string {
	switch s {
	case StateStarting:
		return "starting"
	case StateRunning:
		return "running"
	case StateRestarting:
		return "restarting"
	case StateStopping:
		return "stopping"
	case StateStopped:
		return "stopped"
	default:
		return "undefined"
	}
}

// Status is a snapshot of a Node.
type Status struct {
	State State
	// Since is when State began.
	Since time.Time
	// Doing is the present step of a start, such as "making the IPFS repo at
	// …"; empty in other states.
	Doing string
	// APIAddr is the address of the RPC, a TCP address on loopback. It is kept
	// while Kubo restarts, as it most likely stays the same; it is nil until
	// the first start succeeds.
	APIAddr multiaddr.Multiaddr
	// Err is the last failure in one sentence; empty when Kubo has been running
	// since.
	Err string
	// Output are the last lines that the failed Kubo wrote, if any.
	Output []string
	// NextTry is the time of the next start; zero when none is scheduled.
	NextTry time.Time
	// Restarts counts the starts after the first.
	Restarts int
	// PID is the process, 0 when there is none.
	PID int
	// Binary is the program, and Version its release; empty while not known.
	Binary, Version string
}

// Node is a managed Kubo. Its methods may be called by many goroutines at
// once.
type Node struct {
	cfg    *Config
	repo   string
	output *logTail

	cancel    context.CancelFunc // begins the stop
	kill      chan struct{}      // closed when a stop may not wait any longer
	killOnce  sync.Once
	done      chan struct{}
	restart   chan error // has the reason of a requested restart
	ready     chan struct{}
	readyOnce sync.Once

	mu      sync.Mutex
	status  Status
	changed chan struct{}
	killed  bool
}

// Start starts to run Kubo and returns at once; an error is a fault in cfg. All
// other failures, a missing program included, are retried until they are gone
// and shown by Status. When ctx ends, the Node stops as by Stop.
func Start(ctx context.Context, cfg *Config) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	n := &Node{
		cfg:     cfg.clone(),
		repo:    cfg.RepoDir(),
		output:  newLogTail(outputLines),
		cancel:  cancel,
		kill:    make(chan struct{}),
		done:    make(chan struct{}),
		restart: make(chan error, 1),
		ready:   make(chan struct{}),
		changed: make(chan struct{}),
		status:  Status{State: StateStarting, Since: time.Now()},
	}
	go n.supervise(ctx)
	return n, nil
}

// Stop stops Kubo and waits for its end. After stop_timeout, or when ctx ends, it
// kills Kubo, which is an error. It may be called any number of times.
func (n *Node) Stop(ctx context.Context) error {
	n.cancel()
	select {
	case <-n.done:
	case <-ctx.Done():
		n.killOnce.Do(func() { close(n.kill) })
		<-n.done
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.killed {
		return errKilled
	}
	return nil
}

// Restart stops Kubo in order and starts it again, for the reason, which Status shows
// meanwhile. It returns at once, and does nothing unless the RPC responds.
func (n *Node) Restart(reason error) {
	if n.Status().State != StateRunning {
		return
	}
	select {
	case n.restart <- reason:
	default: // One is requested already.
	}
}

// Ready is closed when the RPC has responded for the first time.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// Done is closed when the Node has stopped.
func (n *Node) Done() <-chan struct{} { return n.done }

// RepoDir returns the absolute path of the repo.
func (n *Node) RepoDir() string { return n.repo }

// APIAddr returns the address of the RPC and whether the RPC responds now. The
// address is nil until Kubo has been running once.
func (n *Node) APIAddr() (multiaddr.Multiaddr, bool) {
	status := n.Status()
	return status.APIAddr, status.State == StateRunning
}

// Status returns a snapshot of the Node.
func (n *Node) Status() Status {
	status, _ := n.Watch()
	return status
}

// Restarts is how many times Kubo was started after the first start.
func (n *Node) Restarts() int { return n.Status().Restarts }

// Watch returns a snapshot of the Node and a channel that is closed when the
// status changes. To follow the status:
//
//	for {
//		status, changed := node.Watch()
//		…
//		<-changed
//	}
//
// Once the Node has stopped, the status does not change any more.
func (n *Node) Watch() (Status, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.status, n.changed
}

// update changes the status and wakes the watchers.
func (n *Node) update(change func(*Status)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	before := n.status.State
	change(&n.status)
	if n.status.State != before {
		n.status.Since = time.Now()
	}
	close(n.changed)
	n.changed = make(chan struct{})
}
