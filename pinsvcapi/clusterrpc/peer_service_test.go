package clusterrpc_test

// This file has the fixture of tests on real peers. That of tests on fake services is in
// fake_backend_test.go.

import (
	"fmt"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// service is one peer whose IPFS node pins at once, and a backend on it.
type service struct {
	*clusterrpc.Backend
	t    *testing.T
	peer *clustertest.Peer
}

func newService(t *testing.T, opts clustertest.Options) service {
	p := clustertest.Start(t, 1, opts)[0]
	return service{newBackend(t, p, clusterrpc.Options{}), t, p}
}

func (s service) add(pin pinsvc.Pin) pinsvc.PinStatus {
	s.t.Helper()
	st, err := s.Add(s.t.Context(), "", pin)
	if err != nil {
		s.t.Fatalf("Add(%s): %v", pin.CID, err)
	}
	return st
}

// counts waits until the view has seen what others did.
func (s service) counts(q pinsvc.Query, want int) {
	s.t.Helper()
	await.Success(s.t, "the view has seen it", func() error {
		if page := s.list(q); page.Count != want {
			return fmt.Errorf("%d pins, want %d", page.Count, want)
		}
		return nil
	})
}

func (s service) get(requestID string) pinsvc.PinStatus {
	s.t.Helper()
	st, err := s.Get(s.t.Context(), "", requestID)
	if err != nil {
		s.t.Fatalf("Get(%s): %v", requestID, err)
	}
	return st
}

func (s service) list(q pinsvc.Query) pinsvc.PinResults {
	s.t.Helper()
	if q.Limit == 0 {
		q.Limit = pinsvc.DefaultLimit
	}
	if q.Statuses == 0 {
		q.Statuses = pinsvc.AllStatuses
	}
	page, err := pinsvctest.Results(s.List(s.t.Context(), "", q))
	if err != nil {
		s.t.Fatalf("List: %v", err)
	}
	return page
}

// becomes waits until the pin has the status.
func (s service) becomes(requestID string, want pinsvc.Status) {
	s.t.Helper()
	await.Success(s.t, fmt.Sprintf("%s is %s", requestID, want), func() error {
		if got := s.get(requestID); got.Status != want {
			return fmt.Errorf("%s %v", got.Status, got.Info)
		}
		return nil
	})
}

// newCluster is three peers of which two have to hold a pin and three may,
// and a backend on the first.
func newCluster(t *testing.T) (service, []*clustertest.Peer) {
	peers := clustertest.Start(t, 3, clustertest.Options{ReplicationMin: 2, ReplicationMax: 3})
	for i, p := range peers {
		p.Node.HoldPins(true)
		p.Node.SetAddresses(fmt.Sprintf("/ip4/1.2.3.%d/tcp/4001", i+1), "/ip4/192.168.0.1/tcp/4001")
	}
	return service{newBackend(t, peers[0], clusterrpc.Options{}), t, peers[0]}, peers
}

// everyoneHas waits until the pin is in the state of all the peers.
func everyoneHas(t *testing.T, peers []*clustertest.Peer, c cid.Cid) {
	t.Helper()
	for _, p := range peers {
		await.Success(t, "the pin is everywhere", func() error {
			_, err := p.Cluster.PinGet(t.Context(), api.NewCid(c))
			return err
		})
	}
}

// impatient does at once what production leaves some time.
func impatient(opts clusterrpc.Options) clusterrpc.Options {
	opts.RetryDelay = 20 * time.Millisecond
	return opts
}
