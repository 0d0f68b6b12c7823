package peer

import (
	"context"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kubo"
	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/pinning"
)

// pinName is the name of the peer's pins in its managed node, by which they differ from
// those that the operator makes there. Pins in other nodes have none: their names belong
// to others.
const pinName = "ipfs-cluster-pinsvc"

// confirmPins returns the connector with one in front that reports what really became
// of a pin.
func (p *Peer) confirmPins(inner ipfscluster.IPFSConnector) ipfscluster.IPFSConnector {
	cfg := p.cfg.Helper.Configs().Ipfshttp
	name, free, restart := "", (func() (uint64, bool))(nil), (func(error))(nil)
	if p.node != nil {
		name = pinName
		free = func() (uint64, bool) { return kubo.FreeSpace(p.node.RepoDir()) }
		restart = p.node.Restart
	}
	p.pins = pinning.New(inner, pinning.Config{
		RPC: p.ipfsRPC, PinTimeout: cfg.PinTimeout, RequestTimeout: cfg.IPFSRequestTimeout, Name: name, InformerTrigger: cfg.InformerTriggerInterval,
		Storage: pinning.NewStorage(p.ipfsRPC, free), Restart: restart,
		GivenUp: p.givenUp,
	})
	p.details.add(p.pins.Details)
	return p.pins
}

// givenUp has the scanner of orphans look at a pin that the IPFS node may keep. With unpinning disabled
// it would do so for ever, for nothing.
func (p *Peer) givenUp(key cid.Cid, failed bool) {
	if !p.cfg.Helper.Configs().Ipfshttp.UnpinDisable {
		p.orphans.GivenUp(key, failed)
	}
}

// retryPin has the pin tracker try a pin again that failed, and reports whether the pin
// is still wanted at this peer.
func (p *Peer) retryPin(ctx context.Context, key cid.Cid) (wanted bool) {
	info, err := p.tracker.Recover(ctx, api.NewCid(key))
	if err != nil {
		logger.Warnf("try pin %s again: %s", key, err)
		return true
	}
	switch info.Status {
	case api.TrackerStatusUnpinned, api.TrackerStatusRemote, api.TrackerStatusPinned,
		api.TrackerStatusUnpinning, api.TrackerStatusUnpinQueued, api.TrackerStatusUnpinError:
		return false
	default:
		return true
	}
}
