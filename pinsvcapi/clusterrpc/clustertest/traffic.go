package clustertest

import (
	"sync/atomic"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/metrics"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// Traffic counts what a peer's host sends and receives. It is safe for concurrent
// use.
type Traffic struct {
	bandwidth *metrics.BandwidthCounter
	messages  atomic.Int64
}

func newTraffic() *Traffic { return &Traffic{bandwidth: metrics.NewBandwidthCounter()} }

// Bytes are those sent and received so far, all protocols together.
func (t *Traffic) Bytes() int64 {
	total := t.bandwidth.GetBandwidthTotals()
	return total.TotalIn + total.TotalOut
}

// Messages are those of pubsub sent and received so far.
func (t *Traffic) Messages() int64 { return t.messages.Load() }

// SendRPC implements pubsub.RawTracer.
func (t *Traffic) SendRPC(rpc *pubsub.RPC, _ peer.ID) {
	t.messages.Add(int64(max(1, len(rpc.GetPublish()))))
}

// RecvRPC implements pubsub.RawTracer.
func (t *Traffic) RecvRPC(rpc *pubsub.RPC) { t.messages.Add(int64(max(1, len(rpc.GetPublish())))) }

// The rest of pubsub.RawTracer counts nothing.

// Join implements pubsub.RawTracer.
func (*Traffic) Join(string) {}

// Leave implements pubsub.RawTracer.
func (*Traffic) Leave(string) {}

// Graft implements pubsub.RawTracer.
func (*Traffic) Graft(peer.ID, string) {}

// Prune implements pubsub.RawTracer.
func (*Traffic) Prune(peer.ID, string) {}

// ValidateMessage implements pubsub.RawTracer.
func (*Traffic) ValidateMessage(*pubsub.Message) {}

// DeliverMessage implements pubsub.RawTracer.
func (*Traffic) DeliverMessage(*pubsub.Message) {}

// RejectMessage implements pubsub.RawTracer.
func (*Traffic) RejectMessage(*pubsub.Message, string) {}

// DuplicateMessage implements pubsub.RawTracer.
func (*Traffic) DuplicateMessage(*pubsub.Message) {}

// ThrottlePeer implements pubsub.RawTracer.
func (*Traffic) ThrottlePeer(peer.ID) {}

// DropRPC implements pubsub.RawTracer.
func (*Traffic) DropRPC(*pubsub.RPC, peer.ID) {}

// UndeliverableMessage implements pubsub.RawTracer.
func (*Traffic) UndeliverableMessage(*pubsub.Message) {}

// OnNewOutboundStream implements pubsub.RawTracer.
func (*Traffic) OnNewOutboundStream(peer.ID, protocol.ID) {}

// OnClosedOutboundStream implements pubsub.RawTracer.
func (*Traffic) OnClosedOutboundStream(peer.ID) {}
