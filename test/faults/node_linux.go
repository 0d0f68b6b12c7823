package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Ports of every peer, the same in each namespace.
const (
	clusterPort = 9096
	swarmPort   = 4001
	apiPort     = 9097
	restPort    = 9094
	metricsPort = 8888
)

// programs are the programs under test.
type programs struct{ service, ipfs string }

// node is a peer daemon with its managed Kubo, in a namespace of its own.
type node struct {
	index    int
	name     string
	dir      string // the configuration folder, a disk of its own
	logFile  string
	ns       *namespace
	programs programs
	env      []string
	store    *disk // of the folder
	repo     *disk // of the IPFS repo in it
	http     *http.Client

	// behind: it has an empty folder and has not caught up, so no client uses it.
	behind atomic.Bool

	// action is held by whoever starts, stops, freezes or wipes the peer.
	action sync.Mutex
	// clockBusy is held while its clock is wrong.
	clockBusy sync.Mutex

	mu          sync.Mutex
	proc        *process
	incarnation int           // counts the starts
	expected    bool          // the process is meant to run
	offset      time.Duration // of its clock
	frozen      bool
	thawed      time.Time
	ended       func(n *node, err error)
}

// onEnd sets what is called when the daemon ends by itself.
func (n *node) onEnd(call func(n *node, err error)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ended = call
}

func newNode(index int, name string, ns *namespace, folder string, p programs, extra ...string) (*node, error) {
	n := &node{
		index: index, name: name, ns: ns, programs: p,
		dir: filepath.Join(folder, name), logFile: filepath.Join(folder, name+".log"),
	}
	n.env = append([]string{
		"HOME=" + folder, "TMPDIR=" + folder, "PATH=" + os.Getenv("PATH"), "IPFS_TELEMETRY=off", "NO_COLOR=1",
		// A data race is found in the log, not by the exit code.
		"GORACE=halt_on_error=0 exitcode=0",
	}, extra...)
	transport := &http.Transport{DialContext: ns.dial, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute}
	n.http = &http.Client{Transport: transport}
	return n, n.mount()
}

func (n *node) mount() (err error) {
	if n.store, err = newDisk(n.dir); err != nil {
		return err
	}
	n.repo, err = newDisk(filepath.Join(n.dir, "ipfs"))
	return err
}

// initialize writes a new configuration.
func (n *node) initialize(ctx context.Context, s settings) error {
	if err := n.command(ctx, "init", "--force", "--profile", "private", "--user", "operator", "--consensus", s.mode.consensus()); err != nil {
		return err
	}
	if err := n.initializeRepo(ctx, s.peering); err != nil {
		return err
	}
	return editJSON(filepath.Join(n.dir, "service.json"), func(o object) {
		n.configure(o, s)
	})
}

// initializeRepo makes the repo of the managed node, which stays connected to the
// provider: without a DHT nothing else finds content that is sent without
// origins.
func (n *node) initializeRepo(ctx context.Context, peering string) error {
	for _, args := range [][]string{{"init"}, {"config", "--json", "Peering.Peers", peering}} {
		cmd := exec.CommandContext(ctx, n.programs.ipfs, args...)
		cmd.Env = append(n.env, "IPFS_PATH="+n.repo.path)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: ipfs %v: %w\n%s", n.name, args, err, out)
		}
	}
	return nil
}

// configure opens the peer to the links, and makes what takes minutes by default
// fit into a run.
func (n *node) configure(o object, s settings) {
	cluster := o.at("cluster")
	cluster["peername"] = n.name
	cluster["listen_multiaddress"] = fmt.Sprintf("/ip4/%s/tcp/%d", n.ns.addr, clusterPort)
	cluster["monitor_ping_interval"] = "2s"
	cluster["peer_watch_interval"] = "2s"
	cluster["pin_recover_interval"] = "30s"
	cluster["state_sync_interval"] = "5s" // Removes pins that have expired.
	if s.copies > 0 {
		cluster["replication_factor_min"], cluster["replication_factor_max"] = s.copies, s.copies
	}
	s.mode.configure(o.at("consensus"))
	o.at("observations", "metrics")["enable_stats"] = true
	api := o.at("api", "pinsvcapi")
	credentials := object{}
	for user, password := range s.users {
		credentials[user] = password
	}
	api["basic_auth_credentials"] = credentials
	ipfs := o.at("ipfs_connector", "ipfshttp")
	ipfs["connect_swarms_delay"] = "5s"
	ipfs["pin_timeout"] = "20s"
	ipfs["unpin_timeout"] = "1m"
	managed := o.at("ipfs_connector", "managed")
	managed["binary_path"] = n.programs.ipfs
	managed["swarm_addresses"] = []string{fmt.Sprintf("/ip4/%s/tcp/%d", n.ns.addr, swarmPort)}
	managed["storage_max"] = "500MB"
	managed["restart_delay_max"] = "5s"
	if pebble := o.at("datastore", "pebble", "pebble_options"); len(pebble) > 0 {
		pebble["cache_size_bytes"] = 32 << 20
		pebble["mem_table_size"] = 4 << 20
	} else {
		delete(o, "datastore") // Raft keeps its state in memory.
	}
}

// command runs a command of the program on the folder to its end.
func (n *node) command(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, n.programs.service, append([]string{"--config", n.dir}, args...)...)
	cmd.Env = n.env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %s: %w\n%s", n.name, strings.Join(args, " "), err, out.Bytes())
	}
	return nil
}

