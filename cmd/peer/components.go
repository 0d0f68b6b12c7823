package peer

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/allocator/balanced"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	clusterconfig "github.com/ipfs-cluster/ipfs-cluster/config"
	"github.com/ipfs-cluster/ipfs-cluster/consensus/crdt"
	"github.com/ipfs-cluster/ipfs-cluster/informer/disk"
	"github.com/ipfs-cluster/ipfs-cluster/informer/pinqueue"
	"github.com/ipfs-cluster/ipfs-cluster/informer/tags"
	"github.com/ipfs-cluster/ipfs-cluster/ipfsconn/ipfshttp"
	"github.com/ipfs-cluster/ipfs-cluster/monitor/pubsubmon"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/divergence"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/groupcommit"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kubo"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kuborpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/raftstate"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/tracking"
)

// startCluster builds the components and the cluster of them. Each component
// gets a teardown step too: usually the cluster has shut it down by then and
// the step does nothing, but the cluster's shutdown ends at the first failure (U9
// in docs/upstream-faults.md).
func (p *Peer) startCluster() error {
	cfgs := p.cfg.Helper.Configs()
	allocator, err := p.newAllocator()
	if err != nil {
		return err
	}
	if err := p.connect(); err != nil {
		return err
	}
	informers, err := p.newInformers()
	if err != nil {
		return err
	}
	if err := p.newConsensus(); err != nil {
		return err
	}
	informers = append(informers, &divergence.Informer{Pinset: p.pinset, Interval: p.opts.PinsetInterval})
	p.newTracker()

	var members pubsubmon.PeersFunc // CRDT accepts metrics of every peer.
	if p.consensus.kind == ConsensusRaft {
		members = p.consensus.Peers
	}
	metrics, err := pubsubmon.New(p.ctx, cfgs.Pubsubmon, p.network.pubsub, members)
	if err != nil {
		return fmt.Errorf("monitor.pubsubmon: %w", err)
	}
	p.monitor = newRunningMonitor(turnsMonitor{metrics, p.pings})
	p.teardown.push("monitor", closeLimit, p.monitor.Shutdown)

	cfgs.Cluster.RPCPolicy = rpcPolicy(cfgs.Cluster.RPCPolicy)
	p.addresses, err = openAddressBook(p.ctx, p.network.host, cfgs.Cluster.GetPeerstorePath(), p.membership())
	if err != nil {
		return err
	}
	p.cluster, err = ipfscluster.NewCluster(regularPinger.as(p.ctx),
		p.network.host, p.network.bandwidth, p.network.dht, withoutPeerstore(cfgs.Cluster), p.store,
		p.clusterConsensus(), p.apis.components(), p.connector, p.clusterTracker(), p.monitor, allocator, informers, p.tracer)
	if err != nil {
		return fmt.Errorf("starting the cluster: %w", err)
	}
	p.teardown.push("cluster", clusterStopLimit, p.cluster.Shutdown)
	if err := p.newWatcher(); err != nil {
		return err
	}
	p.apis.connect()
	p.keepAddresses()
	// Pushed last: requests drain while all components still run.
	p.apis.pushDrain(&p.teardown)
	return nil
}

func (p *Peer) newInformers() ([]ipfscluster.Informer, error) {
	cfgs := p.cfg.Helper.Configs()
	var informers []ipfscluster.Informer
	add := func(key string, build func() (ipfscluster.Informer, error)) error {
		if !p.cfg.Has(clusterconfig.Informer, key) {
			return nil
		}
		informer, err := build()
		if err != nil {
			return fmt.Errorf("informer.%s: %w", key, err)
		}
		informers = append(informers, informer)
		return nil
	}
	err := errors.Join(
		add(cfgs.DiskInf.ConfigKey(), func() (ipfscluster.Informer, error) {
			inner, err := disk.NewInformer(cfgs.DiskInf)
			return readyInformer{inner, p.connector.ready}, err
		}),
		add(cfgs.TagsInf.ConfigKey(), func() (ipfscluster.Informer, error) { return tags.New(cfgs.TagsInf) }),
		add(cfgs.PinQueueInf.ConfigKey(), func() (ipfscluster.Informer, error) { return pinqueue.New(cfgs.PinQueueInf) }),
	)
	if err == nil && len(informers) == 0 {
		err = fmt.Errorf("%s: at least one of informer.disk, informer.tags and informer.pinqueue must be configured",
			p.cfg.Files.Config)
	}
	return informers, err
}

func (p *Peer) newAllocator() (ipfscluster.PinAllocator, error) {
	cfg := p.cfg.Helper.Configs().BalancedAlloc
	if !p.cfg.Has(clusterconfig.Allocator, cfg.ConfigKey()) {
		// As upstream: configurations older than this section allocate by
		// free space.
		cfg.AllocateBy = []string{"freespace"}
	}
	allocator, err := balanced.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("allocator.balanced: %w", err)
	}
	return allocator, nil
}

