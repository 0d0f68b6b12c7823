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

// errRefused means that Kubo responds but rejects our requests.
var errRefused = errors.New("the RPC of Kubo refuses the peer: remove API.Authorizations from Kubo's configuration")

// rpc is a minimal client of Kubo's RPC, for probes and the shutdown.
type rpc struct{ client *http.Client }

func newRPC() rpc {
	// No proxy and no connection reuse: a probe tests a new connection.
	return rpc{&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
}

// version returns Kubo's release; the request uses neither repo nor network.
func (r rpc) version(ctx context.Context, addr multiaddr.Multiaddr) (string, error) {
	var reply struct{ Version string }
	if err := r.post(ctx, addr, "version", &reply); err != nil {
		return "", err
	}
	return reply.Version, nil
}

// post calls a command and decodes its reply, unless reply is nil.
func (r rpc) post(ctx context.Context, addr multiaddr.Multiaddr, command string, reply any) error {
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
		return fmt.Errorf("the RPC of Kubo responds with %s: %s", resp.Status, body)
	case reply == nil:
		return nil
	}
	return json.Unmarshal(body, reply)
}

// shutdown stops Kubo through its RPC.
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

// pollInterval is how often a starting Kubo is polled: short against the second
// that a start takes.
const pollInterval = 25 * time.Millisecond

// awaitRPC waits until the RPC responds or rejects our requests. The error of
// ctx comes with the last one of the RPC.
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

// watch probes the RPC until ctx ends, and returns true once the RPC has not
// responded for limit. A limit of zero waits for ctx.
func (r rpc) watch(ctx context.Context, addr multiaddr.Multiaddr, limit time.Duration) bool {
	if limit <= 0 {
		<-ctx.Done()
		return false
	}
	const longest = 10 * time.Second
	interval := min(limit/4, longest)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	responded := time.Now()
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
			responded = time.Now()
		case time.Since(responded) >= limit:
			return true
		}
	}
}
