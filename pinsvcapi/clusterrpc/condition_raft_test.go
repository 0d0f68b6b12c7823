//go:build !race || nocheckptr

// Raft keeps its log in github.com/boltdb/bolt; see cmd/peer/raft_test.go.

package clusterrpc_test

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/consensus/crdt"
	"github.com/ipfs-cluster/ipfs-cluster/consensus/raft"
	"github.com/ipfs/go-datastore"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/routing"

	daemon "github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/raftstate"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// between calls f before the first removal of a record is handed to the consensus.
type between struct {
	ipfscluster.Consensus
	once    sync.Once
	f       func(ipfscluster.Consensus)
	removed chan<- error // has room for the first one
}

func (b *between) LogUnpin(ctx context.Context, pin api.Pin) (err error) {
	first := false
	b.once.Do(func() { first = true })
	if !first {
		return b.Consensus.LogUnpin(ctx, pin)
	}
	b.f(b.Consensus)
	err = b.Consensus.LogUnpin(ctx, pin)
	b.removed <- err
	return err
}

// A is replaced by B, which becomes pinned. Between the decision of this peer to unpin A and the commit
// of that, another peer adds A anew, and answers with 202: that stays.
func TestReplaced_AReAddElsewhereBeforeTheCommitStays(t *testing.T) {
	for name, inner := range map[string]clustertest.NewConsensus{
		"CRDT": daemon.NewCRDT,
		"Raft": func(_ context.Context, h host.Host, _ routing.Routing, _ *pubsub.PubSub, _ *crdt.Config, store datastore.Batching) (ipfscluster.Consensus, error) {
			cfg := &raft.Config{}
			if err := cfg.Default(); err != nil {
				return nil, err
			}
			cfg.DataFolder, cfg.InitPeerset, cfg.WaitForLeaderTimeout = filepath.Join(t.TempDir(), "raft"), []peer.ID{h.ID()}, 10*time.Second
			return raftstate.New(h, cfg, store, raftstate.Options{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			hidden := pinsvctest.RawCID(1)
			var s service
			added, removed := make(chan struct{}), make(chan error, 1)
			s = newService(t, clustertest.Options{Consensus: func(ctx context.Context, h host.Host, r routing.Routing, ps *pubsub.PubSub, cfg *crdt.Config, store datastore.Batching) (ipfscluster.Consensus, error) {
				c, err := inner(ctx, h, r, ps, cfg, store)
				return &between{Consensus: c, removed: removed, f: func(c ipfscluster.Consensus) {
					rec, err := s.peer.Cluster.PinGet(ctx, api.NewCid(hidden))
					if err != nil {
						t.Error(err)
					}
					rec.Name, rec.Metadata = "added anew, answered with 202", nil // As ipfs-cluster-ctl, or a client at another peer.
					rec.Timestamp = time.Now().Add(time.Second)
					if err := c.LogPin(ctx, rec); err != nil {
						t.Error(err)
					}
					close(added)
				}}, err
			}})
			old := s.add(pinsvc.Pin{CID: hidden, Name: "A"})
			s.becomes(old.RequestID, pinsvc.StatusPinned)
			st, err := s.Replace(t.Context(), "", old.RequestID, pinsvc.Pin{CID: pinsvctest.RawCID(2), Name: "B"})
			if err != nil {
				t.Fatal(err)
			}
			s.becomes(st.RequestID, pinsvc.StatusPinned)
			<-added
			if err := <-removed; err == nil || !strings.Contains(err.Error(), clusterrpc.ErrChanged.Error()) {
				t.Errorf("the removal returned %v", err)
			}
			if rec, err := s.peer.Cluster.PinGet(t.Context(), api.NewCid(hidden)); err != nil || rec.Name == "A" {
				t.Errorf("the state has %q: %v", rec.Name, err)
			}
		})
	}
}
