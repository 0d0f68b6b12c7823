package kubo

import (
	"io"
	"os/exec"
	"time"
)

// process is a child. exited is closed when it ends; err is valid after that.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error
}

// outputGrace is how long to wait for the end of a child's output after the
// child itself has ended.
const outputGrace = 2 * time.Second

// startProcess starts cmd, which writes to stdout and stderr. On Linux the child
// dies with the thread that started it, so the calling goroutine must be locked
// to its thread until the child has ended.
func startProcess(cmd *exec.Cmd, stdout, stderr io.Writer) (*process, error) {
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = childAttributes()
	cmd.WaitDelay = outputGrace
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, exited: make(chan struct{})}
	go func() {
		defer close(p.exited)
		p.err = cmd.Wait()
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// terminate calls request, which requests the process to stop, and kills the
// process after the timeout or once force is closed. It returns when the process
// has ended, with false when it was killed.
func (p *process) terminate(request func(*process) error, timeout time.Duration, force <-chan struct{}) bool {
	select {
	case <-p.exited:
		return true
	default:
	}
	if err := request(p); err != nil {
		logger.Warnf("Kubo cannot be stopped and is killed: %v", err)
		timeout = 0
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-p.exited:
		return true
	case <-timer.C:
	case <-force:
	}
	if err := p.cmd.Process.Kill(); err != nil {
		logger.Debugf("killing Kubo: %v", err)
	}
	<-p.exited
	return false
}
