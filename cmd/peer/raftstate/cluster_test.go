//go:build !race || nocheckptr

package raftstate

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/consensus/raft"
	"github.com/ipfs-cluster/ipfs-cluster/datastore/inmem"
	"github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/p2p/net/conngater"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// deadline bounds failures; no test waits for it to pass.
const deadline = time.Minute

// member is a Raft peer on loopback: the consensus, the tracker that it tells, and the RPC between
// the peers that both need. What is not Raft is left out.
type member struct {
	t      *testing.T
	key    crypto.PrivKey
	id     peer.ID
	folder string
	// plain: it is a peer of ipfs-cluster-service.
	plain bool
	// configure changes the defaults.
	configure func(*raft.Config)

	host      host.Host
	gater     *conngater.BasicConnectionGater
	consensus ipfscluster.Consensus
	ours      *Consensus // nil when plain
	store     datastore.Datastore
	tracker   *recorder
	follower  *Tracker
	stopped   bool
	client    *rpc.Client
	// frozen lets redirected writes wait until it thaws.
	disk   *full
	frozen atomic.Bool
	thawed chan struct{}
	// waiting are the writes that wait for that.
	waiting atomic.Int32
	// logFull is set while the disk of the log has no space for a write, and handed counts the writes that other
	// peers redirected to this one.
	logFull atomic.Bool
	handed  atomic.Int32
}

// errNoSpace is what a member says whose log is full.
var errNoSpace = errors.New("no space left on device")

func (m *member) space() error {
	if m.logFull.Load() {
		return errNoSpace
	}
	return nil
}

// recorder is the tracker of a member. It reads all of a pin, as a tracker does.
type recorder struct {
	ipfscluster.PinTracker
	mu      sync.Mutex
	tracked map[api.Cid]string // The name; the pin is gone once it is untracked.
	left    []api.Cid          // What was untracked, in that order.
	seen    []string           // What marks or faults it was told.
}

func (r *recorder) Track(_ context.Context, pin api.Pin) error {
	text, err := json.Marshal(pin)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tracked[pin.Cid] = pin.Name
	if _, marked := pin.Metadata[markKey]; marked || err != nil {
		r.seen = append(r.seen, string(text))
	}
	return err
}

func (r *recorder) Untrack(_ context.Context, c api.Cid) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.tracked, c)
	r.left = append(r.left, c)
	if isBarrier(c) {
		r.seen = append(r.seen, "untrack "+c.String())
	}
	return nil
}

func (r *recorder) SetClient(*rpc.Client)          {}
func (r *recorder) Shutdown(context.Context) error { return nil }

// blind is the tracker of a plain member: it looks at nothing.
type blind struct{ ipfscluster.PinTracker }

func (blind) Track(context.Context, api.Pin) error   { return nil }
func (blind) Untrack(context.Context, api.Cid) error { return nil }

// consensusRPC and trackerRPC are the services that Raft calls.
type consensusRPC struct{ m *member }

func (s consensusRPC) LogPin(ctx context.Context, in api.Pin, _ *struct{}) error {
	s.m.handed.Add(1)
	return s.m.consensus.LogPin(s.m.thaw(ctx), in)
}

// thaw waits until the member is not frozen. That the other end has given up meanwhile it does not see
// yet, as a process that has just been thawed.
func (m *member) thaw(ctx context.Context) context.Context {
	if !m.frozen.Load() {
		return ctx
	}
	m.waiting.Add(1)
	select {
	case <-m.thawed:
	case <-m.t.Context().Done():
	}
	return context.WithoutCancel(ctx)
}

func (s consensusRPC) LogUnpin(ctx context.Context, in api.Pin, _ *struct{}) error {
	s.m.handed.Add(1)
	return s.m.consensus.LogUnpin(s.m.thaw(ctx), in)
}

func (s consensusRPC) RmPeer(ctx context.Context, in peer.ID, _ *struct{}) error {
	return s.m.consensus.RmPeer(ctx, in)
}

type trackerRPC struct{ tracker ipfscluster.PinTracker }

