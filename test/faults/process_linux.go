package faults

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// process is a program that runs in a namespace.
type process struct {
	cmd    *exec.Cmd
	clock  *clock // nil without one of its own
	exited chan struct{}
	err    error // valid once exited is closed
}

// start runs a program in the namespace, with what it writes appended to the
// file. It dies with the namespace. withClock gives it a clock of its own.
func (n *namespace) start(cmd *exec.Cmd, logFile string, withClock bool) (*process, error) {
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Ptrace: withClock}
	p := &process{cmd: cmd, exited: make(chan struct{})}
	err = n.do(func() error {
		if err := cmd.Start(); err != nil || !withClock {
			return err
		}
		return p.giveClock()
	})
	if err != nil {
		if cmd.Process != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// giveClock patches the process, which the kernel has stopped for us before its
// first instruction, and lets it go on. Only the thread that started it may.
func (p *process) giveClock() (err error) {
	pid := p.cmd.Process.Pid
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
		return err
	}
	if !status.Stopped() {
		return fmt.Errorf("it is not stopped at its start: %v", status)
	}
	if p.clock, err = patchClock(pid); err != nil {
		return err
	}
	return syscall.PtraceDetach(pid)
}

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

func (p *process) signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// kill ends the process at once and waits until it is gone.
func (p *process) kill() error {
	err := p.signal(syscall.SIGKILL)
	<-p.exited
	return err
}

// stop asks the process to end. One that does not in time is asked for its
// goroutines, which is an error.
func (p *process) stop(within time.Duration) error {
	if err := errors.Join(p.signal(syscall.SIGCONT), p.signal(syscall.SIGTERM)); err != nil {
		return err
	}
	select {
	case <-p.exited:
		var exit *exec.ExitError
		if errors.As(p.err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGTERM {
			return nil // It had not come to handle signals yet.
		}
		return p.err
	case <-time.After(within):
	}
	_ = p.signal(syscall.SIGQUIT)
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
		_ = p.kill()
	}
	return fmt.Errorf("it did not end within %v of SIGTERM", within)
}
