package main

import (
	"time"

	logging "github.com/ipfs/go-log/v2"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer"
)

const (
	// patience is how long every word of a waiting peer is passed on. After
	// it, what would be the same line for hours comes every repeatInterval.
	patience       = time.Minute
	repeatInterval = time.Minute
)

// progress writes what a starting or stopping peer is at, a line each time.
type progress struct {
	program *program
	// logged says that the beginning of each stage is in the log already.
	logged bool
	last   peer.Event
	said   time.Duration // Elapsed of the last line of this stage.
}

func newProgress(p *program) *progress {
	return &progress{program: p, logged: logging.Logger("peer").LevelEnabled(logging.LevelInfo)}
}

// tell is the peer's Options.Progress, called by one goroutine at a time.
func (p *progress) tell(e peer.Event) {
	if e.Stage == peer.StageReady {
		return // The ready text says more.
	}
	if e.Elapsed == 0 && p.logged {
		return
	}
	same := e.Stage == p.last.Stage && e.Detail == p.last.Detail
	p.last = e
	if same && e.Elapsed > patience && e.Elapsed-p.said < repeatInterval {
		return
	}
	p.said = e.Elapsed
	p.program.say("%s", e)
}
