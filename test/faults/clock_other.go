//go:build linux && !amd64

package faults

import (
	"errors"
	"time"
)

// clock is the wall clock of one process, see the one of amd64.
type clock struct{}

func patchClock(int) (*clock, error) {
	return nil, errors.New("clocks can only be set on amd64: the code that replaces the vDSO's is for it")
}

func (*clock) set(time.Duration) error { return nil }
