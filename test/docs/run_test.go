package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// checkout makes the folder of a Kubo node look like a checkout in which
// `make run` has run: bin has the programs, data is the folder of the peer.
func checkout(t *testing.T, client *harness.Kubo, peer *harness.Peer) {
	t.Helper()
	for name, target := range map[string]string{"bin": filepath.Dir(harness.Service(t)), "data": peer.Dir} {
		if err := os.Symlink(target, filepath.Join(client.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// shellBlocks are the fenced blocks of a section that are meant to be typed as
// they are.
func shellBlocks(t *testing.T, path, heading string) []string {
	t.Helper()
	var blocks []string
	doc := parse(readFile(t, path))
	for _, b := range parse(doc.section(t, heading)).blocks {
		if b.language == "sh" {
			blocks = append(blocks, b.text)
		}
	}
	if len(blocks) == 0 {
		t.Fatalf("%s: %q has nothing to type", path, heading)
	}
	return blocks
}

// The commands of the quickstart are typed as they are written, with another
// port.
func TestQuickstart_Runs(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatal("the quickstart needs curl, which is missing here")
	}
	h := harness.New(t)
	peer := h.Peer(harness.InitOptions{Args: []string{"--user", "me"}})
	peer.Start()
	client := h.Kubo()
	client.Start()
	checkout(t, client, peer)
	typed := func(heading, want string) {
		t.Helper()
		for _, block := range shellBlocks(t, "docs/quickstart.md", heading) {
			said := client.Shell(strings.ReplaceAll(block, "http://127.0.0.1:9097", peer.Endpoint()))
			if !strings.Contains(said, want) {
				t.Errorf("%s\nprinted:\n%s\nwithout %s", block, said, want)
			}
		}
	}
	typed("## Pin with Kubo", "bafkqablimvwgy3y\tpinned\thello")
	typed("## Pin with curl", `"count":1`)
}

// The backup of the manual is made, restored, and has the pins.
func TestBackup_Runs(t *testing.T) {
	h := harness.New(t)
	peer := h.Peer(harness.InitOptions{Args: []string{"--user", "me"}})
	peer.Start()
	client := h.Kubo()
	client.Start()
	checkout(t, client, peer)
	pinned := peer.Add(client.Add("what is to be kept"), "kept")
	peer.Stop()

	doc := parse(readFile(t, "docs/operations.md"))
	var commands []string
	for _, b := range parse(doc.section(t, "## Backup and restore")).blocks {
		for line := range strings.Lines(b.text) {
			command, typed := strings.CutPrefix(strings.TrimSpace(line), "$ ")
			if typed && !strings.HasSuffix(command, " daemon") {
				commands = append(commands, command)
			}
		}
	}
	if len(commands) < 5 {
		t.Fatalf("only these commands were recognised: %q", commands)
	}
	client.Shell(strings.Join(commands, "\n"))
	exported := client.Shell("bin/ipfs-cluster-pinsvc --config restored state export")
	if !strings.Contains(exported, pinned.RequestID) || !strings.Contains(exported, `"name":"kept"`) {
		t.Errorf("the restored peer has the pins %s", exported)
	}
}
