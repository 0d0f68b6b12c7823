//go:build unix

package main

import (
	"fmt"
	"os/exec"
	"syscall"
)

// become replaces this process by the command, which so gets terminal and signals
// and sets the exit code. It returns only if that fails.
func become(cmd *exec.Cmd) error {
	if err := syscall.Exec(cmd.Path, cmd.Args, cmd.Env); err != nil {
		return fmt.Errorf("running %s: %w", cmd.Path, err)
	}
	return nil
}
