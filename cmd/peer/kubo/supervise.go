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

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
)

// restartJitter keeps the nodes of a machine that failed together, on a full
// disk for example, from restarting together.
const restartJitter = 0.2

// supervise runs Kubo again and again until ctx ends.
func (n *Node) supervise(ctx context.Context) {
	// On Linux a child dies with the thread that started it: all are started
	// from this goroutine, which ends after the last of them.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(n.done)
	defer n.cancel()

	restarts := backoff.Counter{Policy: backoff.Policy{
		Min: n.cfg.RestartDelayMin, Max: n.cfg.RestartDelayMax, Jitter: restartJitter,
	}}
	for {
		ran, err := n.run(ctx)
		if ctx.Err() != nil {
			break
		}
		if ran >= n.cfg.StableAfter {
			restarts.Reset()
		}
		delay := restarts.Next()
		n.failed(err, delay)
		if !backoff.Sleep(ctx, delay) {
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

// failed publishes why Kubo ended. A repeated failure gets one line in the log,
// a new one also the end of Kubo's output.
func (n *Node) failed(err error, delay time.Duration) {
	lines, repeated := n.output.last(), false
	n.update(func(s *Status) {
		repeated = s.Err == err.Error()
		*s = Status{State: StateRestarting, Since: s.Since, APIAddr: s.APIAddr, Restarts: s.Restarts,
			Binary: s.Binary, Version: s.Version,
			Err: err.Error(), Output: lines, NextTry: time.Now().Add(delay)}
	})
	shown := delay.Round(time.Millisecond)
	if repeated {
		logger.Infof("still: %v; next try in %s", err, shown)
		return
	}
	logger.Errorf("%v; next try in %s", err, shown)
	for _, line := range lines {
		logger.Infof("Kubo wrote: %s", line)
	}
}

// begin logs and publishes the present step of a start.
func (n *Node) begin(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	logger.Info(text)
	n.setDoing(text)
}

func (n *Node) setDoing(text string) { n.update(func(s *Status) { s.Doing = text }) }

// run prepares the repo and runs Kubo once. It returns why Kubo ended, and for
// how long its RPC had responded; no process is left then.
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
	// A stale address would be taken for the one of the new process.
	if err := os.Remove(filepath.Join(n.repo, apiFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("the address file of the last Kubo cannot be removed: %w", err)
	}
	p, err := n.start(program, api)
	if err != nil {
		return 0, err
	}
	defer n.removePIDFile()
	return n.serve(ctx, p)
}

// start starts the daemon with its RPC at api.
func (n *Node) start(program string, api multiaddr.Multiaddr) (*process, error) {
	n.begin("starting Kubo (%s) on the repo at %s", program, n.repo)
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
	if err := writeJSON(filepath.Join(n.repo, pidFileName), newPIDFile(p.pid())); err != nil {
		logger.Warnf("an orphaned Kubo will not be recognized should this program be killed: %v", err)
	}
	n.update(func(s *Status) { s.PID = p.pid() })
	return p, nil
}

func (n *Node) removePIDFile() {
	if err := os.Remove(filepath.Join(n.repo, pidFileName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		logger.Debugf("removing %s: %v", pidFileName, err)
	}
}

// serve waits for the RPC of p, then for the end of p or a reason to end it.
func (n *Node) serve(ctx context.Context, p *process) (ran time.Duration, err error) {
	client := newRPC()
	addr, version, err := n.awaitStart(ctx, client, p)
	if err != nil {
		n.end(ctx, p, nil)
		return 0, err
	}
	select {
	case <-n.restart: // Was meant for the last process.
	default:
	}
	n.running(addr, version)
	began := time.Now()
	watchCtx, cancel := context.WithCancel(ctx)
	hung, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		if client.watch(watchCtx, addr, n.cfg.UnresponsiveTimeout) {
			close(hung)
		}
	}()
	select {
	case <-p.exited:
		err = diagnose(n.repo, p.err, n.output.last())
	case err = <-n.restart:
	case <-hung:
		err = fmt.Errorf("the IPFS node gave no response for %s (ipfs_connector.managed.unresponsive_timeout) and is restarted",
			n.cfg.UnresponsiveTimeout)
	case <-ctx.Done():
		err = ctx.Err()
	}
	cancel()
	<-watched
	n.end(ctx, p, addr)
	return time.Since(began), err
}

// awaitStart returns the address and release of p once its RPC responds.
func (n *Node) awaitStart(ctx context.Context, client rpc, p *process) (multiaddr.Multiaddr, string, error) {
	startCtx, cancel := n.startContext(ctx)
	defer cancel()
	type reply struct {
		addr    multiaddr.Multiaddr
		version string
		err     error
	}
	replies := make(chan reply, 1)
	go func() {
		addr, version, err := client.awaitRPC(startCtx, n.repo)
		replies <- reply{addr, version, err}
	}()
	select {
	case <-p.exited:
		cancel()
		<-replies
		return nil, "", diagnose(n.repo, p.err, n.output.last())
	case r := <-replies:
		if errors.Is(r.err, context.DeadlineExceeded) && ctx.Err() == nil {
			r.err = fmt.Errorf("the RPC of Kubo gave no response within ipfs_connector.managed.start_timeout (%s): %w",
				n.cfg.StartTimeout, r.err)
		}
		return r.addr, r.version, r.err
	}
}

// startContext is ctx with the time limit of a start, if there is one.
func (n *Node) startContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if n.cfg.StartTimeout > 0 {
		return context.WithTimeout(ctx, n.cfg.StartTimeout)
	}
	return context.WithCancel(ctx)
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

// end stops p and waits for its end.
func (n *Node) end(ctx context.Context, p *process, api multiaddr.Multiaddr) {
	if ctx.Err() != nil {
		n.update(func(s *Status) { s.State, s.Doing = StateStopping, "" })
	}
	request := func(p *process) error {
		err := requestStop(p.cmd.Process)
		if errors.Is(err, errors.ErrUnsupported) && api != nil {
			return newRPC().shutdown(api)
		}
		if errors.Is(err, os.ErrProcessDone) {
			return nil
		}
		return err
	}
	if p.terminate(request, n.cfg.StopTimeout, n.kill) {
		return
	}
	logger.Warnf("Kubo did not stop and was killed")
	if ctx.Err() != nil {
		n.mu.Lock()
		n.killed = true
		n.mu.Unlock()
	}
}