// startIPFS starts the managed Kubo, which gets ready while the rest of the
// peer is opened.
func (p *Peer) startIPFS() error {
	if !p.cfg.HasManaged() {
		return nil
	}
	ipfshttp := p.cfg.Helper.Configs().Ipfshttp
	if p.cfg.Has(clusterconfig.IPFSConn, ipfshttp.ConfigKey()) {
		logger.Infof("ipfs_connector.managed is configured: ipfs_connector.ipfshttp.node_multiaddress (%s) is not used",
			ipfshttp.NodeAddr)
	}
	node, err := kubo.Start(context.Background(), p.cfg.Managed)
	if err != nil {
		return fmt.Errorf("ipfs_connector.managed: %w", err)
	}
	p.node = node
	if err := p.metrics.countRestarts(node.Restarts); err != nil {
		return errors.Join(err, node.Stop(context.Background()))
	}
	p.teardown.push("IPFS node", p.cfg.Managed.StopTimeout+stopMargin, func(ctx context.Context) error {
		// Upstream's connector uses the default client. An unused connection
		// of it would delay the shutdown of Kubo's server by 5 seconds.
		http.DefaultClient.CloseIdleConnections()
		return node.Stop(ctx)
	})
	return nil
}

// connect makes the connector to the IPFS node: the managed one, if configured.
func (p *Peer) connect() error {
	cfg := p.cfg.Helper.Configs().Ipfshttp
	var inner ipfscluster.IPFSConnector
	if p.node != nil {
		inner = newManagedConnector(p.node, cfg)
	} else {
		external, err := ipfshttp.NewConnector(cfg)
		if err != nil {
			return fmt.Errorf("ipfs_connector.ipfshttp: %w", err)
		}
		inner = external
	}
	p.ipfsRPC = kuborpc.New(p.ipfsAddr)
	if err := p.newOrphanScanner(); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	confirming := p.confirmPins(inner)
	p.begins = &tracking.Connector{
		IPFSConnector: p.dialOrigins(confirming), Barrier: p.pins.UnpinBarrier, Keep: p.keepsMoved,
	}
	p.pings = newPingTurns()
	p.connector = newReadyConnector(turnsConnector{p.begins, p.pings})
	p.teardown.push("IPFS connector", closeLimit, p.connector.Shutdown)
	return nil
}

func (p *Peer) newConsensus() error {
	cfgs := p.cfg.Helper.Configs()
	kind, _, err := p.cfg.Engines()
	if err != nil {
		return err
	}
	if err := p.openPinset(kind); err != nil {
		return err
	}
	if kind == ConsensusRaft {
		inner, err := raftstate.New(p.network.host, cfgs.Raft, p.pinset, raftstate.Options{
			Staging: len(p.opts.Bootstraps) > 0, Full: p.logFull,
		})
		if err != nil {
			return fmt.Errorf("consensus.raft: %w", err)
		}
		p.raft = inner
		p.consensus = newReadyRaft(inner, p.missingQuorum)
		p.details.add(fullDetails(p.logFull, errLogFull))
	} else {
		inner, err := p.newCRDT()
		if err != nil {
			return err
		}
		p.consensus = newReadyCRDT(inner)
	}
	p.teardown.push("consensus", closeLimit, p.consensus.Shutdown)
	return nil
}

// clusterConsensus is the consensus that the cluster gets.
func (p *Peer) clusterConsensus() ipfscluster.Consensus {
	if p.consensus.kind == ConsensusRaft {
		p.member = &memberConsensus{Consensus: appliedConsensus{p.consensus}, self: p.ID()}
		return p.member
	}
	return p.consensus
}

// commits is how the changes of a CRDT are committed: at once, or in the batches that are
// configured.
func (p *Peer) commits() groupcommit.Config {
	batching := p.cfg.Helper.Configs().Crdt.Batching
	commits := groupcommit.Config{
		MaxQueue: batching.MaxQueueSize, NoWait: !p.waitsForCommits(), Metrics: p.metrics.commits,
		OnLate: func(rec api.Pin, found bool) { p.tracker.Announce(rec, found) },
	}
	if batches(batching) {
		commits.Linger, commits.LingerSize = batching.MaxBatchAge, batching.MaxBatchSize
		commits.MaxGroup = min(batching.MaxBatchSize, groupcommit.DefaultMaxGroup)
	}
	return commits
}

// batches reports whether changes are to be committed in batches.
func batches(cfg crdt.BatchingConfig) bool { return cfg.MaxBatchSize > 0 && cfg.MaxBatchAge > 0 }

// waitsForCommits reports whether a CRDT accepts a change when it is committed.
func (p *Peer) waitsForCommits() bool {
	return !batches(p.cfg.Helper.Configs().Crdt.Batching) || !p.cfg.HasPinsvcapi() || p.cfg.Pinsvcapi.WaitForCommit
}
