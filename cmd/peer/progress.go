package peer

import (
	"fmt"
	"sync"
	"time"
)

// Stage is a stage of a peer's start or stop, worded for people.
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

// Event reports the progress of a peer.
type Event struct {
	Stage Stage
	// Detail may have more, such as what the Kubo node is doing.
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

// reporter reports each stage when it begins and the current one repeatedly.
type reporter struct {
	notify func(Event) // May be nil.

	mu     sync.Mutex // One event at a time, in order.
	stage  Stage
	detail func() string
	since  time.Time

	quit chan struct{}
	done chan struct{}
	once sync.Once
}

func newReporter(notify func(Event)) *reporter {
	r := &reporter{notify: notify, quit: make(chan struct{}), done: make(chan struct{})}
	go r.repeat()
	return r
}

// enter begins a stage, or goes on with the current one. Detail, which may be
// nil, is called for every event.
func (r *reporter) enter(stage Stage, detail func() string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if stage == r.stage {
		r.detail = detail // The next event has it.
		return
	}
	r.stage, r.detail, r.since = stage, detail, time.Now()
	r.emit(0)
}

// emit needs the lock.
func (r *reporter) emit(elapsed time.Duration) {
	event := Event{Stage: r.stage, Elapsed: elapsed}
	if r.detail != nil {
		event.Detail = r.detail()
	}
	if elapsed == 0 {
		logger.Infof("%s", event)
	}
	if r.notify != nil {
		r.notify(event)
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
			r.emit(time.Since(r.since))
		}
		r.mu.Unlock()
	}
}

// close ends the repetition of events.
func (r *reporter) close() {
	r.once.Do(func() { close(r.quit) })
	<-r.done
}
