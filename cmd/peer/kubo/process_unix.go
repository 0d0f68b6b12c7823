//go:build !linux && !windows

package kubo

import "syscall"

// childAttributes puts the child into a process group of its own, so that Ctrl-C
// in a terminal reaches only this program, which then stops Kubo. A child that
// outlives this process is ended at the next start.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
