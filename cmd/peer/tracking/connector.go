package tracking

import (
	"context"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
)

// Connector is an IPFS connector that tells the tracker which operations have begun (U56 in
// docs/upstream-faults.md). It is safe for concurrent use.
type Connector struct {
	ipfscluster.IPFSConnector
	// Tracker is set before the cluster gets the connector.
	Tracker *Tracker
}

// Pin implements ipfscluster.IPFSConnector, with the newest record of the pin.
func (c *Connector) Pin(ctx context.Context, pin api.Pin) error {
	if newest := c.Tracker.begun(ctx, pin.Cid, pinning); newest != nil {
		pin = *newest
	}
	return c.IPFSConnector.Pin(ctx, pin)
}

// Unpin implements ipfscluster.IPFSConnector.
func (c *Connector) Unpin(ctx context.Context, key api.Cid) error {
	c.Tracker.begun(ctx, key, unpinning)
	return c.IPFSConnector.Unpin(ctx, key)
}
