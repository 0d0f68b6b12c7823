package harness

import (
	"os"
	"path/filepath"
	"slices"
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
	return processesWith(func(pair string) bool { return pair == ownerEnv+"="+dir })
}

// processesWith finds the living processes, other than this one, that have
// such a NAME=value in their environment.
func processesWith(such func(pair string) bool) []leftover {
	environments, _ := filepath.Glob("/proc/[0-9]*/environ")
	var found []leftover
	for _, path := range environments {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil || pid == os.Getpid() {
			continue
		}
		env, err := os.ReadFile(path)
		if err != nil || !slices.ContainsFunc(strings.Split(string(env), "\x00"), such) {
			continue // It has ended, or it is not ours to read.
		}
		args, err := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if err != nil || len(args) == 0 {
			continue // One that has ended and that nobody has waited for yet.
		}
		command := strings.TrimSpace(strings.ReplaceAll(string(args), "\x00", " "))
		found = append(found, leftover{pid: pid, command: command})
	}
	return found
}

// Kubos are the IDs of the Kubo daemons whose repos are in the folder.
func Kubos(dir string) []int {
	var pids []int
	for _, l := range processesWith(func(pair string) bool { return strings.HasPrefix(pair, "IPFS_PATH="+dir) }) {
		if strings.Contains(l.command, " daemon") {
			pids = append(pids, l.pid)
		}
	}
	return pids
}
