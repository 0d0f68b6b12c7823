package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	daemon "github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/watch"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// clusterCost is what a pin costs a cluster of some peers on one machine, from the
// POST until every peer's service says pinned. What the peers do without any pin is
// subtracted.
type clusterCost struct {
	peers, pins int
	took        time.Duration
	messages    float64       // of pubsub, sent and received, for each peer and pin
	bytes       float64       // sent and received, for each peer and pin
	cpu         time.Duration // for each peer and pin
	idle        float64       // of one core, by each peer, without any pin
}

// copies is how many peers hold a pin of the simulation, where there are as many.
const copies = 3

// simulation is a cluster of in-process peers, each with a backend of ours.
type simulation struct {
	peers    []*clustertest.Peer
	backends []*clusterrpc.Backend
}

func (s settings) measureCluster(ctx context.Context, n int) (cost *clusterCost, err error) {
	sim, err := newSimulation(ctx, n)
	defer func() { sim.close() }()
	if err != nil {
		return nil, err
	}
	settle(ctx, s.effort.settle)
	idle := sim.during(func() { backoff.Sleep(ctx, s.effort.idle) })
	cost = &clusterCost{peers: n, pins: s.effort.clusterPins}
	work := sim.during(func() {
		begin := time.Now()
		err = sim.pin(ctx, cost.pins)
		cost.took = time.Since(begin)
	})
	if err != nil {
		return nil, err
	}
	share := work.took.Seconds() / idle.took.Seconds()
	each := float64(n * cost.pins)
	cost.messages = max(0, float64(work.messages)-share*float64(idle.messages)) / each
	cost.bytes = max(0, float64(work.bytes)-share*float64(idle.bytes)) / each
	cost.cpu = time.Duration(max(0, work.cpu.Seconds()-share*idle.cpu.Seconds()) / each * float64(time.Second))
	cost.idle = idle.cpu.Seconds() / idle.took.Seconds() / float64(n)
	return cost, nil
}

func newSimulation(ctx context.Context, n int) (*simulation, error) {
	sim := &simulation{}
	for range n {
		var events *watch.Tracker
		p, err := clustertest.New(clustertest.Options{
			Join:           sim.peers,
			ReplicationMin: min(n, copies), ReplicationMax: min(n, copies),
			OnTracker: func(t *watch.Tracker) { events = t },
			Consensus: daemon.NewCRDT,
		})
		if err != nil {
			return sim, err
		}
		sim.peers = append(sim.peers, p)
		sim.backends = append(sim.backends, clusterrpc.New(p.Client, clusterrpc.Options{Events: events, Consensus: p.State, WaitsForCommit: true}))
	}
	for i, p := range sim.peers {
		err := errors.Join(p.Ready(ctx), p.Members(ctx, n), poll(ctx, "the service is ready", sim.backends[i].Ready))
		if err != nil {
			return sim, err
		}
	}
	return sim, nil
}

func (sim *simulation) close() {
	var all sync.WaitGroup
	for i, p := range sim.peers {
		all.Go(func() {
			if i < len(sim.backends) {
				sim.backends[i].Close()
			}
			p.Close()
		})
	}
	all.Wait()
}

// pin makes pins through the first peer and waits until every peer says pinned of
// all of them.
func (sim *simulation) pin(ctx context.Context, count int) error {
	var (
		clients sync.WaitGroup
		next    atomic.Int64
		failure atomic.Pointer[error]
	)
	for range connections {
		clients.Go(func() {
			for failure.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= count {
					return
				}
				pin := pinsvc.Pin{CID: pinCID(seriesOurs, i), Name: pinName(i)}
				if _, err := sim.backends[0].Add(ctx, user, pin); err != nil {
					failure.Store(&err)
				}
			}
		})
	}
	clients.Wait()
	if err := failure.Load(); err != nil {
		return *err
	}
	var all errgroup.Group
	for _, b := range sim.backends {
		all.Go(func() error { return awaitPinned(ctx, b, count) })
	}
	return all.Wait()
}

// listInterval is the time between two lists of a client that waits for its pins.
const listInterval = time.Second

// awaitPinned lists until all pins are pinned.
func awaitPinned(ctx context.Context, b *clusterrpc.Backend, count int) error {
	for {
		page, err := b.List(ctx, user, pinsvc.Query{Statuses: pinsvc.SetOf(pinsvc.StatusPinned), Limit: 1})
		if err == nil && page.Count == count {
			return nil
		}
		if !backoff.Sleep(ctx, listInterval) {
			return fmt.Errorf("%d of %d pins are pinned: %w", page.Count, count, errors.Join(err, ctx.Err()))
		}
	}
}

// counted is what the peers did during something.
type counted struct {
	took, cpu       time.Duration
	messages, bytes int64
}

func (sim *simulation) during(what func()) counted {
	before := sim.count()
	begin := time.Now()
	what()
	after := sim.count()
	return counted{
		took: time.Since(begin), cpu: after.cpu - before.cpu,
		messages: after.messages - before.messages, bytes: after.bytes - before.bytes,
	}
}

func (sim *simulation) count() (c counted) {
	c.cpu = time.Duration(cpuTicks()) * 10 * time.Millisecond
	for _, p := range sim.peers {
		c.messages += p.Traffic.Messages()
		c.bytes += p.Traffic.Bytes()
	}
	return c
}
