package peer

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	manet "github.com/multiformats/go-multiaddr/net"
)

// Metrics of the cluster, of libp2p and of the API are served while a peer
// runs, also by a second one of the same process.
func TestMetricsServer(t *testing.T) {
	for range 2 {
		endpoint := freeAddr(t)
		files := upstreamFiles(t, "crdt", "pebble", nobody(t), func(sections map[string]map[string]any) {
			sections["observations"]["metrics"].(map[string]any)["prometheus_endpoint"] = endpoint.String()
		})
		p, _ := newPeer(t, files, func(o *Options) { o.Stats = true })
		_, hostport, err := manet.DialArgs(endpoint)
		noError(t, err)
		for path, want := range map[string][]string{
			"/metrics":           {"go_goroutines", "libp2p_", "pinsvc"},
			"/debug/vars":        {"memstats"},
			"/debug/pprof/":      {"goroutine"},
			"/debug/pprof/block": {""},
		} {
			body, err := get("http://" + hostport + path)
			noError(t, err)
			for _, text := range want {
				if !strings.Contains(body, text) {
					t.Errorf("%s does not have %q", path, text)
				}
			}
		}
		noError(t, p.Stop(t.Context()))
		if _, err := get("http://" + hostport + "/metrics"); err == nil {
			t.Error("metrics are still served")
		}
	}
}

func TestLoad_TracingReachesOurSection(t *testing.T) {
	p := &Peer{opts: Options{Tracing: true}, cfg: loaded(t, upstreamFiles(t, "crdt", "pebble", nobody(t)))}
	noError(t, p.load())
	if !p.cfg.Pinsvcapi.Tracing || !p.cfg.Helper.Configs().Restapi.Tracing {
		t.Error("tracing is not on everywhere")
	}
}

func get(url string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return string(body), err
}
