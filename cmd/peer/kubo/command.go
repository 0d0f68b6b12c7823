package kubo

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strings"
)

// Command returns a command that runs the Kubo program with args on the repo
// of cfg. A running node is used through its RPC. The caller sets input and
// output. Command returns an error if there is no program or no repo.
func Command(ctx context.Context, cfg *Config, args ...string) (*exec.Cmd, error) {
	path, err := findBinary(cfg, ownPath())
	if err != nil {
		return nil, err
	}
	repo := cfg.RepoDir()
	if !hasConfig(repo) {
		return nil, fmt.Errorf("there is no IPFS repo at %s yet: the first start of the daemon makes it", repo)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = environment(os.Environ(), cfg, repo)
	return cmd, nil
}

// environment is the environment of a Kubo process: the inherited one without
// reserved variables, plus that of cfg. Each name occurs once, because a process
// uses the first of two values.
func environment(inherited []string, cfg *Config, repo string) []string {
	own := map[string]string{"IPFS_PATH": repo}
	if !cfg.Telemetry {
		own["IPFS_TELEMETRY"] = "off"
	}
	maps.Copy(own, cfg.Environment)
	var env []string
	for _, pair := range inherited {
		name, _, _ := strings.Cut(pair, "=")
		if _, replaced := own[name]; !replaced && !isReserved(name) {
			env = append(env, pair)
		}
	}
	for name, value := range own {
		env = append(env, name+"="+value)
	}
	return env
}

// isReserved reports whether a variable is for this program and must not reach
// Kubo.
func isReserved(name string) bool {
	switch name {
	case "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES":
		// Sockets that systemd passed to us: Kubo would serve its RPC there.
		return true
	case "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID":
		// Kubo would notify systemd that our service is ready or stopping.
		return true
	case "GOLOG_FILE", "GOLOG_OUTPUT":
		// Two processes would write one log file, and the end of Kubo's output
		// would not reach logTail.
		return true
	}
	// The cluster's own settings, secrets among them.
	return strings.HasPrefix(name, "CLUSTER_") || strings.HasPrefix(name, "IPFS_CLUSTER_")
}
