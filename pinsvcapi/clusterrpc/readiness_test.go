package clusterrpc_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func TestHealth_APinnedPinStaysPinnedWhileIPFSIsUnavailable(t *testing.T) {
	t.Parallel()
	s := newService(t, clustertest.Options{})
	old := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1)})
	s.becomes(old.RequestID, pinsvc.StatusPinned)
	s.peer.Node.SetUnavailable(true)
	if got := s.get(old.RequestID); got.Status != pinsvc.StatusPinned {
		t.Errorf("%s", got.Status)
	}
	if got := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(1), Name: "renamed"}); got.Status != pinsvc.StatusPinned {
		t.Errorf("renamed: %s", got.Status)
	}
	fresh := s.add(pinsvc.Pin{CID: pinsvctest.RawCID(2)}) // It is accepted, and kept.
	trackerReports(t, s.peer, pinsvctest.RawCID(2), api.TrackerStatusPinError)
	await.Success(t, "the fresh pin says what it waits for", func() error {
		got := s.get(fresh.RequestID)
		if got.Status != pinsvc.StatusQueued || got.Info["status_details"] != "waiting for the IPFS node of a peer: it is unavailable" {
			return fmt.Errorf("%s %v", got.Status, got.Info)
		}
		return nil
	})
	for _, id := range []string{old.RequestID, fresh.RequestID} {
		got := s.get(id)
		if want := id == old.RequestID; got.Status == pinsvc.StatusFailed || (got.Status == pinsvc.StatusPinned) != want {
			t.Errorf("%s is %s %v", id, got.Status, got.Info)
		}
	}
	await.Success(t, "Health says so", func() error {
		if s.Health() == nil {
			return errors.New("well")
		}
		return nil
	})
	s.peer.Node.SetUnavailable(false)
	if err := s.peer.Cluster.RecoverAllLocal(t.Context(), make(chan api.PinInfo, 10)); err != nil {
		t.Fatal(err) // The cluster's own round, which comes every 12 minutes.
	}
	s.becomes(fresh.RequestID, pinsvc.StatusPinned)
	await.Success(t, "Health is well", s.Health)
}

// The peer asks its IPFS node before it responds for itself.
func TestProbePeer_AStuckIPFSNodeIsNotTakenForAStuckPeer(t *testing.T) {
	for _, stuck := range []struct{ method, want string }{
		{"", "the IPFS node does not respond"},
		{"PeerMonitor.LatestMetrics", "the cluster peer does not respond"},
		{"Consensus.Peers", "the cluster peer does not respond"},
	} {
		b := ready(t, clusterfake.New(), clusterrpc.Options{StatusTimeout: 20 * time.Millisecond})
		t.Cleanup(b.fake.Hang("Cluster.ID"))
		if stuck.method != "" {
			t.Cleanup(b.fake.Hang(stuck.method))
		}
		_, err := b.ProbePeer(t.Context())
		if err == nil || !strings.HasPrefix(err.Error(), stuck.want) {
			t.Errorf("%s hangs: %v", stuck.method, err)
		}
	}
}
