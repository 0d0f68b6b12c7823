//go:build unix

package main

import (
	"os"
	"syscall"
)

// stopSignals stop the daemon. SIGHUP is among them because scripts for
// ipfs-cluster-service expect it.
func stopSignals() []os.Signal {
	return []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}
}

// reloadSignals make the daemon read its users, certificate and log file again.
func reloadSignals() []os.Signal { return []os.Signal{syscall.SIGUSR1} }
