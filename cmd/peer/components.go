package peer

import (
	"errors"
	"fmt"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/allocator/balanced"
	clusterconfig "github.com/ipfs-cluster/ipfs-cluster/config"
	"github.com/ipfs-cluster/ipfs-cluster/consensus/crdt"
	"github.com/ipfs-cluster/ipfs-cluster/consensus/raft"
	"github.com/ipfs-cluster/ipfs-cluster/informer/disk"
	"github.com/ipfs-cluster/ipfs-cluster/informer/pinqueue"
	"github.com/ipfs-cluster/ipfs-cluster/informer/tags"
	"github.com/ipfs-cluster/ipfs-cluster/ipfsconn/ipfshttp"
	"github.com/ipfs-cluster/ipfs-cluster/monitor/pubsubmon"
)

// startCluster builds the components and the cluster of them. Each component
// gets a teardown step, too: usually the cluster has shut it down by then and
// the step does nothing, but the cluster stops at the first that fails.
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
	p.newTracker()

	var members pubsubmon.PeersFunc // CRDT takes whoever sends metrics.
	if p.consensus.again != nil {
		members = p.consensus.Peers
	}
	metrics, err := pubsubmon.New(p.ctx, cfgs.Pubsubmon, p.network.pubsub, members)
	if err != nil {
		return fmt.Errorf("monitor.pubsubmon: %w", err)
	}
	p.monitor = &monitor{PeerMonitor: metrics, running: newGate()}
	p.teardown.push("monitor", closeLimit, p.monitor.Shutdown)

	p.cluster, err = ipfscluster.NewCluster(p.ctx,
		p.network.host, p.network.bandwidth, p.network.dht, cfgs.Cluster, p.store,
		p.consensus, p.apis.components(), p.connector, p.tracker, p.monitor, allocator, informers, p.tracer)
	if err != nil {
		return fmt.Errorf("starting the cluster: %w", err)
	}
	p.teardown.push("cluster", clusterStopLimit, p.cluster.Shutdown)
	p.apis.connect()
	// Pushed last: requests end while all that they need is still there.
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
			return patient{inner, p.connector.ready}, err
		}),
		add(cfgs.TagsInf.ConfigKey(), func() (ipfscluster.Informer, error) { return tags.New(cfgs.TagsInf) }),
		add(cfgs.PinQueueInf.ConfigKey(), func() (ipfscluster.Informer, error) { return pinqueue.New(cfgs.PinQueueInf) }),
	)
	if err == nil && len(informers) == 0 {
		err = fmt.Errorf("%s: at least one of informer.disk, informer.tags and informer.pinqueue must be there",
			p.cfg.Files.Config)
	}
	return informers, err
}

func (p *Peer) newAllocator() (ipfscluster.PinAllocator, error) {
	cfg := p.cfg.Helper.Configs().BalancedAlloc
	if !p.cfg.Has(clusterconfig.Allocator, cfg.ConfigKey()) {
		// As upstream: configurations older than this section knew free
		// space only.
		cfg.AllocateBy = []string{"freespace"}
	}
	allocator, err := balanced.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("allocator.balanced: %w", err)
	}
	return allocator, nil
}

// connect makes the connector to the IPFS node, the managed one if there is.
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
	p.connector = newConnector(p.dialOrigins(inner))
	p.teardown.push("IPFS connector", closeLimit, p.connector.Shutdown)
	return nil
}

func (p *Peer) newConsensus() error {
	cfgs := p.cfg.Helper.Configs()
	name, _, err := p.cfg.Engines()
	if err != nil {
		return err
	}
	if name == cfgs.Raft.ConfigKey() {
		inner, err := raft.NewConsensus(p.network.host, cfgs.Raft, p.store, len(p.opts.Bootstraps) > 0)
		if err != nil {
			return fmt.Errorf("consensus.raft: %w", err)
		}
		p.consensus = newConsensus(inner, p.missingPeers)
	} else {
		inner, err := crdt.New(p.network.host, p.network.dht, p.network.pubsub, cfgs.Crdt, p.store)
		if err != nil {
			return fmt.Errorf("consensus.crdt: %w", err)
		}
		if batching := cfgs.Crdt.Batching; batching.MaxBatchSize > 0 && batching.MaxBatchAge > 0 {
			p.consensus = newConsensus(&batched{Consensus: inner, age: batching.MaxBatchAge}, nil)
			p.consensus.batching = true
		} else {
			p.consensus = newConsensus(durable{Consensus: inner, store: p.store}, nil)
		}
	}
	p.teardown.push("consensus", closeLimit, p.consensus.Shutdown)
	return nil
}
