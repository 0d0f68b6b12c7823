package kubo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/multiformats/go-multiaddr"
)

// supervise runs Kubo again and again until ctx ends.
func (n *Node) supervise(ctx context.Context) {
	// On Linux a child dies with the thread that started it: all are
	// started from here, and this goroutine ends after the last of them.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(n.done)
	defer n.cancel()

	delay := backoff{min: n.cfg.RestartDelayMin, max: n.cfg.RestartDelayMax}
	for {
		ran, err := n.run(ctx)
		if ctx.Err() != nil {
			break
		}
		if ran >= n.cfg.StableAfter {
			delay.reset()
		}
		wait := delay.next()
		n.failed(err, wait)
		if !sleep(ctx, wait) {
			break
		}
		n.update(func(s *Status) {
			s.NextTry = time.Time{}
			s.Restarts++
		})
	}
	n.update(func(s *Status) {
		*s = Status{State: StateStopped, APIAddr: s.APIAddr, Err: s.Err, Output: s.Output,
			Restarts: s.Restarts, Binary: s.Binary, Version: s.Version}
	})
	logger.Info("Kubo has stopped")
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// failed makes the end of a run known. The same failure again is worth one
// line in the log, a new one also what Kubo wrote.
func (n *Node) failed(err error, wait time.Duration) {
	lines, repeated := n.output.last(), false
	n.update(func(s *Status) {
		repeated = s.Err == err.Error()
		*s = Status{State: StateRestarting, Since: s.Since, APIAddr: s.APIAddr, Restarts: s.Restarts,
			Binary: s.Binary, Version: s.Version,
			Err: err.Error(), Output: lines, NextTry: time.Now().Add(wait)}
	})
	if repeated {
		logger.Infof("still: %v; next try in %s", err, wait)
		return
	}
	logger.Errorf("%v; next try in %s", err, wait)
	for _, line := range lines {
		logger.Infof("Kubo wrote: %s", line)
	}
}

func (n *Node) doing(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	logger.Info(text)
	n.update(func(s *Status) { s.Doing = text })
}

// run prepares the repo, runs Kubo once and returns why it ended, and for how
// long its RPC had answered. It has left no process behind then.
func (n *Node) run(ctx context.Context) (ran time.Duration, err error) {
	n.output.clear()
	program, err := findBinary(n.cfg, ownPath())
	if err != nil {
		return 0, err
	}
	n.update(func(s *Status) { s.Binary = program })
	api, err := n.prepare(ctx, program)
	if err != nil {
		return 0, err
	}
	// A stale address would be taken for that of the new process.
	if err := os.Remove(filepath.Join(n.repo, apiFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("the address file of the last Kubo cannot be removed: %w", err)
	}
	p, err := n.start(program, api)
	if err != nil {
		return 0, err
	}
	defer n.forget()
	return n.mind(ctx, p)
}

// start starts the daemon with its RPC at api.
func (n *Node) start(program string, api multiaddr.Multiaddr) (*process, error) {
	n.doing("starting Kubo (%s) on the repo at %s", program, n.repo)
	args := []string{"daemon", "--migrate=false", "--api=" + api.String()}
	if n.cfg.EnableGC {
		args = append(args, "--enable-gc")
	}
	cmd := exec.Command(program, args...)
	cmd.Env = environment(os.Environ(), n.cfg, n.repo)
	n.output.clear()
	p, err := startProcess(cmd, n.output, n.output)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be run: %w", program, err)
	}
	if err := writeJSON(filepath.Join(n.repo, recordFile), newRecord(p.pid())); err != nil {
		logger.Warnf("should this program be killed, a Kubo left behind will not be recognized: %v", err)
	}
	n.update(func(s *Status) { s.PID = p.pid() })
	return p, nil
}

// forget removes the record of a process that has gone.
func (n *Node) forget() {
	if err := os.Remove(filepath.Join(n.repo, recordFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		logger.Debugf("removing the record of the process: %v", err)
	}
}

// mind waits for the RPC of p, then for the end of p or a reason to end it.
func (n *Node) mind(ctx context.Context, p *process) (ran time.Duration, err error) {
	client := newRPC()
	addr, version, err := n.await(ctx, client, p)
	if err != nil {
		n.end(ctx, p, nil)
		return 0, err
	}
	n.running(addr, version)
	began := time.Now()
	watching, cancel := context.WithCancel(ctx)
	hung, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		if client.watch(watching, addr, n.cfg.UnresponsiveTimeout) {
			close(hung)
		}
	}()
	select {
	case <-p.exited:
		err = diagnose(n.repo, p.err, n.output.last())
	case <-hung:
		err = fmt.Errorf("the IPFS node gave no answer for %s and is started again", n.cfg.UnresponsiveTimeout)
	case <-ctx.Done():
		err = ctx.Err()
	}
	cancel()
	<-watched
	n.end(ctx, p, addr)
	return time.Since(began), err
}

// await returns the address and release of p once its RPC answers.
func (n *Node) await(ctx context.Context, client rpc, p *process) (multiaddr.Multiaddr, string, error) {
	starting, cancel := context.WithCancel(ctx)
	if n.cfg.StartTimeout > 0 {
		starting, cancel = context.WithTimeout(ctx, n.cfg.StartTimeout)
	}
	defer cancel()
	type answer struct {
		addr    multiaddr.Multiaddr
		version string
		err     error
	}
	answers := make(chan answer, 1)
	go func() {
		addr, version, err := client.awaitRPC(starting, n.repo)
		answers <- answer{addr, version, err}
	}()
	select {
	case <-p.exited:
		cancel()
		<-answers
		return nil, "", diagnose(n.repo, p.err, n.output.last())
	case a := <-answers:
		if errors.Is(a.err, context.DeadlineExceeded) && ctx.Err() == nil {
			a.err = fmt.Errorf("the RPC of Kubo gave no answer within ipfs_connector.managed.start_timeout (%s): %w",
				n.cfg.StartTimeout, a.err)
		}
		return a.addr, a.version, a.err
	}
}

func (n *Node) running(addr multiaddr.Multiaddr, version string) {
	n.update(func(s *Status) {
		if s.APIAddr != nil && !s.APIAddr.Equal(addr) {
			logger.Warnf("the RPC of Kubo has moved from %s, whose port is taken, to %s", s.APIAddr, addr)
		}
		*s = Status{State: StateRunning, Since: s.Since, APIAddr: addr, Restarts: s.Restarts,
			PID: s.PID, Binary: s.Binary, Version: version}
	})
	n.readyOnce.Do(func() { close(n.ready) })
	logger.Infof("Kubo %s is running, its RPC is at %s", version, addr)
}

// end sees to it that p has gone.
func (n *Node) end(ctx context.Context, p *process, api multiaddr.Multiaddr) {
	if ctx.Err() != nil {
		n.update(func(s *Status) { s.State, s.Doing = StateStopping, "" })
	}
	ask := func(p *process) error {
		err := askToStop(p.cmd.Process)
		if errors.Is(err, errors.ErrUnsupported) && api != nil {
			return newRPC().shutdown(api)
		}
		if errors.Is(err, os.ErrProcessDone) {
			return nil
		}
		return err
	}
	if p.end(ask, n.cfg.StopTimeout, n.kill) {
		return
	}
	logger.Warnf("Kubo did not stop and was killed")
	if ctx.Err() != nil {
		n.mu.Lock()
		n.killed = true
		n.mu.Unlock()
	}
}
