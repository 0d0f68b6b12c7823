package peer

import (
	"math"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/libp2p/go-libp2p"
	libp2pnetwork "github.com/libp2p/go-libp2p/core/network"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/pbnjay/memory"
)

// newResourceManager limits libp2p as set in cluster.resource_manager. Zero there
// means a quarter of the memory and half of the file descriptors. Inbound
// connections are limited to one per MiB, but to no fewer than twice the high
// water mark of the connection manager.
func newResourceManager(cfg *ipfscluster.Config) (libp2pnetwork.ResourceManager, error) {
	if !cfg.ResourceMgr.Enabled {
		return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(rcmgr.InfiniteLimits))
	}
	bytes := cfg.ResourceMgr.MemoryLimitBytes
	if bytes == 0 {
		bytes = max(memory.TotalMemory()/4, 1<<30)
	}
	files := cfg.ResourceMgr.FileDescriptorsLimit
	if files == 0 {
		files = fileLimit() / 2
	}
	files = min(files, math.MaxInt32)
	inbound := max(int(bytes>>20), 2*cfg.ConnMgr.HighWater)

	limits := rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			Memory:          rcmgr.LimitVal64(bytes),
			FD:              rcmgr.LimitVal(files),
			Conns:           rcmgr.Unlimited,
			ConnsInbound:    rcmgr.LimitVal(inbound),
			ConnsOutbound:   rcmgr.Unlimited,
			Streams:         rcmgr.Unlimited,
			StreamsInbound:  rcmgr.Unlimited,
			StreamsOutbound: rcmgr.Unlimited,
		},
		// Peers of one cluster share its secret, so there are no limits per
		// peer, service or protocol.
		ServiceDefault:      rcmgr.InfiniteLimits.ToPartialLimitConfig().System,
		ServicePeerDefault:  rcmgr.InfiniteLimits.ToPartialLimitConfig().System,
		ProtocolDefault:     rcmgr.InfiniteLimits.ToPartialLimitConfig().System,
		ProtocolPeerDefault: rcmgr.InfiniteLimits.ToPartialLimitConfig().System,
	}
	scaled := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&scaled)
	concrete := limits.Build(scaled.Scale(int64(min(bytes, math.MaxInt64)), int(files)))
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(concrete))
}
