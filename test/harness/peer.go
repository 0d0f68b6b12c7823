package harness

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Peer is a peer daemon with a configuration folder of its own.
type Peer struct {
	Name string
	// Dir is its configuration folder.
	Dir string
	// User is the name of its one user, Password the user's password.
	User, Password string

	h    *Harness
	t    testing.TB
	bin  string
	env  []string
	proc *Process
}

// InitOptions are how a peer is initialized.
type InitOptions struct {
	// Args are further arguments of init.
	Args []string
	// Env is further environment of all its commands.
	Env []string
	// ExternalIPFS is the RPC multiaddress of a Kubo that somebody else runs;
	// empty for a managed one.
	ExternalIPFS string
}

// user is the name of the user that every peer of a test has.
const user = "alice"

// Peer initializes a peer with the private profile and one user, on ports of
// its own.
func (h *Harness) Peer(opts InitOptions) *Peer {
	h.t.Helper()
	p := h.EmptyPeer(opts.Env...)
	p.User = user
	args := append([]string{"init", "--profile", "private", "--user", user}, opts.Args...)
	if opts.ExternalIPFS != "" {
		args = append(args, "--ipfs", opts.ExternalIPFS)
	}
	p.Command(args...)
	p.Edit(func(c Section) {
		p.movePorts(c)
		p.Password = c.Section("api", "pinsvcapi", "basic_auth_credentials").String(user)
	})
	return p
}

// EmptyPeer is a peer without a configuration: its folder does not exist yet.
func (h *Harness) EmptyPeer(env ...string) *Peer {
	h.t.Helper()
	name, dir := h.folder("peer")
	p := &Peer{Name: name, Dir: filepath.Join(dir, "config"), h: h, t: h.t, bin: Service(h.t)}
	p.env = h.environment(env...)
	return p
}

// movePorts gives every listener of the configuration a port of its own.
func (p *Peer) movePorts(c Section) {
	loopback := func(format string) string { return fmt.Sprintf(format, FreePort(p.t)) }
	c.Section("cluster").Set("listen_multiaddress", []string{loopback("/ip4/127.0.0.1/tcp/%d")})
	for _, s := range []struct{ parent, name, key string }{
		{"api", "restapi", "http_listen_multiaddress"},
		{"api", "pinsvcapi", "http_listen_multiaddress"},
		{"api", "ipfsproxy", "listen_multiaddress"},
	} {
		if c.Section(s.parent).Has(s.name) {
			c.Section(s.parent, s.name).Set(s.key, loopback("/ip4/127.0.0.1/tcp/%d"))
		}
	}
}

// Try runs a command of the program on the folder.
func (p *Peer) Try(args ...string) Result { return p.TryStdin("", args...) }

// TryStdin is Try with a standard input.
func (p *Peer) TryStdin(stdin string, args ...string) Result {
	argv := append([]string{p.bin, "--config", p.Dir}, args...)
	return run(command{dir: p.h.Dir, env: p.env, stdin: stdin, argv: argv})
}

// Command runs a command of the program that has to succeed and returns what
// it printed.
func (p *Peer) Command(args ...string) string {
	p.t.Helper()
	return p.Try(args...).must(p.t, append([]string{"ipfs-cluster-pinsvc"}, args...))
}

// Clone is a peer with a copy of the folder, and so of the identity, that runs
// another program: the two run in turn, never at once.
func (p *Peer) Clone(program string) *Peer {
	p.t.Helper()
	name, dir := p.h.folder("peer")
	twin := *p
	twin.Name, twin.Dir, twin.bin, twin.proc = name, filepath.Join(dir, "config"), program, nil
	if err := os.CopyFS(twin.Dir, os.DirFS(p.Dir)); err != nil {
		p.t.Fatal(err)
	}
	return &twin
}

// Start runs the daemon and waits until it is ready.
func (p *Peer) Start(args ...string) {
	p.t.Helper()
	p.StartOnly(args...)
	p.WaitReady()
}

// StartOnly runs the daemon without waiting.
func (p *Peer) StartOnly(args ...string) { p.t.Helper(); p.run(nil, args...) }

// StartLogging is StartOnly with other log levels, such as info,crdt:debug.
func (p *Peer) StartLogging(levels string, args ...string) {
	p.t.Helper()
	p.run([]string{"--loglevel", levels}, args...)
}

// StartDebug is Start with every message of the log.
func (p *Peer) StartDebug() {
	p.t.Helper()
	p.run([]string{"--debug"})
	p.WaitReady()
}

