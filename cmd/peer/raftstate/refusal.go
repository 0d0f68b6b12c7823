package raftstate

import (
	"errors"
	"fmt"
)

// A write that finds too little space on the disk of the log is not begun (U107 in docs/upstream-faults.md).
// Other peers get the text of the error alone, and pinsvcapi/clusterrpc reads it for clients.
var (
	errLogFull       = errors.New("this peer's Raft log takes no writes")
	errLeaderLogFull = errors.New("the Raft leader's log takes no writes")
)

// refused returns why no write may begin here, after what says whose log it is, or nil.
func (c *Consensus) refused(whose error) error {
	if c.full == nil {
		return nil
	}
	if err := c.full(); err != nil {
		return fmt.Errorf("%w: %w", whose, err)
	}
	return nil
}
