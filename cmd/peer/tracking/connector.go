package tracking

import (
	"context"
	"errors"
	"fmt"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
)

// Connector is an IPFS connector that tells the tracker which operations have begun (U56 in
// docs/upstream-faults.md), and bounds the removals of pins that other peers hold (U98). It is safe for concurrent use.
type Connector struct {
	ipfscluster.IPFSConnector
	// Tracker is set before the cluster gets the connector.
	Tracker *Tracker
	// Barrier returns nil when the IPFS node has begun all requests to unpin that it got before.
	Barrier func(context.Context) error
	// Keep reports whether the IPFS node keeps a pin that other peers are to hold, because too few of
	// them may have it yet. Who is asked sees to the removal then. nil: it keeps none.
	Keep func(context.Context, api.Cid) (bool, error)
}

// Pin implements ipfscluster.IPFSConnector, with the newest record of the pin. Content whose last
// request to unpin was not answered is confirmed once more: the node may carry that out late.
func (c *Connector) Pin(ctx context.Context, pin api.Pin) error {
	if newest := c.Tracker.begun(ctx, pin.Cid); newest != nil {
		pin = *newest
	}
	late := c.Tracker.unanswered.of(pin.Cid)
	if err := c.IPFSConnector.Pin(ctx, pin); err != nil || late == nil {
		return err
	}
	if err := c.Barrier(ctx); err != nil {
		return fmt.Errorf("waiting until an earlier removal takes effect: %w", err)
	}
	timer := time.NewTimer(c.Tracker.unanswered.settle)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := c.IPFSConnector.Pin(ctx, pin); err != nil {
		return err
	}
	c.Tracker.unanswered.settled(pin.Cid, late)
	return nil
}

// Unpin implements ipfscluster.IPFSConnector. What other peers are to hold is given up when the node
// does not respond in time.
func (c *Connector) Unpin(ctx context.Context, key api.Cid) error {
	late := c.Tracker.unanswered.of(key)
	request, moved, err := c.Tracker.begunUnpin(ctx, key)
	if err != nil {
		return err
	}
	if moved {
		limited, cancel := context.WithTimeout(ctx, c.Tracker.removalLimit)
		defer cancel()
		ctx = limited
		if keep, err := c.keep(ctx, key); keep || err != nil {
			if late == nil { // Nothing was sent.
				c.Tracker.unanswered.settled(key, request)
			}
			return err
		}
	}
	err = c.IPFSConnector.Unpin(ctx, key)
	if answered := ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded); answered {
		c.Tracker.unanswered.settled(key, request)
	}
	return err
}

func (c *Connector) keep(ctx context.Context, key api.Cid) (bool, error) {
	if c.Keep == nil {
		return false, nil
	}
	keep, err := c.Keep(ctx, key)
	if err != nil {
		c.Tracker.cfg.GivenUp(key)
		return false, fmt.Errorf("looking whether this peer has the only copy: %w", err)
	}
	return keep, nil
}
