package peer

import (
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// spaceLogPause is the time between two lines of pebble's about a full disk.
const spaceLogPause = 10 * time.Second

// limitSpaceErrors has pebble log at most one error about a full disk each pause: it tries to
// write a table again at once, hundreds of times a second (U52 in docs/upstream-faults.md). Other
// errors are all logged. A configuration that was loaded has a listener; without one pebble would
// make its own, which logs every error.
func limitSpaceErrors(options *pebble.Options, pause time.Duration) {
	var limited pebble.EventListener
	if options.EventListener != nil {
		limited = *options.EventListener
	}
	if limited.BackgroundError == nil {
		limited.BackgroundError = func(err error) { logger.Errorf("datastore.pebble: background error: %s", err) }
	}
	limited.BackgroundError = (&spaceErrors{log: limited.BackgroundError, pause: pause}).background
	options.EventListener = &limited
}

// spaceErrors counts the errors about a full disk that are not logged.
type spaceErrors struct {
	log   func(error)
	pause time.Duration

	mu         sync.Mutex
	last       time.Time
	suppressed int
}

// background is the BackgroundError of pebble, and may be called by many goroutines at once.
func (s *spaceErrors) background(err error) {
	if !vfs.IsNoSpaceError(err) {
		s.log(err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.last.IsZero() && time.Since(s.last) < s.pause {
		s.suppressed++
		return
	}
	if s.suppressed > 0 {
		err = fmt.Errorf("%w (%d more errors of this kind since the last line)", err, s.suppressed)
	}
	s.last, s.suppressed = time.Now(), 0
	s.log(err)
}
