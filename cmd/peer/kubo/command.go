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
// of cfg, whether the node is running (it then speaks to it) or not. The
// caller sets its input and output. The error says that there is no program
// or no repo.
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

// environment is that of a Kubo process: ours, without what is meant for us
// alone, and with what cfg says. Each name is there once: of two values, a
// process that is executed directly takes the first.
func environment(inherited []string, cfg *Config, repo string) []string {
	own := map[string]string{"IPFS_PATH": repo}
	if !cfg.Telemetry {
		own["IPFS_TELEMETRY"] = "off"
	}
	maps.Copy(own, cfg.Environment)
	var env []string
	for _, pair := range inherited {
		name, _, _ := strings.Cut(pair, "=")
		if _, replaced := own[name]; !replaced && !oursAlone(name) {
			env = append(env, pair)
		}
	}
	for name, value := range own {
		env = append(env, name+"="+value)
	}
	return env
}

// oursAlone reports whether a variable must not reach Kubo.
func oursAlone(name string) bool {
	switch name {
	case "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES":
		// Sockets that systemd opened for us; Kubo would serve its RPC there.
		return true
	case "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID":
		// Kubo would tell systemd that our service is ready, or stopping.
		return true
	case "GOLOG_FILE", "GOLOG_OUTPUT":
		// Two processes would write one log file, and Kubo's last words
		// would not reach us.
		return true
	}
	// The cluster's own settings, secrets among them.
	return strings.HasPrefix(name, "CLUSTER_") || strings.HasPrefix(name, "IPFS_CLUSTER_")
}
