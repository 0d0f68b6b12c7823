package kubo

import "syscall"

// childAttributes puts the child into a process group of its own, so that Ctrl-C
// in a terminal reaches only this program, which then stops Kubo. The kernel
// kills the child when this process dies. Kubo's repo survives a kill, and only
// a kill is sure to end a hanging Kubo.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
