package kubo

import "syscall"

// childAttributes puts the child into a process group of its own, so that
// Ctrl-C in a terminal reaches us alone and we stop Kubo in its turn, and has
// the kernel kill it when we die without stopping it. A kill loses nothing:
// it is what Kubo's repo is made to bear, and only it is sure to end a Kubo
// that hangs when nobody is left to look after it.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
