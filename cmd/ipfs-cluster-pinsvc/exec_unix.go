//go:build unix

package main

import (
	"fmt"
	"os/exec"
	"syscall"
)

// become turns this process into the command, so that terminal, signals and
// exit code are all its own. It returns only if that fails.
func become(cmd *exec.Cmd) error {
	if err := syscall.Exec(cmd.Path, cmd.Args, cmd.Env); err != nil {
		return fmt.Errorf("running %s: %w", cmd.Path, err)
	}
	return nil
}
