//go:build !linux && !windows

package kubo

import "syscall"

// childAttributes puts the child into a process group of its own, so that
// Ctrl-C in a terminal reaches us alone and we stop Kubo in its turn. A child
// that outlives us is ended at our next start.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
