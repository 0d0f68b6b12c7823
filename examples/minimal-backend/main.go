// Minimal-backend serves the IPFS Pinning Service API from a store of its own:
// a backend over a map, without any cluster or IPFS node. It keeps only CIDs
// that carry their content within themselves.
//
//	go run ./examples/minimal-backend
//	curl -u me:secret --json '{"cid":"bafkqablimvwgy3y"}' http://127.0.0.1:9097/pins
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	rpc "github.com/libp2p/go-libp2p-gorpc"

	"github.com/pinsvc/ipfs-cluster-pinsvc/config"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi"
)

// delegate is the address that responses give clients to connect to. A real
// service gives the address of its IPFS node.
const delegate = "/ip4/203.0.113.7/tcp/4001/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"

func main() {
	listen := flag.String("listen", "/ip4/127.0.0.1/tcp/9097", "the `multiaddress` to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, func(address string) { fmt.Println("serving at http://" + address) }); err != nil {
		fmt.Fprintln(os.Stderr, "minimal-backend:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. It calls ready with the address.
func run(ctx context.Context, listen string, ready func(address string)) error {
	cfg := config.NewConfig()
	section := fmt.Sprintf(`{"http_listen_multiaddress": %q, "basic_auth_credentials": {"me": "secret"}}`, listen)
	if err := cfg.LoadJSON([]byte(section)); err != nil {
		return err
	}
	pins := newStore(carried, delegate)
	api, err := pinsvcapi.NewAPI(ctx, cfg, pinsvcapi.Options{
		NewBackend: func(*rpc.Client) pinsvcapi.Backend { return pins },
	})
	if err != nil {
		return err
	}
	// A cluster would call SetClient. The backend of this program needs no
	// client.
	api.SetClient(nil)
	ready(api.HTTPAddresses()[0])
	<-ctx.Done()
	// Shutdown lets the requests finish that run, and closes the store.
	return api.Shutdown(context.WithoutCancel(ctx))
}
