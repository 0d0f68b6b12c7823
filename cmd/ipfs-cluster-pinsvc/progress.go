package main

import (
	"time"

	logging "github.com/ipfs/go-log/v2"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer"
)

const (
	// repeatAll is how long every event of a stage is printed. After that, the
	// same line is printed every repeatInterval.
	repeatAll      = time.Minute
	repeatInterval = time.Minute
)

// progress prints the stages of a starting or stopping peer.
type progress struct {
	program *program
	// logged is set when the log has the beginning of each stage.
	logged  bool
	last    peer.Event
	printed time.Duration // Elapsed of the last line of this stage.
}

func newProgress(p *program) *progress {
	return &progress{program: p, logged: logging.Logger("peer").LevelEnabled(logging.LevelInfo)}
}

// report is the peer's Options.Progress, called by one goroutine at a time.
func (p *progress) report(e peer.Event) {
	if e.Stage == peer.StageReady {
		return // The ready text has more detail.
	}
	if e.Elapsed == 0 && p.logged {
		return
	}
	same := e.Stage == p.last.Stage && e.Detail == p.last.Detail
	p.last = e
	if same && e.Elapsed > repeatAll && e.Elapsed-p.printed < repeatInterval {
		return
	}
	p.printed = e.Elapsed
	p.program.notice("%s", e)
}
