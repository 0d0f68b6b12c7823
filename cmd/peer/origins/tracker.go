package origins

import (
	"context"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Tracker is a pin tracker that hands the origins of new records on.
//
// Upstream's tracker ignores the record of a pin that it is pinning (U18 in
// docs/upstream-faults.md):
// optracker.TrackNewOperation replaces the record of the operation in progress, but
// the request to the IPFS connector goes on with the old one.
type Tracker struct {
	ipfscluster.PinTracker
	self   peer.ID
	update func(api.Pin)
}

// NewTracker wraps the tracker of the peer self. It calls update with every
// record of a pin that the peer is to hold.
func NewTracker(inner ipfscluster.PinTracker, self peer.ID, update func(api.Pin)) *Tracker {
	return &Tracker{PinTracker: inner, self: self, update: update}
}

// Track implements ipfscluster.PinTracker.
func (t *Tracker) Track(ctx context.Context, pin api.Pin) error {
	// The inner tracker first: it has then either started the pin with this
	// record or goes on with an earlier one.
	err := t.PinTracker.Track(ctx, pin)
	if pin.Type != api.MetaType && !pin.IsRemotePin(t.self) {
		t.update(pin)
	}
	return err
}
