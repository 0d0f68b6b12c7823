package pinsvcapi_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"

	rpc "github.com/libp2p/go-libp2p-gorpc"

	"github.com/pinsvc/ipfs-cluster-pinsvc/config"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// The component serves a backend of the embedder's own. Without NewBackend it
// makes the backend over the cluster's RPC of the client that SetClient gets.
func ExampleNewAPI() {
	cfg := config.NewConfig()
	section := `{"http_listen_multiaddress": "/ip4/127.0.0.1/tcp/0"}`
	if err := cfg.LoadJSON([]byte(section)); err != nil {
		log.Fatal(err)
	}
	api, err := pinsvcapi.NewAPI(context.Background(), cfg, pinsvcapi.Options{
		NewBackend: func(*rpc.Client) pinsvcapi.Backend { return pinsvctest.NewFake() },
	})
	if err != nil {
		log.Fatal(err)
	}
	api.SetClient(nil) // The cluster does this for a component of its own.

	client := &http.Client{}
	body := strings.NewReader(`{"cid": "bafkqablimvwgy3y", "name": "hello"}`)
	resp, err := client.Post("http://"+api.HTTPAddresses()[0]+"/pins", "application/json", body)
	if err != nil {
		log.Fatal(err)
	}
	pin, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(resp.Status, strings.Contains(string(pin), `"status":"queued"`))

	_ = resp.Body.Close()
	client.CloseIdleConnections()
	if err := api.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output: 202 Accepted true
}
