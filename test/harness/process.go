package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a program that runs while the test goes on.
type Process struct {
	Name string

	t       testing.TB
	cmd     *exec.Cmd
	out     *output
	exited  chan struct{}
	exitErr error // valid once exited is closed
	// stop is how it is stopped at the end of the test.
	stop func()
}

// start runs a program in a process group of its own and keeps what it
// writes, both in memory and in a file beside dir.
func (h *Harness) start(name, dir string, env []string, argv ...string) *Process {
	h.t.Helper()
	file, err := os.OpenFile(filepath.Join(h.Dir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		h.t.Fatal(err)
	}
	p := &Process{Name: name, t: h.t, out: &output{file: file}, exited: make(chan struct{})}
	p.stop = p.Stop
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Dir, p.cmd.Env = dir, env
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.SysProcAttr = ownGroup()
	// A child of the child that keeps the pipe open must not hold up Wait.
	p.cmd.WaitDelay = 5 * time.Second
	if err := p.cmd.Start(); err != nil {
		h.t.Fatalf("starting %s: %v", name, err)
	}
	go func() {
		p.exitErr = p.cmd.Wait()
		p.out.close()
		close(p.exited)
	}()
	h.mu.Lock()
	h.processes = append(h.processes, p)
	h.mu.Unlock()
	return p
}

// PID is the process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Resident is the memory of the process, in bytes.
func (p *Process) Resident() int { p.t.Helper(); return p.memory("VmRSS") }

// PeakResident is the most that Resident ever was.
func (p *Process) PeakResident() int { p.t.Helper(); return p.memory("VmHWM") }

// Files is how many file descriptors the process has open.
func (p *Process) Files() int {
	p.t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID()))
	if err != nil {
		p.t.Error(err)
	}
	return len(entries)
}

func (p *Process) memory(kind string) int {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		p.t.Error(err)
		return 0
	}
	match := regexp.MustCompile(kind + `:\s+(\d+) kB`).FindSubmatch(status)
	if match == nil {
		p.t.Errorf("no %s in %s", kind, status)
		return 0
	}
	kib, err := strconv.Atoi(string(match[1]))
	if err != nil {
		p.t.Error(err)
	}
	return kib << 10
}

// Running reports whether the process has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Output is all that the process has written so far.
func (p *Process) Output() string { return p.out.String() }

// Tail is the last n lines of what the process wrote.
func (p *Process) Tail(n int) string {
	all := strings.SplitAfter(p.Output(), "\n")
	return strings.Join(all[max(0, len(all)-n):], "")
}

// Signal sends a signal to the process alone.
func (p *Process) Signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("signalling %s: %v", p.Name, err)
	}
}

// Wait returns how the process ended, nil for exit code 0. One that does not
// end in time is made to: Go programs respond to the quit signal with what their
// goroutines are doing.
func (p *Process) Wait(within time.Duration) error {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.exitErr
	case <-time.After(within):
		p.Signal(syscall.SIGQUIT)
	}
	select {
	case <-p.exited:
	case <-time.After(5 * time.Second):
		p.Kill()
	}
	return fmt.Errorf("it did not end within %v", within)
}

// DataRace begins a report of the race detector.
const DataRace = "WARNING: DATA RACE"

// Stop interrupts the process as ctrl-C does and wants it to end with exit
// code 0 and nothing left behind.
func (p *Process) Stop() {
	p.t.Helper()
	p.Signal(syscall.SIGCONT) // It may be a frozen one.
	p.Signal(syscall.SIGINT)
	if err := p.Wait(StopTimeout); err != nil {
		p.t.Errorf("%s, interrupted: %v", p.Name, err)
	}
	if _, report, found := strings.Cut(p.Output(), DataRace); found {
		p.t.Errorf("%s has a data race:%s", p.Name, strings.Join(strings.SplitAfterN(report, "\n", 80), ""))
	}
}

// StopGroup interrupts the process and its children together, as a terminal
// does, and waits until the process has ended, with whatever exit code.
func (p *Process) StopGroup() {
	p.t.Helper()
	if err := syscall.Kill(-p.PID(), syscall.SIGINT); err != nil {
		p.t.Errorf("interrupting the group of %s: %v", p.Name, err)
	}
	select {
	case <-p.exited:
	case <-time.After(StopTimeout):
		_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
		p.t.Errorf("%s, interrupted, did not end within %v", p.Name, StopTimeout)
	}
}

// Kill ends the process at once and waits until it is gone.
func (p *Process) Kill() {
	p.t.Helper()
	p.Signal(syscall.SIGKILL)
	<-p.exited
}

// WaitOutput waits until the process has written text.
func (p *Process) WaitOutput(within time.Duration, text string) {
	p.t.Helper()
	Eventually(p.t, within, fmt.Sprintf("%s writes %q", p.Name, text), func() error {
		if strings.Contains(p.Output(), text) {
			return nil
		}
		if !p.Running() {
			p.t.Fatalf("%s has ended (%v) before it wrote %q", p.Name, p.exitErr, text)
		}
		return errors.New("not yet")
	})
}

// Result is what a command that has ended printed.
type Result struct {
	Stdout, Stderr string
	// Err is nil for exit code 0.
	Err error
}

// ExitCode is the exit code, or -1 when the command did not end by itself.
func (r Result) ExitCode() int {
	var exit *exec.ExitError
	switch {
	case r.Err == nil:
		return 0
	case errors.As(r.Err, &exit):
		return exit.ExitCode()
	default:
		return -1
	}
}

// command is a program to run to its end.
type command struct {
	dir   string
	env   []string
	stdin string
	argv  []string
}

// run runs a command to its end, bounded by CommandTimeout.
func run(c command) Result {
	ctx, cancel := context.WithTimeout(context.Background(), CommandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Dir, cmd.Env = c.dir, c.env
	cmd.Stdin = strings.NewReader(c.stdin)
	cmd.WaitDelay = 5 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("not ended within %v: %w", CommandTimeout, err)
	}
	return Result{Stdout: stdout.String(), Stderr: stderr.String(), Err: err}
}

// must fails the test when the command failed, and returns its output.
func (r Result) must(t testing.TB, argv []string) string {
	t.Helper()
	if r.Err != nil {
		t.Fatalf("%s: %v\nstdout: %s\nstderr: %s", strings.Join(argv, " "), r.Err, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// output keeps what a process writes and copies it to a file.
type output struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	file *os.File
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Write(b)
	return o.file.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	_ = o.file.Close()
}
