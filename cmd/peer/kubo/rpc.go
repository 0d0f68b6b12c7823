package kubo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// errRefused is a Kubo that answers, but not to us.
var errRefused = errors.New("the RPC of Kubo refuses the peer: remove API.Authorizations from Kubo's configuration")

// rpc is just enough of a client of Kubo's RPC to see whether it answers.
type rpc struct{ client *http.Client }

func newRPC() rpc {
	// No proxy and no kept connections: the probe shows what a new
	// connection to Kubo would meet.
	return rpc{&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
}

// version asks for Kubo's release, which touches neither repo nor network.
func (r rpc) version(ctx context.Context, addr multiaddr.Multiaddr) (string, error) {
	var answer struct{ Version string }
	if err := r.post(ctx, addr, "version", &answer); err != nil {
		return "", err
	}
	return answer.Version, nil
}

// post calls a command and decodes its answer, which is not of interest when
// answer is nil.
func (r rpc) post(ctx context.Context, addr multiaddr.Multiaddr, command string, answer any) error {
	_, host, err := manet.DialArgs(addr)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+host+"/api/v0/"+command, nil)
	if err != nil {
		return err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	const limit = 64 << 10
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	switch {
	case err != nil:
		return err
	case resp.StatusCode == http.StatusForbidden:
		return errRefused
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("the RPC of Kubo answers %s: %s", resp.Status, body)
	case answer == nil:
		return nil
	}
	return json.Unmarshal(body, answer)
}

// shutdown asks Kubo over its RPC to stop.
func (r rpc) shutdown(addr multiaddr.Multiaddr) error {
	const enough = 5 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), enough)
	defer cancel()
	return r.post(ctx, addr, "shutdown", nil)
}

// readAPIAddr reads the address that a running Kubo writes into its repo once
// its RPC accepts connections.
func readAPIAddr(repo string) (multiaddr.Multiaddr, error) {
	raw, err := os.ReadFile(filepath.Join(repo, apiFile))
	if err != nil {
		return nil, err
	}
	return multiaddr.NewMultiaddr(strings.TrimSpace(string(raw)))
}

// pollInterval is how often a starting Kubo is looked at: often enough not to
// be noticed beside the second that it needs.
const pollInterval = 25 * time.Millisecond

// awaitRPC waits until the RPC answers, or refuses to for good. The last error that was met comes with
// that of ctx.
func (r rpc) awaitRPC(ctx context.Context, repo string) (addr multiaddr.Multiaddr, version string, err error) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if addr, err = readAPIAddr(repo); err == nil {
			version, err = r.version(ctx, addr)
			if err == nil || errors.Is(err, errRefused) {
				return addr, version, err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, "", fmt.Errorf("%w (%w)", ctx.Err(), err)
		}
	}
}

// watch asks the RPC now and then until ctx ends, and returns true as soon as
// it has given no answer for limit. A limit of zero waits for ctx.
func (r rpc) watch(ctx context.Context, addr multiaddr.Multiaddr, limit time.Duration) bool {
	if limit <= 0 {
		<-ctx.Done()
		return false
	}
	const longest = 10 * time.Second
	interval := min(limit/4, longest)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	answered := time.Now()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		probe, cancel := context.WithTimeout(ctx, interval)
		_, err := r.version(probe, addr)
		cancel()
		switch {
		case ctx.Err() != nil:
			return false
		case err == nil:
			answered = time.Now()
		case time.Since(answered) >= limit:
			return true
		}
	}
}
