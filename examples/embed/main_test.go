package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	pinclient "github.com/ipfs/boxo/pinning/remote/client"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/auth"
	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// started runs the example on a folder and returns its endpoint and how to
// stop it.
func started(t *testing.T, folder string) (endpoint string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	address, ended := make(chan string, 1), make(chan error, 1)
	go func() { ended <- run(ctx, folder, func(a string) { address <- a }) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the peer stopped with %v", err)
		}
	}
	t.Cleanup(stop)
	select {
	case a := <-address:
		return "http://" + a, stop
	case err := <-ended:
		stopped = true
		t.Fatalf("the peer did not start: %v", err)
	case <-time.After(harness.ReadyTimeout):
		t.Fatal("the peer is not ready")
	}
	return "", stop
}

// client is the Go client that Kubo uses, with a token of the example's user.
func client(t *testing.T, folder, endpoint string) *pinclient.Client {
	t.Helper()
	cfg := peer.NewConfiguration(peer.FilesIn(folder), "", "")
	defer cfg.Close()
	if err := cfg.Load(); err != nil {
		t.Fatal(err)
	}
	token, err := auth.IssueToken("me", cfg.Pinsvcapi.BasicAuthCredentials["me"], time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return pinclient.NewClient(endpoint, token)
}

// The peer starts, pins, stops, and has the pin when it starts again.
func TestRun_PinsAndKeeps(t *testing.T) {
	t.Setenv("PATH", filepath.Dir(harness.Ipfs(t))+string(filepath.ListSeparator)+os.Getenv("PATH"))
	t.Setenv("IPFS_TELEMETRY", "off")
	folder := filepath.Join(t.TempDir(), "peer")
	hello := cid.MustParse("bafkqablimvwgy3y")
	ctx, cancel := context.WithTimeout(t.Context(), harness.ReadyTimeout)
	defer cancel()

	endpoint, stop := started(t, folder)
	c := client(t, folder, endpoint)
	st, err := c.Add(ctx, hello, pinclient.PinOpts.WithName("hello"))
	if err != nil {
		t.Fatal(err)
	}
	for st.GetStatus() != pinclient.StatusPinned {
		if st, err = c.GetStatusByID(ctx, st.GetRequestId()); err != nil {
			t.Fatalf("the pin does not become pinned: %v", err)
		}
	}
	stop()

	endpoint, _ = started(t, folder)
	pins, err := client(t, folder, endpoint).LsSync(ctx, pinclient.PinOpts.FilterName("hello"))
	if err != nil || len(pins) != 1 || !pins[0].GetPin().GetCid().Equals(hello) {
		t.Errorf("after a restart the list is %v, %v", pins, err)
	}
}
