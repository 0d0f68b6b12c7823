package kubo

import "syscall"

// childAttributes keeps Ctrl-C in a console away from the child; we stop it in
// its turn.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
