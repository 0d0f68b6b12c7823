package kubo

import (
	"context"
	"errors"
	"sync"
	"time"

	logging "github.com/ipfs/go-log/v2"
	"github.com/multiformats/go-multiaddr"
)

// errKilled is what Stop says when it had to use force.
var errKilled = errors.New("the IPFS node did not stop in time and was killed")

var logger = logging.Logger("kubo")

// State is what a Node is doing.
type State uint8

// The states of a Node. It begins in StateStarting and ends in StateStopped.
const (
	// StateStarting: the process has not answered yet, for the first time.
	StateStarting State = iota
	// StateRunning: the RPC answers.
	StateRunning
	// StateRestarting: it has failed at least once; it is being started
	// again or waits for that.
	StateRestarting
	// StateStopping: Stop was called or the context has ended.
	StateStopping
	// StateStopped: the process is gone and will not come back.
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
	// Doing is what a start is busy with, such as "making the IPFS repo at
	// …"; empty in other states.
	Doing string
	// APIAddr is the address of the RPC, a TCP address on loopback. It
	// stays known while Kubo restarts, as it will most likely be the same
	// again; it is nil until the first start succeeds.
	APIAddr multiaddr.Multiaddr
	// Err is the last failure in one sentence; empty when there was none
	// since Kubo was last running.
	Err string
	// Output are the last lines that the failed Kubo wrote, if any.
	Output []string
	// NextTry is when the next start will be tried; zero when none waits.
	NextTry time.Time
	// Restarts counts the starts after the first.
	Restarts int
	// PID is the process, 0 when there is none.
	PID int
	// Binary is the program, and Version the release that it says it is;
	// empty while not known.
	Binary, Version string
}

// Sentence tells people the state and why it is so.
func (s Status) Sentence() string {
	text := "the IPFS node is " + s.State.String()
	switch {
	case s.Err != "":
		text += ": " + s.Err
	case s.Doing != "":
		text += ": " + s.Doing
	}
	return text
}

// Node is a managed Kubo. Its methods may be called by many goroutines at
// once.
type Node struct {
	cfg    *Config
	repo   string
	output *ring

	cancel    context.CancelFunc // begins the stop
	kill      chan struct{}      // closed when a stop may not wait any longer
	killOnce  sync.Once
	done      chan struct{}
	ready     chan struct{}
	readyOnce sync.Once

	mu      sync.Mutex
	status  Status
	changed chan struct{}
	killed  bool
}

// Start begins to run Kubo and returns at once; an error is a fault in cfg.
// All else, a missing program included, is tried again until it works, and
// told by Status. When ctx ends the Node stops as by Stop.
func Start(ctx context.Context, cfg *Config) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	n := &Node{
		cfg:     cfg.clone(),
		repo:    cfg.RepoDir(),
		output:  newRing(outputLines),
		cancel:  cancel,
		kill:    make(chan struct{}),
		done:    make(chan struct{}),
		ready:   make(chan struct{}),
		changed: make(chan struct{}),
		status:  Status{State: StateStarting, Since: time.Now()},
	}
	go n.supervise(ctx)
	return n, nil
}

// Stop stops Kubo and waits until it has gone: politely, and when it has not
// gone after stop_timeout or when ctx ends, by force, which is an error. It
// may be called often and at any time.
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

// Ready is closed when the RPC has answered for the first time.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// Done is closed when the Node has stopped.
func (n *Node) Done() <-chan struct{} { return n.done }

// RepoDir returns the absolute path of the repo.
func (n *Node) RepoDir() string { return n.repo }

// APIAddr returns the address of the RPC and whether it answers now. The
// address is nil until Kubo was running for the first time.
func (n *Node) APIAddr() (multiaddr.Multiaddr, bool) {
	status := n.Status()
	return status.APIAddr, status.State == StateRunning
}

// Status returns what the Node is doing now.
func (n *Node) Status() Status {
	status, _ := n.Watch()
	return status
}

// Restarts is how many times Kubo was started after the first start.
func (n *Node) Restarts() int { return n.Status().Restarts }

// Watch returns what the Node is doing now, and a channel that is closed when
// that has changed. To follow it, call Watch again then:
//
//	for {
//		status, changed := node.Watch()
//		…
//		<-changed
//	}
//
// Once stopped nothing changes any more.
func (n *Node) Watch() (Status, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.status, n.changed
}

// update changes the status and wakes those who watch.
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
