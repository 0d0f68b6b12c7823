//go:build !linux

package harness

import "syscall"

const ownerEnv = "PINSVC_TEST_OWNER"

func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

type leftover struct {
	pid     int
	command string
}

func (l leftover) kill() {}

// processesOf finds nothing: other systems do not show environments.
func processesOf(string) []leftover { return nil }

// Kubos is empty where the environments of processes cannot be read.
func Kubos(string) []int { return nil }
