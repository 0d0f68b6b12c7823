package kubo

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// processStart is the start time of a process. It distinguishes processes that
// reuse a PID. It is false when there is no such process.
func processStart(pid int) (string, bool) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(info.Proc.P_pid) != pid {
		return "", false
	}
	return fmt.Sprintf("%d.%06d", info.Proc.P_starttime.Sec, info.Proc.P_starttime.Usec), true
}

// processName is not implemented here.
func processName(int) string { return "" }
