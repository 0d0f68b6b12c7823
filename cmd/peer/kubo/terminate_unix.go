//go:build !windows

package kubo

import (
	"os"
	"syscall"
)

// askToStop has Kubo close its repo and end.
func askToStop(p *os.Process) error { return p.Signal(syscall.SIGTERM) }
