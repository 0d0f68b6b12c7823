package raftstate

import (
	"bytes"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-msgpack/v2/codec"
	hraft "github.com/hashicorp/raft"
	"github.com/libp2p/go-libp2p"
	libp2praft "github.com/libp2p/go-libp2p-raft"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peerstore"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// TestPipeline_AFollowerThatRefusesEntriesGetsThemAgain has a follower whose log fails now and
// then, which ends the leader's pipeline to it. Without the containment the leader never sent it an
// entry again, and did not end (U105).
func TestPipeline_AFollowerThatRefusesEntriesGetsThemAgain(t *testing.T) {
	hosts := []pipelineHost{{loopbackHost(t)}, {loopbackHost(t)}}
	hosts[0].Peerstore().AddAddrs(hosts[1].ID(), hosts[1].Addrs(), peerstore.PermanentAddrTTL)
	hosts[1].Peerstore().AddAddrs(hosts[0].ID(), hosts[0].Addrs(), peerstore.PermanentAddrTTL)
	var servers []hraft.Server
	for _, h := range hosts {
		servers = append(servers, hraft.Server{ID: hraft.ServerID(h.ID().String()), Address: hraft.ServerAddress(h.ID().String())})
	}
	logs := &forgetful{InmemStore: hraft.NewInmemStore()}
	leader := newRaft(t, hosts[0], hraft.NewInmemStore(), servers[:1])
	await.Success(t, "a leader", func() error { return leader.VerifyLeader().Error() })
	_ = newRaft(t, hosts[1], logs, nil)
	noError(t, leader.AddVoter(servers[1].ID, servers[1].Address, 0, 0).Error())

	logs.failing.Store(true)
	for range 100 {
		var futures []hraft.ApplyFuture
		for range 20 {
			futures = append(futures, leader.Apply([]byte("entry"), 30*time.Second))
		}
		for _, future := range futures {
			within(t, "an entry is not committed", future.Error)
		}
	}
	if n := logs.failures.Load(); n < 20 {
		t.Errorf("the log failed %d times, too few for a test", n)
	}
}

func loopbackHost(t *testing.T) host.Host {
	t.Helper()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay())
	noError(t, err)
	t.Cleanup(func() { noError(t, h.Close()) })
	return h
}

// newRaft makes a Raft of its own with the transport that the cluster's has. It is stopped at the end.
func newRaft(t *testing.T, h pipelineHost, logs hraft.LogStore, servers []hraft.Server) *hraft.Raft {
	t.Helper()
	transport, err := libp2praft.NewLibp2pTransport(h, 5*time.Second)
	noError(t, err)
	cfg := hraft.DefaultConfig()
	cfg.LocalID = hraft.ServerID(h.ID().String())
	cfg.Logger = hclog.NewNullLogger()
	stable, snapshots := hraft.NewInmemStore(), hraft.NewInmemSnapshotStore()
	if servers != nil {
		noError(t, hraft.BootstrapCluster(cfg, logs, stable, snapshots, transport, hraft.Configuration{Servers: servers}))
	}
	r, err := hraft.NewRaft(cfg, &hraft.MockFSM{}, logs, stable, snapshots, transport)
	noError(t, err)
	t.Cleanup(func() {
		within(t, "Raft does not end", r.Shutdown().Error)
		noError(t, transport.Close())
	})
	return r
}

// within fails the test when f does not return.
func within(t *testing.T, what string, f func() error) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- f() }()
	select {
	case err := <-ended:
		noError(t, err)
	case <-time.After(await.Limit):
		t.Fatal(what)
	}
}

// forgetful is a log that fails at each tenth write.
type forgetful struct {
	*hraft.InmemStore
	failing          atomic.Bool
	writes, failures atomic.Int32
}

func (f *forgetful) StoreLogs(logs []*hraft.Log) error {
	if f.failing.Load() && f.writes.Add(1)%10 == 0 {
		f.failures.Add(1)
		return errors.New("no space")
	}
	return f.InmemStore.StoreLogs(logs)
}

func TestReply(t *testing.T) {
	encoded := func(text string, response any) []byte {
		var b bytes.Buffer
		encoder := codec.NewEncoder(&b, &codec.MsgpackHandle{})
		noError(t, encoder.Encode(text))
		noError(t, encoder.Encode(response))
		return b.Bytes()
	}
	header := hraft.RPCHeader{ProtocolVersion: 3, ID: []byte("a peer"), Addr: []byte("its address")}
	for name, test := range map[string]struct {
		bytes  []byte
		failed string
	}{
		"appended":    {encoded("", &hraft.AppendEntriesResponse{RPCHeader: header, Term: 3, LastLog: 7, Success: true}), ""},
		"refused":     {encoded("", &hraft.AppendEntriesResponse{RPCHeader: header, Term: 4, LastLog: 7}), "it did not append the entries"},
		"an error":    {encoded("no such command", &hraft.AppendEntriesResponse{Success: true}), "no such command"},
		"a vote":      {encoded("", &hraft.RequestVoteResponse{Term: 1, Granted: true}), "it did not append the entries"},
		"no response": {[]byte{0xc1, 0xc1}, "reading its response"},
	} {
		t.Run(name, func(t *testing.T) {
			// In parts, and with the beginning of the next one behind.
			for n := range len(test.bytes) {
				if size, failed := reply(test.bytes[:n]); name != "no response" && (size != 0 || failed != nil) {
					t.Fatalf("%d of %d bytes: size %d, %v", n, len(test.bytes), size, failed)
				}
			}
			size, failed := reply(append(bytes.Clone(test.bytes), 0xa0, 0x8))
			if name != "no response" && size != len(test.bytes) {
				t.Errorf("size %d of %d", size, len(test.bytes))
			}
			if test.failed == "" && failed != nil || test.failed != "" && (failed == nil || !bytes.Contains([]byte(failed.Error()), []byte(test.failed))) {
				t.Errorf("%v, want %q", failed, test.failed)
			}
		})
	}
}
