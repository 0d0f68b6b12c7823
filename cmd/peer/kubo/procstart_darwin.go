package kubo

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// processStart tells processes apart that had the same number one after the
// other: it is the moment when the process began. It is false when there is no
// such process.
func processStart(pid int) (string, bool) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(info.Proc.P_pid) != pid {
		return "", false
	}
	return fmt.Sprintf("%d.%06d", info.Proc.P_starttime.Sec, info.Proc.P_starttime.Usec), true
}

// processName is not told cheaply here.
func processName(int) string { return "" }
