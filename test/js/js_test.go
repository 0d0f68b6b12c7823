// Package js runs the JavaScript clients of the Pinning Service API against a
// real peer. It needs node and npm; `make test` installs the packages first,
// and leaves this package out where there is no node.
package js

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

func TestPinningServiceClient(t *testing.T) {
	h := harness.New(t)
	peer := h.Peer(harness.InitOptions{})
	peer.Start()

	out, err := exec.CommandContext(t.Context(), "node", "client.mjs", peer.Endpoint(), peer.Token()).CombinedOutput()
	if err != nil {
		t.Fatalf("node client.mjs: %v\n%s", err, out)
	}
	const steps = 11
	if got := strings.Count(string(out), "ok "); got != steps {
		t.Errorf("want %d steps, saw %d:\n%s", steps, got, out)
	}
}
