// Netns runs a command where only loopback exists: in a network namespace of
// its own, with the lo interface up. It is what `go test -exec` runs the test
// binaries with, so that nothing a test starts can reach another machine.
//
//	netns command [argument ...]
//
// It needs root, or a system that lets users make user namespaces. Where
// neither is given, or on another system than Linux, it prints one line about it
// and runs the command as it is, unless NETNS_REQUIRED is set: then it fails.
// The exit code is the command's.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// errUnavailable is why the system gives us no namespace.
var errUnavailable = errors.New("no network namespace to be had here")

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: netns command [argument ...]")
		os.Exit(2)
	}
	code, err := isolated(os.Args[1:])
	if errors.Is(err, errUnavailable) && os.Getenv("NETNS_REQUIRED") == "" {
		fmt.Fprintf(os.Stderr, "netns: %v; running with this machine's network\n", err)
		code, err = run(exec.Command(os.Args[1], os.Args[2:]...))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "netns:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

// run runs cmd on our own standard streams and returns its exit code. A
// signal that ends us is handed on: the command gets the chance to clean up.
func run(cmd *exec.Cmd) (int, error) {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-signals:
				_ = cmd.Process.Signal(s) // It has ended: then nothing is left to do.
			case <-done:
				return
			}
		}
	}()
	err := cmd.Wait()
	signal.Stop(signals)
	close(done)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return 128 + int(ws.Signal()), nil
		}
		return exit.ExitCode(), nil
	}
	return 0, err
}
