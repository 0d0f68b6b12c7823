package raftstate

import (
	"errors"
	"sync"
)

// errNoClient fails the entries of a peer that is stopped before it has its RPC client.
var errNoClient = errors.New("the peer was stopped before it was connected to the cluster; it applies the entry when it starts again")

// hold keeps entries of the log from being applied until the consensus has its RPC client: upstream
// hands each one to the tracker by that client, without a look whether there is one (U55 in
// docs/upstream-faults.md). Rows of snapshots are not held, nobody is told of them.
type hold struct {
	once  sync.Once
	ended chan struct{}
	err   error // Set before ended is closed.

	first   sync.Once
	reached chan struct{} // Closed when something waits.
}

func newHold() *hold { return &hold{ended: make(chan struct{}), reached: make(chan struct{})} }

// end lets the entries pass, or fail if err is not nil. The first call counts.
func (h *hold) end(err error) {
	h.once.Do(func() {
		h.err = err
		close(h.ended)
	})
}

// wait blocks until the hold has ended.
func (h *hold) wait() error {
	h.first.Do(func() { close(h.reached) })
	<-h.ended
	return h.err
}

// held waits until an entry may be applied. Raft applies entries and restores snapshots in one
// goroutine, so what is true of its call here stays true until it returns.
func (s *Store) held() error {
	s.mu.Lock()
	restoring := s.restore != nil
	s.mu.Unlock()
	if restoring || s.hold == nil {
		return nil
	}
	return s.hold.wait()
}