func (s trackerRPC) Track(ctx context.Context, in api.Pin, _ *struct{}) error {
	return s.tracker.Track(ctx, in)
}

func (s trackerRPC) Untrack(ctx context.Context, in api.Pin, _ *struct{}) error {
	return s.tracker.Untrack(ctx, in.Cid)
}

// members makes n peers of one cluster and starts them; the first plain ones are of
// ipfs-cluster-service.
func members(t *testing.T, n, plain int, configure func(*raft.Config)) []*member {
	t.Helper()
	all := make([]*member, n)
	for i := range all {
		key, _, err := crypto.GenerateEd25519Key(rand.Reader)
		noError(t, err)
		id, err := peer.IDFromPrivateKey(key)
		noError(t, err)
		all[i] = &member{t: t, key: key, id: id, folder: filepath.Join(t.TempDir(), "raft"), plain: i < plain, configure: configure, stopped: true, thawed: make(chan struct{})}
	}
	for _, m := range all {
		m.listen()
	}
	for _, m := range all {
		m.start(all)
	}
	for _, m := range all {
		m.awaitSync()
	}
	t.Cleanup(func() {
		for _, m := range all {
			m.stop()
		}
	})
	return all
}

func (m *member) listen() {
	m.t.Helper()
	var err error
	m.gater, err = conngater.NewBasicConnectionGater(nil)
	noError(m.t, err)
	m.host, err = libp2p.New(libp2p.Identity(m.key), libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"),
		libp2p.DisableRelay(), libp2p.ConnectionGater(m.gater))
	noError(m.t, err)
}

func (m *member) start(all []*member) {
	m.t.Helper()
	m.create(all)
	m.connect()
}

// create makes the components of a member, and connect hands them their RPC client.
func (m *member) create(all []*member) {
	m.t.Helper()
	cfg := &raft.Config{}
	noError(m.t, cfg.Default())
	cfg.DataFolder = m.folder
	cfg.WaitForLeaderTimeout = 5 * time.Second
	for _, other := range all {
		cfg.InitPeerset = append(cfg.InitPeerset, other.id)
		if other != m {
			other.host.Peerstore().AddAddrs(m.id, m.host.Addrs(), peerstore.PermanentAddrTTL)
			m.host.Peerstore().AddAddrs(other.id, other.host.Addrs(), peerstore.PermanentAddrTTL)
		}
	}
	if m.configure != nil {
		m.configure(cfg)
	}
	m.store = inmem.New()
	m.tracker = &recorder{tracked: make(map[api.Cid]string)}
	var tracker ipfscluster.PinTracker = m.tracker
	if m.plain {
		tracker = blind{} // U31: reading the pin here is a data race.
		inner, err := raft.NewConsensus(m.host, cfg, m.store, false)
		noError(m.t, err)
		m.consensus = inner
	} else {
		var err error
		m.disk = &full{Datastore: m.store}
		m.ours, err = New(m.host, cfg, m.disk, Options{Full: m.space})
		noError(m.t, err)
		m.consensus = m.ours
		m.follower = NewTracker(m.tracker, m.ours.State, m.ours.Applied())
		m.ours.OnRestore(m.follower.Restored)
		tracker = m.follower
	}
	server := rpc.NewServer(m.host, "test/1")
	noError(m.t, server.RegisterName("Consensus", consensusRPC{m}))
	noError(m.t, server.RegisterName("PinTracker", trackerRPC{tracker}))
	m.client = rpc.NewClientWithServer(m.host, "test/1", server)
	m.stopped = false
}

func (m *member) connect() {
	if m.follower != nil {
		m.follower.SetClient(m.client)
	}
	m.consensus.SetClient(m.client)
}

// awaitSync waits as a peer does before it is ready.
func (m *member) awaitSync() {
	m.t.Helper()
	await.Success(m.t, "readiness", func() error { return m.consensus.WaitForSync(m.t.Context()) })
}

