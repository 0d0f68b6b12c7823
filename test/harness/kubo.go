package harness

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
)

// Kubo is a Kubo node of the test's own: a client of the service, or the
// external node of a peer. Its repo talks to loopback only.
type Kubo struct {
	Name string
	// Dir is its repo (IPFS_PATH).
	Dir string

	h    *Harness
	t    testing.TB
	bin  string
	env  []string
	proc *Process
}

// Kubo makes a repo. The extra environment is for every command on it.
func (h *Harness) Kubo(env ...string) *Kubo {
	h.t.Helper()
	name, dir := h.folder("kubo")
	k := &Kubo{Name: name, Dir: dir, h: h, t: h.t, bin: Ipfs(h.t)}
	// Client and service dial each other at the same moment. From the ports that
	// they listen on that can become one connection that both sides opened, which
	// no security protocol can be agreed on; without routing nobody dials again.
	k.env = h.environment(append(env, "IPFS_PATH="+dir, "LIBP2P_TCP_REUSEPORT=false")...)
	k.Ipfs("init", "--profile=test")
	k.Ipfs("config", "Routing.Type", "none")
	return k
}

// Start runs the daemon and waits until it serves.
func (k *Kubo) Start() {
	k.t.Helper()
	k.proc = k.h.start(k.Name, k.Dir, k.env, k.bin, "daemon")
	k.proc.WaitOutput(ReadyTimeout, "Daemon is ready")
}

// Process is the running daemon.
func (k *Kubo) Process() *Process { return k.proc }

// Stop interrupts the daemon and waits until it is gone.
func (k *Kubo) Stop() { k.t.Helper(); k.proc.Stop() }

// Kill ends the daemon at once.
func (k *Kubo) Kill() { k.t.Helper(); k.proc.Kill() }

// Try runs an ipfs command on the repo.
func (k *Kubo) Try(args ...string) Result {
	return run(command{dir: k.Dir, env: k.env, argv: append([]string{k.bin}, args...)})
}

// Ipfs runs an ipfs command that has to succeed and returns what it printed.
func (k *Kubo) Ipfs(args ...string) string {
	k.t.Helper()
	return k.Try(args...).must(k.t, append([]string{"ipfs"}, args...))
}

// Shell runs the lines as one shell script, as a user would type them with
// this node as theirs, and returns what it printed. The first line that fails
// fails the test.
func (k *Kubo) Shell(lines string) string {
	k.t.Helper()
	argv := []string{"sh", "-e", "-u", "-c", lines}
	return run(command{dir: k.Dir, env: k.env, argv: argv}).must(k.t, argv)
}

// IpfsStdin is Ipfs with a standard input.
func (k *Kubo) IpfsStdin(stdin string, args ...string) string {
	k.t.Helper()
	argv := append([]string{k.bin}, args...)
	return run(command{dir: k.Dir, env: k.env, stdin: stdin, argv: argv}).must(k.t, argv)
}

// Add adds content and returns its CID.
func (k *Kubo) Add(content string) cid.Cid {
	k.t.Helper()
	out := k.IpfsStdin(content, "add", "--quieter", "--cid-version=1")
	c, err := cid.Decode(strings.TrimSpace(out))
	if err != nil {
		k.t.Fatalf("ipfs add printed %q: %v", out, err)
	}
	return c
}

// RPC is the multiaddress of the running daemon's RPC.
func (k *Kubo) RPC() string {
	k.t.Helper()
	return strings.TrimSpace(readFile(k.t, filepath.Join(k.Dir, "api")))
}

// FixRPCPort gives the RPC a port of its own that stays the same, so that a
// peer finds the node again after it was unavailable. It returns the address.
func (k *Kubo) FixRPCPort() string {
	k.t.Helper()
	addr := fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", FreePort(k.t))
	k.Ipfs("config", "Addresses.API", addr)
	return addr
}

// AddService configures the service at the endpoint in Kubo.
func (k *Kubo) AddService(name, endpoint, token string) {
	k.t.Helper()
	k.Ipfs("pin", "remote", "service", "add", name, endpoint, token)
}

// RemotePin is a line of `ipfs pin remote ls`.
type RemotePin struct{ CID, Status, Name string }

// RemotePins runs `ipfs pin remote ls` with the arguments.
func (k *Kubo) RemotePins(service string, args ...string) []RemotePin {
	k.t.Helper()
	out := k.Ipfs(append([]string{"pin", "remote", "ls", "--service=" + service}, args...)...)
	var pins []RemotePin
	for _, line := range lines(out) {
		fields := strings.SplitN(line, "\t", 3)
		for len(fields) < 3 {
			fields = append(fields, "") // lines trims the tab before an empty name.
		}
		pins = append(pins, RemotePin{CID: fields[0], Status: fields[1], Name: fields[2]})
	}
	return pins
}

// AllStatuses is the flag that makes `ipfs pin remote ls` and `rm` take pins
// of every status, not only pinned ones.
const AllStatuses = "--status=queued,pinning,pinned,failed"

// pinned is how long Kubo may take to fetch and pin small content.
const pinned = 90 * time.Second
