package clusterrpc_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/consensus/crdt"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/ipfs/go-datastore"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/routing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/watch"
)

// listedState calls before each read of the whole state.
type listedState struct {
	state.ReadOnly
	before func()
}

func (s listedState) List(ctx context.Context, out chan<- api.Pin) error {
	s.before()
	return s.ReadOnly.List(ctx, out)
}

type listedConsensus struct {
	ipfscluster.Consensus
	before func()
}

func (c listedConsensus) State(ctx context.Context) (state.ReadOnly, error) {
	st, err := c.Consensus.State(ctx)
	if err != nil {
		return nil, err
	}
	return listedState{st, c.before}, nil
}

// component makes a backend when the cluster hands out its client, as the daemon's does.
type component struct {
	events  *watch.Tracker
	backend atomic.Pointer[clusterrpc.Backend]
}

func (c *component) SetClient(client *rpc.Client) {
	c.backend.Store(clusterrpc.New(client, clusterrpc.Options{Events: c.events}))
}

func (c *component) Shutdown(context.Context) error {
	c.backend.Load().Close()
	return nil
}

func (c *component) ready() bool {
	b := c.backend.Load()
	return b != nil && b.Ready() == nil
}

// A start reads the state once, although the cluster begins with a recovery of all pins, which
// reads it too: that comes after.
func TestStart_ReadsTheStateOnce(t *testing.T) {
	var early, late atomic.Int64
	service := &component{}
	before := func() {
		if service.ready() {
			late.Add(1)
		} else {
			early.Add(1)
		}
	}
	p, err := clustertest.New(clustertest.Options{
		APIs: []ipfscluster.API{service}, OnTracker: func(events *watch.Tracker) { service.events = events },
		Consensus: func(
			_ context.Context, h host.Host, routes routing.Routing, topics *pubsub.PubSub, cfg *crdt.Config, store datastore.Batching,
		) (ipfscluster.Consensus, error) {
			inner, err := crdt.New(h, routes, topics, cfg, store)
			return listedConsensus{inner, before}, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	await.True(t, "ready", service.ready)
	await.True(t, "the cluster has recovered what is to recover", func() bool { return late.Load() > 0 })
	if n := early.Load(); n != 1 {
		t.Errorf("the state was read %d times before the service was ready", n)
	}
}

// holdingEvents are events whose recoveries can be held back.
type holdingEvents struct {
	clusterfake.Events[clusterrpc.Event]
	held, released atomic.Int64
}

func (e *holdingEvents) HoldRecovery() (release func()) {
	e.held.Add(1)
	return func() { e.released.Add(1) }
}

// What a service waits for does not keep the cluster from recovering pins for long.
func TestStart_HoldsRecoveriesForALimitedTime(t *testing.T) {
	fake, events := clusterfake.New(), &holdingEvents{}
	fake.Pinging = nil
	b := start(t, fake, clusterrpc.Options{Events: events})
	await.True(t, "held", func() bool { return events.held.Load() == 1 && b.Ready() != nil })
	b.clock.Advance(9 * time.Second)
	if events.released.Load() > 0 {
		t.Error("it is released early")
	}
	b.clock.Advance(time.Minute)
	await.True(t, "released", func() bool { return events.released.Load() > 0 })
}
