package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// printInterfaces makes this test binary a command that names the network
// interfaces it sees, and exits with 7.
const printInterfaces = "NETNS_TEST_PRINT_INTERFACES"

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(innerEnv) != "":
		os.Args[0] = "netns"
		main()
	case os.Getenv(printInterfaces) == "yes":
		interfaces, err := net.Interfaces()
		if err != nil {
			os.Exit(8)
		}
		for _, i := range interfaces {
			_, _ = os.Stdout.WriteString(i.Name + " " + i.Flags.String() + "\n")
		}
		os.Exit(7)
	case os.Getenv(printInterfaces) == "isolated":
		// Run as netns itself would be.
		_ = os.Setenv(printInterfaces, "yes")
		os.Args = []string{"netns", os.Args[0]}
		main()
	default:
		os.Exit(m.Run())
	}
}

func TestCommandSeesOnlyLoopback(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), printInterfaces+"=isolated")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()

	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Fatalf("want the command's exit code 7, got %v; stderr: %s", err, &stderr)
	}
	if strings.Contains(stderr.String(), errUnavailable.Error()) {
		t.Logf("this system has no network namespaces for us; the command saw %q", out)
		return
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 1 || !strings.HasPrefix(lines[0], "lo ") || !strings.Contains(lines[0], "up") {
		t.Errorf("want only lo, up; got %q", lines)
	}
}
