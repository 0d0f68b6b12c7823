package faults

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// printTimes makes this test binary a program that writes the time and how long
// it has been running, again and again.
const printTimes = "FAULTS_TEST_PRINT_TIMES"

func printTime() {
	began := time.Now()
	for range 1000 {
		now := time.Now()
		fmt.Println(now.Unix(), now.Sub(began).Milliseconds())
		time.Sleep(10 * time.Millisecond) // A rate.
	}
}

// The clock is set for one process, and its timers do not notice.
func TestClock_IsSetForOneProcess(t *testing.T) {
	ns, err := newNamespace(netip.MustParseAddr("10.77.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ns.close() }()
	log := filepath.Join(t.TempDir(), "times")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), printTimes+"=yes")
	p, err := ns.start(cmd, log, true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.kill() }()
	if p.clock == nil {
		t.Fatal("it has no clock of its own")
	}
	for _, offset := range []time.Duration{0, -time.Hour, time.Hour, 0} {
		if err := p.clock.set(offset); err != nil {
			t.Fatal(err)
		}
		err := eventually(t.Context(), 10*time.Second, func() error {
			sec, running, err := lastTime(log)
			if err == nil && (sec-time.Now().Add(offset).Unix() < -2 || sec-time.Now().Add(offset).Unix() > 1 || running > 10_000) {
				err = fmt.Errorf("the time is %d, running for %d ms", sec, running)
			}
			return err
		})
		if err != nil {
			t.Errorf("%v: %v", offset, err)
		}
	}
}

func lastTime(path string) (sec, running int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	last := ""
	for lines.Scan() {
		if strings.Contains(lines.Text(), " ") {
			last = lines.Text()
		}
	}
	_, err = fmt.Sscan(last, &sec, &running)
	return sec, running, err
}