// start runs the daemon. A clock that is wrong stays wrong.
func (n *node) start(args ...string) error {
	cmd := exec.Command(n.programs.service, append([]string{"--config", n.dir, "daemon"}, args...)...)
	cmd.Env, cmd.Dir = n.env, filepath.Dir(n.dir)
	p, err := n.ns.start(cmd, n.logFile, true)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.proc, n.expected = p, true
	n.incarnation++
	go n.watch(p)
	return p.clock.set(n.offset)
}

// watch reports a daemon that ends by itself.
func (n *node) watch(p *process) {
	<-p.exited
	n.mu.Lock()
	unexpected, ended := n.expected && n.proc == p, n.ended
	n.mu.Unlock()
	if unexpected && ended != nil {
		ended(n, p.err)
	}
}

// unexpect returns the running process, whose end is no surprise from now on.
func (n *node) unexpect() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.expected = false
	return n.proc
}

// expect says that the running process is not to end.
func (n *node) expect() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.expected = true
}

// kill ends the daemon as a power switch does; Kubo dies with it.
func (n *node) kill() error { return n.unexpect().kill() }

// stop ends the daemon in good order.
func (n *node) stop() error {
	full := n.store.isFull()
	err := n.unexpect().stop(stopTimeout)
	var exit *exec.ExitError
	if full && errors.As(err, &exit) {
		var said bool
		if said, err = n.saidLast(stopWhileFull); said {
			return nil
		}
		err = errors.Join(exit, err)
	}
	if err != nil {
		return fmt.Errorf("%s, stopped: %w", n.name, err)
	}
	return nil
}

// stopWhileFull is how a daemon ends that was stopped when its store was full: what could not be synced is an error
// of the stop.
const stopWhileFull = "error stopping the peer: the disk of the datastore is full"

// saidLast reports whether the last line of the daemon's log begins with text.
func (n *node) saidLast(text string) (bool, error) {
	log, err := os.ReadFile(n.logFile)
	if err != nil {
		return false, err
	}
	lines := bytes.Split(bytes.TrimSpace(log), []byte("\n"))
	return bytes.HasPrefix(lines[len(lines)-1], []byte(text)), nil
}

// keepFolder copies the peer's folder without the IPFS repo.
func (n *node) keepFolder(to string) error {
	entries, err := os.ReadDir(n.dir)
	if err != nil {
		return err
	}
	var all []error
	for _, e := range entries {
		if e.IsDir() && e.Name() != "ipfs" {
			all = append(all, os.CopyFS(filepath.Join(to, e.Name()), os.DirFS(filepath.Join(n.dir, e.Name()))))
		}
	}
	return errors.Join(all...)
}

// freeze stops the daemon and its Kubo, as a machine that hangs.
func (n *node) freeze() error {
	n.mu.Lock()
	n.frozen = true
	n.mu.Unlock()
	return n.signalAll(syscall.SIGSTOP)
}

// thaw ends a freeze.
func (n *node) thaw() error {
	err := n.signalAll(syscall.SIGCONT)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.frozen, n.thawed = false, time.Now()
	return err
}

// disturbed reports whether the peer was frozen at any time since.
func (n *node) disturbed(since time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.frozen || n.thawed.After(since)
}

func (n *node) signalAll(s syscall.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	err := n.proc.signal(s)
	if pid, kuboErr := n.kuboPID(); kuboErr == nil {
		err = errors.Join(err, syscall.Kill(pid, s))
	}
	return err
}

// pid is the process of the daemon.
func (n *node) pid() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.proc.cmd.Process.Pid
}

func (n *node) running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.proc != nil && n.proc.running()
}

// generation changes with each start of the daemon.
func (n *node) generation() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.incarnation
}

// setClock makes the daemon's clock wrong, also after a restart.
func (n *node) setClock(offset time.Duration) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.offset = offset
	if !n.proc.running() {
		return nil
	}
	return n.proc.clock.set(offset)
}

// ready is nil when the daemon says that it is ready.
func (n *node) ready(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.url(apiPort, "/ready"), nil)
	if err != nil {
		return err
	}
	status, body, err := send(n.http, req)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s: /ready: %d %s", n.name, status, body)
	}
	return err
}

func (n *node) url(port int, path string) string {
	return fmt.Sprintf("http://127.0.0.1:%d%s", port, path)
}

// id is the cluster's ID of the peer.
func (n *node) id() (string, error) {
	raw, err := os.ReadFile(filepath.Join(n.dir, "identity.json"))
	if err != nil {
		return "", err
	}
	var identity struct{ ID string }
	return identity.ID, json.Unmarshal(raw, &identity)
}

// clusterAddress is where other peers reach this one.
func (n *node) clusterAddress() (string, error) {
	id, err := n.id()
	return fmt.Sprintf("/ip4/%s/tcp/%d/p2p/%s", n.ns.addr, clusterPort, id), err
}

// wipe removes all that a stopped peer has, its identity only when asked to.
func (n *node) wipe(keepIdentity bool) error {
	identity, err := os.ReadFile(filepath.Join(n.dir, "identity.json"))
	if err != nil {
		return err
	}
	if err := errors.Join(n.repo.unmount(), n.store.unmount()); err != nil {
		return err
	}
	if err := n.mount(); err != nil {
		return err
	}
	if !keepIdentity {
		return nil
	}
	return os.WriteFile(filepath.Join(n.dir, "identity.json"), identity, 0o600)
}
