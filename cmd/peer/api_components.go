package peer

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api/ipfsproxy"
	"github.com/ipfs-cluster/ipfs-cluster/api/rest"
	clusterconfig "github.com/ipfs-cluster/ipfs-cluster/config"
	"github.com/ipfs-cluster/ipfs-cluster/observations"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/host"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
)

// apis are the API components, each bound to its listeners.
type apis struct {
	all []*lateClientAPI
	// pinsvc is nil when the configuration has no api.pinsvcapi.
	pinsvc *pinsvcapi.API
	// backend is the backend of pinsvc, made once the API has its client.
	backend atomic.Pointer[clusterrpc.Backend]
	// drainLimit is how long the requests in flight at pinsvc may take.
	drainLimit time.Duration
}

// components are what the cluster gets.
func (a *apis) components() []ipfscluster.API {
	list := make([]ipfscluster.API, len(a.all))
	for i, api := range a.all {
		list[i] = api
	}
	return list
}

// connect gives the APIs their client.
func (a *apis) connect() {
	for _, api := range a.all {
		api.connect()
	}
}

// openPinsvc builds the Pinning Service API, if it is configured. It comes before the datastore, which
// may wait for space (U110 in docs/upstream-faults.md), so that GET /ready says so.
func (p *Peer) openPinsvc() error {
	if !p.cfg.HasPinsvcapi() {
		return nil
	}
	built, err := p.newPinsvc()
	if err != nil {
		return fmt.Errorf("api.pinsvcapi: %w", err)
	}
	p.addAPI("api.pinsvcapi", built)
	return nil
}

func (p *Peer) addAPI(name string, built ipfscluster.API) {
	p.apis.all = append(p.apis.all, &lateClientAPI{API: built, name: name})
	p.teardown.push(name, p.apis.drainLimit+closeLimit, built.Shutdown)
}

// openListeners builds the other APIs whose sections are there.
func (p *Peer) openListeners() error {
	p.report.enter(StageListeners, nil)
	cfgs := p.cfg.Helper.Configs()
	for _, component := range []struct {
		name       string
		configured bool
		build      func() (ipfscluster.API, error)
	}{
		{"api.restapi", p.cfg.Has(clusterconfig.API, cfgs.Restapi.ConfigKey()), p.newREST},
		{"api.ipfsproxy", p.cfg.Has(clusterconfig.API, cfgs.Ipfsproxy.ConfigKey()), p.newProxy},
	} {
		if !component.configured {
			continue
		}
		built, err := component.build()
		if err != nil {
			return fmt.Errorf("%s: %w", component.name, err)
		}
		p.addAPI(component.name, built)
	}
	return nil
}

func (p *Peer) newREST() (ipfscluster.API, error) {
	cfgs := p.cfg.Helper.Configs()
	kind, _, err := p.cfg.Engines()
	if err != nil {
		return nil, err
	}
	// The peers of a Raft cluster trust each other. Those of a CRDT cluster may
	// share the secret with peers that they do not trust, which must not reach
	// the API over the cluster's own host.
	var host host.Host
	if kind == ConsensusRaft {
		host = p.network.host
	}
	built, err := rest.NewAPIWithHost(p.ctx, cfgs.Restapi, host)
	if err != nil {
		return nil, err
	}
	containRootRedirect(built)
	return built, nil
}

// newProxy makes upstream's IPFS proxy. In front of the managed node it goes
// through a relay.
func (p *Peer) newProxy() (ipfscluster.API, error) {
	cfg := p.cfg.Helper.Configs().Ipfsproxy
	if p.node == nil {
		return ipfsproxy.New(cfg)
	}
	relay, err := newRelay(p.node)
	if err != nil {
		return nil, err
	}
	p.teardown.push("relay to the IPFS node", closeLimit, func(context.Context) error { return relay.close() })
	toRelay := *cfg
	toRelay.NodeAddr, err = relay.addr()
	if err != nil {
		return nil, err
	}
	toRelay.NodeHTTPS = false
	return ipfsproxy.New(&toRelay)
}

func (p *Peer) newPinsvc() (ipfscluster.API, error) {
	p.apis.drainLimit = p.cfg.Pinsvcapi.ShutdownTimeout
	built, err := pinsvcapi.NewAPI(p.ctx, p.cfg.Pinsvcapi, pinsvcapi.Options{
		Registerer: observations.PromRegistry,
		Version:    p.opts.Version,
		Starting:   p.space.detail,
		NewBackend: p.newBackend,
	})
	if err != nil {
		return nil, err
	}
	p.apis.pinsvc = built
	p.reloader = p.newReloader()
	return built, nil
}

// newBackend is called when the API gets its client; the tracker exists by
// then.
func (p *Peer) newBackend(client *rpc.Client) pinsvcapi.Backend {
	opts := pinsvcapi.BackendOptions(p.cfg.Pinsvcapi)
	opts.Events, opts.ComponentHealth, opts.BatchAge = p.tracker, componentHealth{p}, p.batchAge()
	if kind, _, err := p.cfg.Engines(); err == nil {
		opts.WaitsForCommit = kind == ConsensusRaft || p.waitsForCommits() // raftstate waits.
		if batching := p.cfg.Helper.Configs().Crdt.Batching; kind == ConsensusCRDT && opts.WaitsForCommit && batches(batching) {
			opts.WriteTimeout = clusterrpc.DefaultWriteTimeout + batching.MaxBatchAge
		}
	}
	opts.HealthDetails = p.details.all
	opts.Trusted = func(id libp2ppeer.ID) bool { return p.consensus.IsTrustedPeer(p.ctx, id) }
	opts.Connected = p.network.clusterPeers
	opts.Expected, opts.PingInterval = p.expectedPeers(), p.cfg.Helper.Configs().Cluster.MonitorPingInterval
	if p.crdtStore != nil {
		opts.Removed, opts.Past = p.removedRecords, p.pastRecords
		opts.Consensus = p.consensus // Raft's does not return when a context ends.
	} else {
		opts.Leader = p.consensus.Leader
	}
	opts.Registerer = observations.PromRegistry
	opts.PinTimeout = p.cfg.Helper.Configs().Ipfshttp.PinTimeout
	backend := clusterrpc.New(client, opts)
	p.apis.backend.Store(backend)
	return backend
}

// pinsvcAddrs are those that pinsvc is bound to.
func (a *apis) pinsvcAddrs() []string {
	if a.pinsvc == nil {
		return nil
	}
	return a.pinsvc.HTTPAddresses()
}

// awaitPinsvc returns once pinsvc, if it is configured, serves requests, and
// reports what it waits for. Its readiness depends on other components and
// other peers, so it is polled.
func (a *apis) awaitPinsvc(ctx context.Context, report *reporter) error {
	if a.pinsvc == nil {
		return nil
	}
	if a.notReady() == nil {
		return nil
	}
	report.enter(StageRequests, func() string {
		if err := a.notReady(); err != nil {
			return err.Error()
		}
		return ""
	})
	for a.notReady() != nil {
		if !backoff.Sleep(ctx, readyPoll) {
			return ctx.Err()
		}
	}
	return nil
}

// notReady returns why pinsvc does not serve requests yet, or nil.
func (a *apis) notReady() error {
	backend := a.backend.Load()
	if backend == nil {
		return errors.New("the peer is starting")
	}
	return backend.Ready()
}

const readyPoll = 50 * time.Millisecond

// pushDrain makes the APIs' shutdown the first step, before the cluster's.
func (a *apis) pushDrain(t *teardown) {
	for _, built := range a.all {
		t.push("HTTP servers", a.drainLimit+closeLimit, built.Shutdown)
	}
}
