package faults

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// innerEnv marks the second run of this test binary, which is in namespaces of
// its own.
const innerEnv = "FAULTS_INNER"

// TestMain runs the tests in a mount and a network namespace in which they may
// mount disks and make namespaces for the peers: as root, or as root of a user
// namespace.
func TestMain(m *testing.M) {
	if os.Getenv(printTimes) != "" {
		printTime()
		return
	}
	if request := os.Getenv(watchEnv); request != "" {
		if err := carryOut(request); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if path := os.Getenv(syncs); path != "" {
		writeAndSync(path)
		return
	}
	if os.Getenv(innerEnv) != "" {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			fmt.Fprintln(os.Stderr, "faults: making the mounts private:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	code, err := again()
	if err == nil {
		os.Exit(code)
	}
	fmt.Fprintf(os.Stderr, "faults: this system gives us no namespaces (%v)\n", err)
	if os.Getenv("NETNS_REQUIRED") != "" {
		os.Exit(1)
	}
	// As where netns gets none, the rest is tested.
	fmt.Fprintln(os.Stderr, "faults: not run, because they need namespaces: "+namespaced)
	flag.Parse()
	if err := flag.Set("test.skip", namespaced); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// namespaced are the tests that need namespaces.
const namespaced = "^(TestFaults|TestNetwork|TestClock|TestDisk)"

// again runs this binary in the namespaces.
func again() (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), innerEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s) // It has ended: then nothing is left to do.
		}
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}
