package docs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
			output := client.Shell(strings.ReplaceAll(block, "http://127.0.0.1:9097", peer.Endpoint()))
			if !strings.Contains(output, want) {
				t.Errorf("%s\nprinted:\n%s\nwithout %s", block, output, want)
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

// prompted are the commands after a prompt in the blocks of a section, block by
// block.
func prompted(t *testing.T, path, heading string) [][]string {
	t.Helper()
	var blocks [][]string
	doc := parse(readFile(t, path))
	for _, b := range parse(doc.section(t, heading)).blocks {
		var commands []string
		for line := range strings.Lines(b.text) {
			if command, typed := strings.CutPrefix(strings.TrimSpace(line), "$ "); typed {
				commands = append(commands, command)
			}
		}
		blocks = append(blocks, commands)
	}
	return blocks
}

// clusterCtl stands for ipfs-cluster-ctl, which is no program of this project,
// and prints what the manual shows of its "peers ls".
const clusterCtl = `
[ "$1 $3 $4" = "--host peers ls" ]
curl -sS "http://127.0.0.1:$(echo "$2" | cut -d/ -f5)/peers" |
	jq -r '"\(.id) | \(.peername) | Sees \(.cluster_peers | length - 1) other peers"'
`

// The three peers on one machine are made as the manual says, see each other and
// hold a pin.
func TestCluster_Runs(t *testing.T) {
	for _, program := range []string{"curl", "jq"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("the manual of clusters needs %s, which is missing here", program)
		}
	}
	terminal := harness.New(t).Terminal()
	terminal.Program("ipfs-cluster-ctl", clusterCtl)
	start := func(commands []string) {
		t.Helper()
		for _, command := range commands {
			if strings.HasPrefix(command, "ipfs-cluster-pinsvc ") && strings.Contains(command, " daemon") {
				terminal.Run(command).WaitOutput(harness.ReadyTimeout, "Ready: ")
				continue
			}
			terminal.Type(command)
		}
	}
	blocks := prompted(t, "docs/cluster.md", "## More peers")
	if len(blocks) != 3 || len(blocks[2]) < 4 {
		t.Fatalf("these commands were recognised: %q", blocks)
	}
	first, second, use := blocks[0], blocks[1], blocks[2]
	start(first)
	start(second)
	for i, command := range second { // "and the same with three"
		second[i] = strings.ReplaceAll(command, "--config two ", "--config three ")
	}
	start(second)

	sees, last := use[0], use[len(use)-1]
	shows := func(text string, commands ...string) {
		t.Helper()
		harness.Eventually(t, harness.Timeout, "three lines with "+text, func() error {
			printed := terminal.Type(strings.Join(commands, "\n"))
			if strings.Count(printed, text) != 3 {
				return fmt.Errorf("%s\nprinted:\n%s", commands[len(commands)-1], printed)
			}
			return nil
		})
	}
	shows("Sees 2 other peers", sees)
	if printed := terminal.Type(strings.Join(use[1:len(use)-1], "\n")); !strings.HasPrefix(printed, `["world",`) {
		t.Errorf("the POST printed %s", printed)
	}
	shows(`["world","pinned","3/3"]`, append(slices.Clone(functions(use)), last)...)
}

// functions are the commands that define functions of the shell.
func functions(commands []string) []string {
	return slices.DeleteFunc(slices.Clone(commands), func(command string) bool { return !strings.Contains(command, "() {") })
}