func (p *Peer) run(global []string, args ...string) {
	p.t.Helper()
	argv := append([]string{p.bin, "--config", p.Dir}, global...)
	argv = append(append(argv, "daemon"), args...)
	p.proc = p.h.start(p.Name, p.h.Dir, p.env, argv...)
}

// Process is the running daemon.
func (p *Peer) Process() *Process { return p.proc }

// Stop interrupts the daemon and wants it to end cleanly.
func (p *Peer) Stop() { p.t.Helper(); p.proc.Stop() }

// Kill ends the daemon at once.
func (p *Peer) Kill() { p.t.Helper(); p.proc.Kill() }

// Edit changes service.json.
func (p *Peer) Edit(change func(Section)) {
	p.t.Helper()
	path := filepath.Join(p.Dir, "service.json")
	c := p.Config()
	change(c)
	out, err := json.MarshalIndent(c.object, "", "  ")
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, out, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// Config reads service.json.
func (p *Peer) Config() Section {
	p.t.Helper()
	return readJSON(p.t, filepath.Join(p.Dir, "service.json"))
}

// ID is the cluster peer ID.
func (p *Peer) ID() string {
	p.t.Helper()
	return p.Identity().String("id")
}

// Identity reads identity.json.
func (p *Peer) Identity() Section {
	p.t.Helper()
	return readJSON(p.t, filepath.Join(p.Dir, "identity.json"))
}

// Address is where other peers reach this one.
func (p *Peer) Address() string {
	p.t.Helper()
	return p.Config().Section("cluster").Strings("listen_multiaddress")[0] + "/p2p/" + p.ID()
}

// Token has the program print a token of the user.
func (p *Peer) Token() string {
	p.t.Helper()
	return strings.TrimSpace(p.Command("token", "--user", p.User))
}

// Secret is the secret of the cluster that the peer belongs to.
func (p *Peer) Secret() string {
	p.t.Helper()
	return p.Config().Section("cluster").String("secret")
}

// Secrets are what no log may have: of the peer, of its user, and of its managed IPFS node once that was
// started.
func (p *Peer) Secrets() []string {
	p.t.Helper()
	api := p.Config().Section("api", "pinsvcapi")
	all := []string{
		p.Secret(), p.Password, base64.StdEncoding.EncodeToString([]byte(p.User + ":" + p.Password)),
		p.Identity().String("private_key"),
	}
	if api.Has("private_key") {
		all = append(all, api.String("private_key"))
	}
	if node := filepath.Join(p.Dir, "ipfs", "config"); exists(node) {
		all = append(all, readJSON(p.t, node).Section("Identity").String("PrivKey"))
	}
	return all
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Cluster starts n ready peers that are one cluster: the later ones join the
// first.
func (h *Harness) Cluster(n int, consensus string) []*Peer {
	h.t.Helper()
	args := []string{"--consensus", consensus}
	first := h.Peer(InitOptions{Args: args})
	first.quickCRDT()
	first.Start()
	peers := []*Peer{first}
	for len(peers) < n {
		next := h.Joining(first, consensus)
		next.StartOnly("--bootstrap", first.Address())
		peers = append(peers, next)
	}
	for _, peer := range peers[1:] {
		peer.WaitReady()
	}
	return peers
}

// Joining is a peer with the cluster secret of another, which does not run yet.
func (h *Harness) Joining(other *Peer, consensus string) *Peer {
	h.t.Helper()
	p := h.Peer(InitOptions{
		Args: []string{"--consensus", consensus}, Env: []string{"CLUSTER_SECRET=" + other.Secret()},
	})
	p.quickCRDT()
	return p
}

// quickCRDT has peers announce the state of their CRDT to each other every few
// seconds. A peer that missed an update learns of it then; by default that may
// take a minute.
func (p *Peer) quickCRDT() {
	p.t.Helper()
	p.Edit(func(c Section) {
		if c.Section("consensus").Has("crdt") {
			c.Section("consensus", "crdt").Set("rebroadcast_interval", "2s")
		}
	})
}

// Ipfs runs the Kubo command line on the managed node's repo.
func (p *Peer) Ipfs(args ...string) string {
	p.t.Helper()
	return p.Command(append([]string{"ipfs"}, args...)...)
}

// HoldsOffline is nil when the managed node holds all of the content. The
// command runs offline, so the network is not searched for it.
func (p *Peer) HoldsOffline(cid string) error {
	r := p.Try("ipfs", "--offline", "dag", "stat", "--progress=false", cid)
	if r.Err != nil {
		return fmt.Errorf("%w: %s", r.Err, r.Stderr)
	}
	return nil
}
