package kubo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Limits of the ipfs commands that prepare a start. They are far above what the
// commands take: a command that reaches its limit hangs.
const (
	versionTimeout = 2 * time.Minute
	initTimeout    = 10 * time.Minute
	// migrateTimeout covers a migration that rewrites a large datastore.
	migrateTimeout = 6 * time.Hour
	// toolProgress is how often a command that still runs is logged.
	toolProgress = 30 * time.Second
)

// tool is one ipfs command on a repo.
type tool struct {
	program, repo string
	args          []string
	timeout       time.Duration
	progress      time.Duration
}

func newTool(program, repo string, timeout time.Duration, args ...string) tool {
	return tool{program: program, repo: repo, args: args, timeout: timeout, progress: toolProgress}
}

// String is the command line.
func (t tool) String() string { return t.program + " " + strings.Join(t.args, " ") }

// runTool runs the command, which Status shows as doing, and returns its
// standard output. A command that reaches its limit is ended.
func (n *Node) runTool(ctx context.Context, t tool, doing string) (string, error) {
	n.setDoing(doing)
	n.output.clear()
	var stdout bytes.Buffer
	cmd := exec.Command(t.program, t.args...)
	cmd.Env = environment(os.Environ(), n.cfg, t.repo)
	p, err := startProcess(cmd, io.MultiWriter(&stdout, n.output), n.output)
	if err != nil {
		return "", fmt.Errorf("%s cannot be run: %w", t.program, err)
	}
	if err := n.awaitTool(ctx, p, t, doing); err != nil {
		return "", err
	}
	if p.err != nil {
		return "", diagnose(n.repo, p.err, n.output.last())
	}
	return stdout.String(), nil
}

// awaitTool waits for the end of the command and logs that it still runs.
func (n *Node) awaitTool(ctx context.Context, p *process, t tool, doing string) error {
	began := time.Now()
	limit := time.NewTimer(t.timeout)
	defer limit.Stop()
	tick := time.NewTicker(t.progress)
	defer tick.Stop()
	for {
		select {
		case <-p.exited:
			return nil
		case <-ctx.Done():
			n.end(ctx, p, nil)
			return ctx.Err()
		case <-limit.C:
			n.end(ctx, p, nil)
			return fmt.Errorf("%q did not end within %s and was stopped: see if the disk of the IPFS repo at %s responds",
				t, t.timeout, n.repo)
		case <-tick.C:
			text := fmt.Sprintf("%s: %q runs for %s", doing, t, time.Since(began).Round(time.Second))
			if lines := n.output.last(); len(lines) > 0 {
				text += ", its last output: " + lines[len(lines)-1]
			}
			logger.Info(text)
			n.setDoing(text)
		}
	}
}
