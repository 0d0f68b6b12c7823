// Package harness runs real peers and real Kubo nodes as processes for tests:
// each in a folder of its own, on ports of its own, with its output kept, and
// stopped when the test ends. Whatever it waits for has a deadline, and a
// failure reports what was waited for and what the processes wrote last.
package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Deadlines. They bound failures, nothing waits for them to pass: each is
// several times what a busy machine with two cores needs.
const (
	// ReadyTimeout bounds the start of a process until it serves.
	ReadyTimeout = 2 * time.Minute
	// StopTimeout bounds an orderly stop.
	StopTimeout = 45 * time.Second
	// Timeout bounds everything else.
	Timeout = time.Minute
	// CommandTimeout bounds a command. One that waits for a pin may see a try
	// that is given up after the two minutes of the cluster's pin_timeout, and
	// the next one.
	CommandTimeout = 5 * time.Minute
	// Settle is how long something that must not happen is watched for.
	Settle = 5 * time.Second
	// poll is the pause between two checks of a condition.
	poll = 50 * time.Millisecond
)

// Harness is the folder and the processes of one test.
type Harness struct {
	t   testing.TB
	Dir string

	mu        sync.Mutex
	names     map[string]int
	processes []*Process
}

// New makes the harness of a test. At the end of the test all its processes
// are stopped; what is left of them then is a failure.
func New(t testing.TB) *Harness {
	t.Helper()
	h := &Harness{t: t, Dir: t.TempDir(), names: map[string]int{}}
	t.Cleanup(h.close)
	return h
}

// close stops what the test left running, last started first, and shows the
// output of all processes when the test failed.
func (h *Harness) close() {
	h.mu.Lock()
	processes := h.processes
	h.mu.Unlock()
	for i := len(processes) - 1; i >= 0; i-- {
		if processes[i].Running() {
			processes[i].stop()
		}
	}
	for _, left := range processesOf(h.Dir) {
		h.t.Errorf("an orphan is left after the test: process %d (%s)", left.pid, left.command)
		left.kill()
	}
	if keep := os.Getenv("PINSVC_TEST_KEEP"); keep != "" {
		to := filepath.Join(keep, filepath.Base(filepath.Dir(h.Dir)))
		h.t.Logf("the test's folder is kept as %s: %v", to, os.CopyFS(to, os.DirFS(h.Dir)))
	}
	if !h.t.Failed() {
		return
	}
	for _, p := range processes {
		h.t.Logf("--- the end of what %s wrote:\n%s", p.Name, p.Tail(80))
	}
}

// folder makes a new folder named after what it is for.
func (h *Harness) folder(kind string) (name, dir string) {
	h.t.Helper()
	h.mu.Lock()
	h.names[kind]++
	name = fmt.Sprintf("%s%d", kind, h.names[kind])
	h.mu.Unlock()
	dir = filepath.Join(h.Dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		h.t.Fatal(err)
	}
	return name, dir
}

// environment is what every process gets: nothing of the caller's but where
// programs, caches and temporary files are.
func (h *Harness) environment(extra ...string) []string {
	env := []string{
		"HOME=" + h.Dir,
		"PATH=" + binDir() + string(filepath.ListSeparator) + os.Getenv("PATH"),
		"TMPDIR=" + h.Dir,
		"IPFS_TELEMETRY=off",
		"NO_COLOR=1",
		ownerEnv + "=" + h.Dir,
	}
	return append(env, extra...)
}

// Eventually checks a condition until it holds and fails the test when it
// does not within the time. The failure reports the last reason.
func Eventually(t testing.TB, within time.Duration, what string, condition func() error) {
	t.Helper()
	if err := eventually(within, condition); err != nil {
		t.Fatalf("%s: not within %v: %v", what, within, err)
	}
}

func eventually(within time.Duration, condition func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// Always checks a condition again and again for the given time, and fails
// the test the first time that it does not hold.
func Always(t testing.TB, during time.Duration, what string, condition func() error) {
	t.Helper()
	broken := errors.New("")
	err := eventually(during, func() error {
		if err := condition(); err != nil {
			broken = err
			return nil
		}
		return errors.New("holds")
	})
	if err == nil {
		t.Fatalf("%s: %v", what, broken)
	}
}

// ports hands out each port once to this process. They are below the range
// that systems take the ports of outgoing connections from, so that a port
// stays free until it is bound.
var ports = struct {
	sync.Mutex
	next int
}{next: 12000 + os.Getpid()%7000}

// FreePort returns a TCP and UDP port of loopback that nobody uses and that
// this process did not hand out before.
func FreePort(t testing.TB) int {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	for range 5000 {
		ports.next++
		if free(ports.next) {
			return ports.next
		}
	}
	t.Fatal("no free port on loopback")
	return 0
}

func free(port int) bool {
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer func() { _ = l.Close() }()
	u, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	return u.Close() == nil
}

// lines splits output into its lines, without the empty ones.
func lines(s string) []string {
	var out []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}
