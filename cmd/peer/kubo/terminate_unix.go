//go:build !windows

package kubo

import (
	"os"
	"syscall"
)

// requestStop makes Kubo close its repo and end.
func requestStop(p *os.Process) error { return p.Signal(syscall.SIGTERM) }
