//go:build !unix

package main

import (
	"os"
	"syscall"
)

// stopSignals stop the daemon.
func stopSignals() []os.Signal {
	return []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}
}

// reloadSignals is empty: there is no such signal here. Changed files are
// noticed without one.
func reloadSignals() []os.Signal { return nil }
