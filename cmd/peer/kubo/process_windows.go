package kubo

import "syscall"

// childAttributes keeps Ctrl-C in a console from the child; this program stops
// it.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
