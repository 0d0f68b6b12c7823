package kubo

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// processStart is the start time of a process, in clock ticks of this boot. It
// distinguishes processes that reuse a PID. It is false when there is no such
// process or only a zombie.
func processStart(pid int) (string, bool) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", false
	}
	// The second field, the name, is in parentheses and may hold anything.
	fields := bytes.Fields(raw[bytes.LastIndexByte(raw, ')')+1:])
	const state, start = 0, 19 // fields 3 and 22 of proc_pid_stat(5)
	if len(fields) <= start || fields[state][0] == 'Z' || fields[state][0] == 'X' {
		return "", false
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", false
	}
	return string(bytes.TrimSpace(boot)) + "/" + string(fields[start]), true
}

// processName is the command line of a process, for people.
func processName(pid int) string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.ReplaceAll(string(raw), "\x00", " "))
}
