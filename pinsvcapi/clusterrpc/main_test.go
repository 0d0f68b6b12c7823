package clusterrpc_test

import (
	"os"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// The tests mostly wait for real peers.
func TestMain(m *testing.M) { os.Exit(await.Run(m, 4)) }
