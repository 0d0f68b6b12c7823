package faults

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// provider is a plain Kubo that has all content. Nothing happens to it.
type provider struct {
	kubo
	// origin is its address, which clients send with their pins.
	origin string
}

func newProvider(ctx context.Context, ns *namespace, folder, ipfs string) (*provider, error) {
	repo := filepath.Join(folder, "provider")
	env := []string{"HOME=" + folder, "IPFS_PATH=" + repo, "IPFS_TELEMETRY=off", "PATH=" + os.Getenv("PATH")}
	for _, args := range [][]string{
		{"init", "--profile=test"},
		{"config", "Routing.Type", "none"},
		{"config", "--json", "Addresses.Swarm", fmt.Sprintf(`["/ip4/%s/tcp/%d"]`, ns.addr, swarmPort)},
	} {
		cmd := exec.CommandContext(ctx, ipfs, args...)
		cmd.Env = env
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("ipfs %v: %w\n%s", args, err, out)
		}
	}
	cmd := exec.Command(ipfs, "daemon")
	cmd.Env = env
	if _, err := ns.start(cmd, filepath.Join(folder, "provider.log"), false); err != nil {
		return nil, err
	}
	p := &provider{kubo: kubo{repo: repo, http: &http.Client{Transport: &http.Transport{DialContext: ns.dial}}}}
	err := eventually(ctx, readyTimeout, func() error {
		id, err := p.id(ctx)
		p.origin = fmt.Sprintf("/ip4/%s/tcp/%d/p2p/%s", ns.addr, swarmPort, id)
		return err
	})
	return p, err
}

// Deadlines. They bound failures, nothing waits for them to pass.
const (
	readyTimeout = 3 * time.Minute
	stopTimeout  = 45 * time.Second
)

// eventually calls condition until it is nil, and returns its last error when it
// was not within the time.
func eventually(ctx context.Context, within time.Duration, condition func() error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %v: %w", within, err)
		case <-tick.C:
		}
	}
}
