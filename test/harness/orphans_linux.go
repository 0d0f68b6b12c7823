package harness

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ownerEnv marks every process of a test, and what those start in their turn,
// with the folder of the test.
const ownerEnv = "PINSVC_TEST_OWNER"

// ownGroup puts a process into a group of its own, so that a ctrl-C for the
// test run reaches it through its harness only, and lets it die with us.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// leftover is a process that the test started, directly or not.
type leftover struct {
	pid     int
	command string
}

func (l leftover) kill() { _ = syscall.Kill(l.pid, syscall.SIGKILL) }

// processesOf finds the living processes that carry the mark of the folder.
func processesOf(dir string) []leftover {
	environments, _ := filepath.Glob("/proc/[0-9]*/environ")
	mark := []byte(ownerEnv + "=" + dir)
	var found []leftover
	for _, path := range environments {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil || pid == os.Getpid() {
			continue
		}
		env, err := os.ReadFile(path)
		if err != nil || !marked(env, mark) {
			continue // It has ended, or it is not ours to read.
		}
		args, err := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if err != nil || len(args) == 0 {
			continue // A process that nobody has waited for yet is no orphan.
		}
		command := strings.TrimSpace(strings.ReplaceAll(string(args), "\x00", " "))
		found = append(found, leftover{pid: pid, command: command})
	}
	return found
}

func marked(env, mark []byte) bool {
	for pair := range bytes.SplitSeq(env, []byte{0}) {
		if bytes.Equal(pair, mark) {
			return true
		}
	}
	return false
}

// Descendants are the IDs of the living processes that the test has started,
// directly or not, whose command line contains text.
func (h *Harness) Descendants(text string) []int {
	var pids []int
	for _, l := range processesOf(h.Dir) {
		if strings.Contains(l.command, text) {
			pids = append(pids, l.pid)
		}
	}
	return pids
}
