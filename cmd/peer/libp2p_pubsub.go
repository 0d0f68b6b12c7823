package peer

import (
	"context"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
)

// newPubSub makes a gossipsub that is compatible with the peers of
// ipfs-cluster-service: message IDs, signature rules and mesh sizes are
// theirs.
func newPubSub(ctx context.Context, h host.Host, cfg *ipfscluster.Config) (*pubsub.PubSub, error) {
	gossip := pubsub.DefaultGossipSubParams()
	gossip.HeartbeatInterval = cfg.PubSub.HeartbeatInterval
	gossip.HistoryLength = cfg.PubSub.HistoryLength
	gossip.HistoryGossip = cfg.PubSub.HistoryGossip
	gossip.MaxIHaveLength = 10_000 // Heartbeats are rare, so each announces more.
	factor := cfg.PubSub.DFactor
	gossip.D, gossip.Dlo, gossip.Dhi = 6*factor, 5*factor, 12*factor
	gossip.Dscore, gossip.Dout, gossip.Dlazy = 4*factor, 2*factor, 6*factor

	seen := cfg.PubSub.SeenMessagesTTL
	if seen <= 0 {
		seen = 30 * time.Minute
	}
	return pubsub.NewGossipSub(ctx, h,
		pubsub.WithMessageSignaturePolicy(pubsub.StrictSign),
		pubsub.WithPeerExchange(!cfg.FollowerMode),
		pubsub.WithFloodPublish(cfg.PubSub.FloodPublish),
		pubsub.WithMessageIdFn(messageID),
		pubsub.WithPeerOutboundQueueSize(128),
		pubsub.WithValidateQueueSize(128),
		pubsub.WithGossipSubParams(gossip),
		pubsub.WithSeenMessagesTTL(seen),
	)
}

// messageID is the sender's first 16 bytes and its sequence number. Peers
// announce and request messages by ID, so all must compute the same.
func messageID(m *pb.Message) string {
	from := m.GetFrom()
	return string(from[:min(16, len(from))]) + string(m.GetSeqno())
}
