package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// A newcomer types `make run PROFILE=private`, then types what it printed
// into another terminal, presses ctrl-C, and runs it again.
func TestFirstRunAsPrinted(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	data := filepath.Join(h.Dir, "data")
	var env []string
	// The usual ports may be in use here: the environment moves them, as it
	// would for anybody.
	for _, name := range []string{
		"CLUSTER_LISTENMULTIADDRESS", "CLUSTER_RESTAPI_HTTPLISTENMULTIADDRESS",
		"CLUSTER_PINSVCAPI_HTTPLISTENMULTIADDRESS", "CLUSTER_IPFSPROXY_LISTENMULTIADDRESS",
	} {
		env = append(env, fmt.Sprintf("%s=/ip4/127.0.0.1/tcp/%d", name, harness.FreePort(t)))
	}

	run := h.MakeRun(data, env...)
	run.WaitOutput(harness.ReadyTimeout, "ipfs pin remote add")
	printed := run.Output()
	for path, mode := range map[string]os.FileMode{data: 0o700, filepath.Join(data, "service.json"): 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: want mode %v, got %v, %v", filepath.Base(path), mode, info, err)
		}
	}

	client := h.Kubo()
	client.Start()
	commands := printedCommands(printed)
	kinds := strings.Join(commands, "\n")
	for _, kind := range []string{"curl ", " token --user me", "ipfs pin remote service add ", "ipfs pin remote add "} {
		if !strings.Contains(kinds, kind) {
			t.Fatalf("no printed command has %q:\n%s", kind, printed)
		}
	}
	// Not typed: curl prompts for the password, which is never printed.
	kinds = strings.Join(slices.DeleteFunc(commands, func(line string) bool { return strings.HasPrefix(line, "curl ") }), "\n")
	output := client.Shell(kinds)
	t.Logf("%s\n%s", kinds, output)
	if !strings.Contains(output, "pinned") {
		t.Errorf("the last command was to end with a pinned pin; the commands printed:\n%s", output)
	}

	run.StopGroup()
	run = h.MakeRun(data, env...)
	run.WaitOutput(harness.ReadyTimeout, "Ready: ")
	harness.Eventually(t, harness.ReadyTimeout, "the second run lists what the first pinned", func() error {
		r := client.Try("pin", "remote", "ls", "--service="+serviceName(kinds))
		if r.Err != nil || !strings.Contains(r.Stdout, "pinned") {
			return fmt.Errorf("%v: %s%s", r.Err, r.Stdout, r.Stderr)
		}
		return nil
	})
	run.StopGroup()
	if left := harness.Kubos(data); len(left) != 0 {
		t.Errorf("after ctrl-C these Kubo processes are left: %v", left)
	}
}

// printedCommands are the lines, without their indentation, that start with
// a command to type.
func printedCommands(output string) []string {
	var commands []string
	for line := range strings.Lines(output) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "$ ")
		if strings.HasPrefix(line, "curl ") || strings.HasPrefix(line, "ipfs ") || strings.Contains(line, " token --user ") {
			commands = append(commands, line)
		}
	}
	return commands
}

// serviceName is the name that the printed command gives the service.
func serviceName(commands string) string {
	_, after, _ := strings.Cut(commands, "ipfs pin remote service add ")
	return strings.Fields(after)[0]
}
