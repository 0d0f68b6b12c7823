package peer

import (
	"fmt"
	"sync"
	"time"
)

// Stage is what a starting or stopping peer is at, worded for people.
type Stage string

// The stages of a peer's life, in their order.
const (
	StageStore     Stage = "opening the datastore"
	StageHost      Stage = "opening the cluster's libp2p host"
	StageListeners Stage = "opening the listeners"
	StageStart     Stage = "starting the components"
	StageConsensus Stage = "waiting for consensus"
	StageIPFS      Stage = "waiting for IPFS"
	StageRequests  Stage = "waiting until requests can be served"
	StageReady     Stage = "ready"
	StageStopping  Stage = "stopping"
)

// Event tells how far a peer is.
type Event struct {
	Stage Stage
	// Detail says more, such as what the Kubo node is doing. It may be empty.
	Detail string
	// Elapsed is the time spent in this stage. It is zero in the first event
	// of a stage; others follow until the next stage begins.
	Elapsed time.Duration
}

// String is the event as one line of text.
func (e Event) String() string {
	line := string(e.Stage)
	if e.Detail != "" {
		line += ": " + e.Detail
	}
	if e.Elapsed >= time.Second {
		line += fmt.Sprintf(" (%s)", e.Elapsed.Truncate(time.Second))
	}
	return line
}

// progressInterval keeps a stage from being silent for two seconds.
const progressInterval = 1500 * time.Millisecond

// reporter tells of the stages, and of the current one again and again.
type reporter struct {
	tell func(Event)

	mu     sync.Mutex // One event at a time, in order.
	stage  Stage
	detail func() string
	since  time.Time

	quit chan struct{}
	done chan struct{}
	once sync.Once
}

func newReporter(tell func(Event)) *reporter {
	r := &reporter{tell: tell, quit: make(chan struct{}), done: make(chan struct{})}
	go r.repeat()
	return r
}

// enter begins a stage. Detail, which may be nil, is asked for every event.
func (r *reporter) enter(stage Stage, detail func() string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stage, r.detail, r.since = stage, detail, time.Now()
	r.say(0)
}

// say needs the lock.
func (r *reporter) say(elapsed time.Duration) {
	event := Event{Stage: r.stage, Elapsed: elapsed}
	if r.detail != nil {
		event.Detail = r.detail()
	}
	if elapsed == 0 {
		logger.Infof("%s", event)
	}
	if r.tell != nil {
		r.tell(event)
	}
}

func (r *reporter) repeat() {
	defer close(r.done)
	tick := time.NewTicker(progressInterval)
	defer tick.Stop()
	for {
		select {
		case <-r.quit:
			return
		case <-tick.C:
		}
		r.mu.Lock()
		if r.stage != "" && r.stage != StageReady {
			r.say(time.Since(r.since))
		}
		r.mu.Unlock()
	}
}

// close ends the reporter; it says nothing more on its own.
func (r *reporter) close() {
	r.once.Do(func() { close(r.quit) })
	<-r.done
}
