// Package compliance runs the public compliance suite of the Pinning Service
// API against a real peer. It needs node and npm; `make test` installs the
// suite first, and leaves this package out where there is no node.
package compliance

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

func TestComplianceSuite(t *testing.T) {
	h := harness.New(t)
	peer := h.Peer(harness.InitOptions{})
	peer.Start()
	reports := filepath.Join(h.Dir, "reports")

	out, err := exec.CommandContext(t.Context(), "node", "run.mjs", peer.Endpoint(), peer.Token(), reports).CombinedOutput()
	if err == nil && strings.Contains(string(out), "\n9/9 compliance checks") {
		t.Logf("%s", out)
		return
	}
	t.Errorf("node run.mjs: %v\n%s", err, out)
	files, err := filepath.Glob(filepath.Join(reports, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil {
			t.Logf("%s:\n%s", file, text)
		}
	}
}
