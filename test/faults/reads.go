package faults

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// graceAfterFault is how long after a fault the peers may take to find each other
// again. Until then a peer may not know what others accepted.
const graceAfterFault = 30 * time.Second

// troubles are the times of faults. It is safe for concurrent use.
type troubles struct {
	mu    sync.Mutex
	times []*span
}

// span is a time from begin to end; an end of 0 has not come yet.
type span struct{ begin, end time.Duration }

// began returns the function that enters the end.
func (t *troubles) began(at time.Duration) (ended func(at time.Duration)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &span{begin: at}
	t.times = append(t.times, s)
	return func(at time.Duration) {
		t.mu.Lock()
		defer t.mu.Unlock()
		s.end = at
	}
}

// over forgets the faults that have ended: the peers have found each other, and agree.
func (t *troubles) over() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.times = slices.DeleteFunc(t.times, func(s *span) bool { return s.end > 0 })
}

// calm reports whether no fault was there, or had just been, at any time from
// begin to end.
func (t *troubles) calm(begin, end time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.times {
		if s.begin <= end && (s.end == 0 || s.end+graceAfterFault >= begin) {
			return false
		}
	}
	return true
}

// checkReads returns the answers of other peers that do not know a CID although
// a write of it was accepted before the request was sent, while nothing was
// wrong, and how many such answers there are at all. ops is the history of one CID
// that one client writes.
func checkReads(ops []Op, calm func(begin, end time.Duration) bool) (checked int, wrong []string) {
	var last *Op
	for _, op := range ops {
		switch {
		case op.Kind == Read && op.Outcome != Done: // It says nothing.
		case op.Outcome == Failed || op.Outcome == Unanswered:
			return checked, wrong // From here on it is not known what is there.
		case op.Kind != Read && op.Outcome == Done:
			last = &op
		case last != nil && last.Kind == Write && op.Kind == Read && !op.Home && !op.Last && calm(last.Call, op.Return):
			checked++
			if op.Value != Absent {
				continue
			}
			wrong = append(wrong, fmt.Sprintf("%s: peer%d accepted %s (%.3fs, request %d), and %v later %s at peer%d knows nothing of it (request %d)",
				op.CID, last.Peer+1, last.Value, last.Return.Seconds(), last.Request, op.Call-last.Return, op.Method, op.Peer+1, op.Request))
		}
	}
	return checked, wrong
}
