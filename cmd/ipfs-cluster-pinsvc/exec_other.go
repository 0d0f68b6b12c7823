//go:build !unix

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/urfave/cli"
)

// become runs the command and ends as it does.
func become(cmd *exec.Cmd) error {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return cli.NewExitError("", exit.ExitCode())
	}
	if err != nil {
		return fmt.Errorf("running %s: %w", cmd.Path, err)
	}
	return nil
}
