package peer

import clusterconfig "github.com/ipfs-cluster/ipfs-cluster/config"

// component is one registered component of the configuration.
type component struct {
	section clusterconfig.SectionType
	config  clusterconfig.ComponentConfig
}

// name is how the file spells the component, such as api.pinsvcapi.
func (c component) name() string {
	if c.section == clusterconfig.Cluster {
		return sectionName(c.section)
	}
	return sectionName(c.section) + "." + c.config.ConfigKey()
}

// components are those that the config manager has registered; upstream does
// not export its list.
func (c *Configuration) components() []component {
	cfgs := c.Helper.Configs()
	list := []component{
		{clusterconfig.Cluster, cfgs.Cluster},
		{clusterconfig.API, cfgs.Restapi},
		{clusterconfig.API, c.Pinsvcapi},
		{clusterconfig.API, cfgs.Ipfsproxy},
		{clusterconfig.IPFSConn, cfgs.Ipfshttp},
		{clusterconfig.IPFSConn, c.Managed},
		{clusterconfig.PinTracker, cfgs.Statelesstracker},
		{clusterconfig.Monitor, cfgs.Pubsubmon},
		{clusterconfig.Allocator, cfgs.BalancedAlloc},
		{clusterconfig.Informer, cfgs.DiskInf},
		{clusterconfig.Informer, cfgs.TagsInf},
		{clusterconfig.Informer, cfgs.PinQueueInf},
		{clusterconfig.Observations, cfgs.Metrics},
		{clusterconfig.Observations, cfgs.Tracing},
	}
	// A consensus or datastore that was chosen is the only one registered.
	add := func(section clusterconfig.SectionType, chosen string, all ...clusterconfig.ComponentConfig) {
		for _, cfg := range all {
			if chosen == "" || chosen == cfg.ConfigKey() {
				list = append(list, component{section, cfg})
			}
		}
	}
	add(clusterconfig.Consensus, string(c.consensus), cfgs.Crdt, cfgs.Raft)
	if c.consensus != ConsensusRaft {
		add(clusterconfig.Datastore, c.datastore, cfgs.Pebble, cfgs.Badger3, cfgs.Badger, cfgs.LevelDB)
	}
	return list
}

// sectionName is the key of a section in service.json.
func sectionName(t clusterconfig.SectionType) string {
	switch t {
	case clusterconfig.Cluster:
		return "cluster"
	case clusterconfig.Consensus:
		return "consensus"
	case clusterconfig.API:
		return "api"
	case clusterconfig.IPFSConn:
		return "ipfs_connector"
	case clusterconfig.State:
		return "state"
	case clusterconfig.PinTracker:
		return "pin_tracker"
	case clusterconfig.Monitor:
		return "monitor"
	case clusterconfig.Allocator:
		return "allocator"
	case clusterconfig.Informer:
		return "informer"
	case clusterconfig.Observations:
		return "observations"
	case clusterconfig.Datastore:
		return "datastore"
	}
	return ""
}
