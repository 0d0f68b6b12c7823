package kubo

import (
	"io"
	"os/exec"
	"time"
)

// process is a running child. Its end is told by exited, after which err says
// how it went.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error
}

// outputGrace is how long the end of a child's output is waited for once the
// child itself has gone.
const outputGrace = 2 * time.Second

// startProcess starts cmd, which writes to stdout and stderr. On Linux the child dies when
// the thread that started it does, so the calling goroutine must be locked to
// its thread and stay until the child has ended.
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

// end asks the process to stop by calling ask, and kills it when it has not
// after the timeout or once force is closed. It returns when the process has
// gone, with false when it had to be killed.
func (p *process) end(ask func(*process) error, timeout time.Duration, force <-chan struct{}) bool {
	select {
	case <-p.exited:
		return true
	default:
	}
	if err := ask(p); err != nil {
		logger.Warnf("Kubo cannot be asked to stop and is killed: %v", err)
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
