package peer

import (
	"context"
	"fmt"
	"net/http"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api/ipfsproxy"
	"github.com/ipfs-cluster/ipfs-cluster/api/rest"
	clusterconfig "github.com/ipfs-cluster/ipfs-cluster/config"
	"github.com/ipfs-cluster/ipfs-cluster/observations"
	rpc "github.com/libp2p/go-libp2p-gorpc"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kubo"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
)

// apis are the API components, each bound to its listeners.
type apis struct {
	all []*lateAPI
	// pinsvc is nil when the configuration has no api.pinsvcapi.
	pinsvc *pinsvcapi.API
	// backend is made when the cluster gives the API its client.
	backend chan pinsvcapi.Backend
	// drainLimit is how long the running requests of pinsvc may take.
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
		if api.client != nil {
			api.API.SetClient(api.client)
		}
	}
}

// lateAPI is an API that gets its client once all other components have
// theirs. The cluster gives it to the APIs first, whose calls then make others
// use a client that they do not have yet.
//
// Its shutdown logs an error: Cluster.Shutdown leaves the rest of the peer
// running when an API returns one.
type lateAPI struct {
	ipfscluster.API
	name   string
	client *rpc.Client // Not read before NewCluster, which sets it, has returned.
}

// SetClient keeps the client for apis.connect.
func (a *lateAPI) SetClient(client *rpc.Client) { a.client = client }

// Shutdown shuts the API down and returns nil.
func (a *lateAPI) Shutdown(ctx context.Context) error {
	if err := a.API.Shutdown(ctx); err != nil {
		logger.Warnf("stopping %s: %s", a.name, err)
	}
	return nil
}

// startIPFS starts the managed Kubo, which is on its way while the rest of
// the peer is opened.
func (p *Peer) startIPFS() error {
	if !p.cfg.HasManaged() {
		return nil
	}
	ipfshttp := p.cfg.Helper.Configs().Ipfshttp
	if p.cfg.Has(clusterconfig.IPFSConn, ipfshttp.ConfigKey()) {
		logger.Infof("ipfs_connector.managed is there: of ipfs_connector.ipfshttp all but node_multiaddress (%s) is used",
			ipfshttp.NodeAddr)
	}
	node, err := kubo.Start(context.Background(), p.cfg.Managed)
	if err != nil {
		return fmt.Errorf("ipfs_connector.managed: %w", err)
	}
	p.node = node
	p.teardown.push("IPFS node", p.cfg.Managed.StopTimeout+stopMargin, func(ctx context.Context) error {
		// Upstream's connector uses the default client. A connection that it
		// opened and did not need yet would keep Kubo's server for 5 seconds.
		http.DefaultClient.CloseIdleConnections()
		return node.Stop(ctx)
	})
	return nil
}

// openListeners builds the APIs whose sections are there.
func (p *Peer) openListeners() error {
	p.report.enter(StageListeners, nil)
	cfgs := p.cfg.Helper.Configs()
	for _, part := range []struct {
		name  string
		there bool
		build func() (ipfscluster.API, error)
	}{
		{"api.restapi", p.cfg.Has(clusterconfig.API, cfgs.Restapi.ConfigKey()), p.newREST},
		{"api.pinsvcapi", p.cfg.HasPinsvcapi(), p.newPinsvc},
		{"api.ipfsproxy", p.cfg.Has(clusterconfig.API, cfgs.Ipfsproxy.ConfigKey()), p.newProxy},
	} {
		if !part.there {
			continue
		}
		built, err := part.build()
		if err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		p.apis.all = append(p.apis.all, &lateAPI{API: built, name: part.name})
		p.teardown.push(part.name, p.apis.drainLimit+closeLimit, built.Shutdown)
	}
	return nil
}

func (p *Peer) newREST() (ipfscluster.API, error) {
	cfgs := p.cfg.Helper.Configs()
	name, _, err := p.cfg.Engines()
	if err != nil {
		return nil, err
	}
	if name == cfgs.Raft.ConfigKey() {
		return rest.NewAPIWithHost(p.ctx, cfgs.Restapi, p.network.host)
	}
	// CRDT clusters may share their secret with peers that they do not trust:
	// those must not get at the API over the cluster's own host.
	return rest.NewAPI(p.ctx, cfgs.Restapi)
}

// newProxy makes upstream's IPFS proxy, in front of the managed node by way
// of a relay if there is one.
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
	p.apis.backend = make(chan pinsvcapi.Backend, 1)
	built, err := pinsvcapi.NewAPI(p.ctx, p.cfg.Pinsvcapi, pinsvcapi.Options{
		Registerer: observations.PromRegistry,
		Version:    p.opts.Version,
		NewBackend: func(client *rpc.Client) pinsvcapi.Backend {
			// The cluster hands out clients once it has the tracker.
			opts := pinsvcapi.BackendOptions(p.cfg.Pinsvcapi)
			opts.Hints, opts.Parts, opts.BatchAge = p.tracker, parts{p}, p.batchAge()
			backend := clusterrpc.New(client, opts)
			p.apis.backend <- backend
			return backend
		},
	})
	p.apis.pinsvc = built
	return built, err
}

// pinsvcAddrs are those that pinsvc is bound to.
func (a *apis) pinsvcAddrs() []string {
	if a.pinsvc == nil {
		return nil
	}
	return a.pinsvc.HTTPAddresses()
}

// awaitPinsvc returns once pinsvc, if it is there, serves requests, and tells
// what that waits for until then. Readiness depends on what other parts of
// the peer and other peers say, so it is asked for again and again.
func (a *apis) awaitPinsvc(ctx context.Context, report *reporter) error {
	if a.pinsvc == nil {
		return nil
	}
	var backend pinsvcapi.Backend
	select {
	case backend = <-a.backend:
	case <-ctx.Done():
		return ctx.Err()
	}
	if backend.Ready() == nil {
		return nil
	}
	report.enter(StageRequests, func() string {
		if err := backend.Ready(); err != nil {
			return err.Error()
		}
		return ""
	})
	poll := time.NewTicker(readyPoll)
	defer poll.Stop()
	for backend.Ready() != nil {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

const readyPoll = 50 * time.Millisecond

// pushDrain makes the APIs' shutdown the first step, before the cluster's.
func (a *apis) pushDrain(t *teardown) {
	for _, built := range a.all {
		t.push("HTTP servers", a.drainLimit+closeLimit, built.Shutdown)
	}
}