func (m *member) stop() {
	if m.stopped {
		return
	}
	m.stopped = true
	ctx := context.Background()
	if err := m.consensus.Shutdown(ctx); err != nil {
		m.t.Logf("stopping a peer: %s", err)
	}
	if m.follower != nil {
		_ = m.follower.Shutdown(ctx)
	}
	_ = m.host.Close()
}

// restart stops a member and starts it on what it has on the disk.
func (m *member) restart(all []*member) {
	m.t.Helper()
	m.stop()
	m.listen()
	m.start(all)
}

// kill stops a member and leaves its folder as it was before, without the snapshot that Raft makes
// when it is stopped. Nothing may be written meanwhile.
func (m *member) kill() {
	m.t.Helper()
	killed := m.folder + ".killed"
	noError(m.t, os.CopyFS(killed, os.DirFS(m.folder)))
	m.stop()
	noError(m.t, os.RemoveAll(m.folder))
	noError(m.t, os.Rename(killed, m.folder))
}

// cut takes a running member off the network, and heal ends that.
func (m *member) cut(all []*member) {
	for _, other := range all {
		if other != m {
			noError(m.t, m.gater.BlockPeer(other.id))
			_ = m.host.Network().ClosePeer(other.id)
		}
	}
}

func (m *member) heal(all []*member) {
	for _, other := range all {
		if other != m {
			noError(m.t, m.gater.UnblockPeer(other.id))
		}
	}
	for _, other := range all {
		if other != m {
			ctx := network.WithForceDirectDial(m.t.Context(), "healed")
			_, _ = m.host.Network().DialPeer(ctx, other.id)
		}
	}
}

// leader waits until all of the members agree on a leader and returns it.
func leader(t *testing.T, all []*member) *member {
	t.Helper()
	var found *member
	await.Success(t, "a leader", func() error {
		var id peer.ID
		for _, m := range all {
			l, err := m.consensus.Leader(t.Context())
			if err != nil || id != "" && l != id {
				return fmt.Errorf("leader of %s: %s, %v", m.id, l, err)
			}
			id = l
		}
		for _, m := range all {
			if m.id == id {
				found = m
				return nil
			}
		}
		return fmt.Errorf("the leader is %s", id)
	})
	return found
}

func (m *member) get(c api.Cid) (api.Pin, error) {
	st, err := m.consensus.State(m.t.Context())
	if err != nil {
		return api.Pin{}, err
	}
	return st.Get(m.t.Context(), c)
}

// expect compares the whole state with what was asked for, byte by byte.
func (m *member) expect(asked map[api.Cid]api.Pin) error {
	var all []error
	for c, want := range asked {
		got, err := m.get(c)
		if err != nil {
			all = append(all, fmt.Errorf("pin %s: %w", c, err))
			continue
		}
		wantRow, _ := want.ProtoMarshal()
		gotRow, _ := got.ProtoMarshal()
		if string(wantRow) != string(gotRow) {
			wantText, _ := json.Marshal(want)
			gotText, _ := json.Marshal(got)
			all = append(all, fmt.Errorf("pin %s is\n%s, want\n%s", c, gotText, wantText))
		}
	}
	for c := range m.list() {
		if _, ok := asked[c]; !ok {
			all = append(all, fmt.Errorf("pin %s was removed", c))
		}
	}
	if len(all) > 3 {
		all = append(all[:3], fmt.Errorf("and %d more", len(all)-3))
	}
	return errors.Join(all...)
}

func (m *member) list() map[api.Cid]api.Pin {
	m.t.Helper()
	st, err := m.consensus.State(m.t.Context())
	noError(m.t, err)
	out := make(chan api.Pin)
	done := make(chan error, 1)
	go func() { done <- st.List(m.t.Context(), out) }()
	pins := make(map[api.Cid]api.Pin)
	for pin := range out {
		pins[pin.Cid] = pin
	}
	noError(m.t, <-done)
	return pins
}

// clean reports what the tracker was told and must not be.
func (m *member) clean() {
	m.t.Helper()
	m.tracker.mu.Lock()
	defer m.tracker.mu.Unlock()
	for _, told := range m.tracker.seen {
		m.t.Errorf("the tracker was told %s", told)
	}
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
