package peer

import (
	"fmt"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/origins"
)

// dialOrigins returns the connector with one in front that has the IPFS node
// connect to the origins of the pins that it fetches, and to the IPFS nodes of other
// members, unless the configuration says never to connect to those.
func (p *Peer) dialOrigins(inner ipfscluster.IPFSConnector) ipfscluster.IPFSConnector {
	cfg := origins.Config{
		Swarm: origins.NewKubo(p.ipfsRPC), Self: p.ID(),
		NoMembers: p.cfg.Helper.Configs().Ipfshttp.ConnectSwarmsDelay == 0,
	}
	if p.node != nil {
		cfg.Restarts = p.node.Restarts
	}
	p.origins = origins.New(inner, cfg)
	if err := p.metrics.countDials(p.origins.Stats); err != nil {
		logger.Warnf("the metrics of origins are not registered: %s", err)
	}
	return p.origins
}

// trackOrigins returns the pin tracker with one in front that hands the origins
// of new records to the dials in progress.
func (p *Peer) trackOrigins(inner ipfscluster.PinTracker) ipfscluster.PinTracker {
	return origins.NewTracker(inner, p.ID(), p.origins.Update)
}

// ipfsAddr is the current address of the IPFS node's RPC.
func (p *Peer) ipfsAddr() (ma.Multiaddr, error) {
	if p.node == nil {
		return p.cfg.Helper.Configs().Ipfshttp.NodeAddr, nil
	}
	status, _ := p.node.Watch()
	if !servesRPC(status) {
		return nil, fmt.Errorf("%s: %w", unreachableText, notRunning(status))
	}
	return status.APIAddr, nil
}
