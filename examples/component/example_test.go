package component_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"

	"github.com/pinsvc/ipfs-cluster-pinsvc/config"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
)

// A cluster peer gets the component in its list of APIs. It gives the
// component its RPC client when it starts, and shuts it down when it stops.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	cfg := config.NewConfig()
	section := `{"http_listen_multiaddress": "/ip4/127.0.0.1/tcp/0"}`
	if err := cfg.LoadJSON([]byte(section)); err != nil {
		log.Fatal(err)
	}
	api, err := pinsvcapi.NewAPI(ctx, cfg, pinsvcapi.Options{Version: "example"})
	if err != nil {
		log.Fatal(err)
	}

	// Here a peer for tests. A program passes the APIs to
	// ipfscluster.NewCluster.
	peer, err := clustertest.New(clustertest.Options{APIs: []ipfscluster.API{api}})
	if err != nil {
		log.Fatal(err)
	}
	defer peer.Close()

	resp, err := waitReady(ctx, "http://"+api.HTTPAddresses()[0])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(resp.Status)
	// Output: 200 OK
}

// waitReady polls GET /ready until the peer serves requests.
func waitReady(ctx context.Context, endpoint string) (*http.Response, error) {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"/ready", nil)
		if err != nil {
			return nil, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return resp, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}
