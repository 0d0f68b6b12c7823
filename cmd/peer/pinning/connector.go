// Package pinning pins content in the IPFS node and reports what became of it.
//
// Upstream's connector takes the end of a response for a success and hides an error
// that Kubo states after its response has begun (U38 in docs/upstream-faults.md). A
// Connector in front of it makes the request for a pin itself, reads the error from
// wherever Kubo puts it, and asks the IPFS node whether it has the pin before it
// reports a success. Pins that failed because the storage is full are not begun again
// before there is space for them.
package pinning

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/observations"
	"github.com/ipfs/go-cid"
	logging "github.com/ipfs/go-log/v2"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"go.opencensus.io/stats"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kuborpc"
)

var logger = logging.Logger("pinning")

// Config is what a Connector needs.
type Config struct {
	// RPC calls the IPFS node. The Connector closes it.
	RPC *kuborpc.Client
	// PinTimeout is how long a pin may make no progress.
	PinTimeout time.Duration
	// RequestTimeout is how long a list of pins may take.
	RequestTimeout time.Duration
	// Name is the name of new pins in the IPFS node; empty: they have none.
	Name string
	// InformerTrigger is after how many pins begun or ended the peer publishes its
	// metrics; 0: not because of pins.
	InformerTrigger int
	// Storage is the IPFS node's.
	Storage Storage
	// Restart, if not nil, restarts the IPFS node, which cannot write for the reason. It
	// returns at once.
	Restart func(reason error)
	// GivenUp, if not nil, is called when the IPFS node may keep a pin that the cluster
	// has given up: a pin was cancelled, or, with failed, could not be removed. It
	// returns at once.
	GivenUp func(key cid.Cid, failed bool)
}

// Connector is an IPFS connector that reports true outcomes of pins. All other
// requests go to the inner connector. It is safe for concurrent use.
type Connector struct {
	ipfscluster.IPFSConnector
	cfg   Config
	space *space
	// restarts is for WatchSpace.
	restarts restarts
	// silence is how long the node may send nothing during a pin before it is
	// probed, and probe how long it may take then.
	silence, probe time.Duration

	mu        sync.Mutex
	client    *rpc.Client
	published int   // How many pins have begun or ended since metrics were published.
	pins      int64 // In the IPFS node, as far as known.

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// New wraps a connector. Shutdown of the wrapper shuts the inner one down.
func New(inner ipfscluster.IPFSConnector, cfg Config) *Connector {
	const silence, probe = 15 * time.Second, 10 * time.Second
	if cfg.GivenUp == nil {
		cfg.GivenUp = func(cid.Cid, bool) {}
	}
	c := &Connector{
		IPFSConnector: inner, cfg: cfg, space: newSpace(cfg.RPC, cfg.Storage), restarts: newRestarts(cfg.Restart),
		silence: silence, probe: probe,
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// SetClient implements ipfscluster.Component.
func (c *Connector) SetClient(client *rpc.Client) {
	c.mu.Lock()
	c.client = client
	c.mu.Unlock()
	c.IPFSConnector.SetClient(client)
}

// Shutdown ends the wait for space and shuts the inner connector down.
func (c *Connector) Shutdown(ctx context.Context) error {
	c.cancel()
	c.wg.Wait()
	c.cfg.RPC.Close()
	return c.IPFSConnector.Shutdown(ctx)
}

// Pin has the IPFS node pin the content and returns nil once the node has confirmed
// that it has. An error has the node's own reason.
func (c *Connector) Pin(ctx context.Context, pin api.Pin) error {
	pinned, err := c.holds(ctx, pin)
	if err != nil {
		return err
	}
	if pinned {
		c.space.forget(pin.Cid.Cid)
		return nil
	}
	c.publish(ctx)
	defer c.publish(ctx)
	if c.updates(ctx, pin) {
		if err = c.IPFSConnector.Pin(ctx, pin); err != nil && noSpace(err) {
			c.space.report(err)
		}
	} else {
		err = c.fetch(ctx, pin)
	}
	if ctx.Err() != nil {
		// The node may pin the content all the same, after the request to remove it
		// (U40 in docs/upstream-faults.md).
		c.cfg.GivenUp(pin.Cid.Cid, false)
	}
	if err != nil {
		return err
	}
	return c.confirm(ctx, pin)
}

// updates reports whether the pin is to be made from another one that the IPFS node
// holds, which upstream's connector does. Its response has no progress, and so no
// late errors.
func (c *Connector) updates(ctx context.Context, pin api.Pin) bool {
	if !pin.PinUpdate.Defined() {
		return false
	}
	held, err := c.IPFSConnector.PinLsCid(ctx, api.PinWithOpts(pin.PinUpdate, pin.PinOptions))
	return err == nil && held.IsPinned(-1)
}

// fetch requests the pin, unless there is no space for it.
func (c *Connector) fetch(ctx context.Context, pin api.Pin) error {
	release, err := c.space.admit(ctx, pin.Cid.Cid)
	if err != nil {
		return err
	}
	defer release()
	stats.Record(c.ctx, observations.PinsPinAdd.M(1))
	before := c.cfg.Storage.onDisk()
	fetched, err := c.add(ctx, pin)
	if err == nil {
		return nil
	}
	stats.Record(c.ctx, observations.PinsPinAddError.M(1))
	if noSpace(err) {
		// Not with the context of the try, which may have ended.
		c.space.lacked(c.ctx, pin.Cid.Cid, err, before, fetched)
		if ctx.Err() != nil {
			c.space.forget(pin.Cid.Cid) // It was removed meanwhile, and Unpin had nothing to forget.
		}
	}
	return err
}

// errNoResult: the IPFS node reported neither a pin nor an error. A proxy in front of
// it may swallow what comes after the body of a response.
var errNoResult = errors.New("the IPFS node ended its response without a result and does not have the pin")

// confirm asks the IPFS node whether it has the pin.
func (c *Connector) confirm(ctx context.Context, pin api.Pin) error {
	pinned, err := c.holds(ctx, pin)
	if err != nil {
		return fmt.Errorf("confirming the pin: %w", err)
	}
	if !pinned {
		stats.Record(c.ctx, observations.PinsPinAddError.M(1))
		return errNoResult
	}
	c.space.forget(pin.Cid.Cid)
	c.count(1)
	logger.Debugf("the IPFS node has pinned %s", pin.Cid)
	return nil
}

func (c *Connector) holds(ctx context.Context, pin api.Pin) (bool, error) {
	held, err := c.PinLsCid(ctx, pin)
	return held.IsPinned(pin.MaxDepth) || pin.MaxDepth == 0 && held.IsPinned(-1), err
}

// PinLsCid implements ipfscluster.IPFSConnector. Upstream's looks for pins of the kind that is wanted; a root
// that is wanted alone is pinned as well when all below it is, and Kubo refuses to pin it once more (U109 in
// docs/upstream-faults.md).
func (c *Connector) PinLsCid(ctx context.Context, pin api.Pin) (api.IPFSPinStatus, error) {
	held, err := c.IPFSConnector.PinLsCid(ctx, pin)
	if err != nil || held != api.IPFSPinStatusUnpinned || pin.MaxDepth != 0 {
		return held, err
	}
	pin.Mode, pin.MaxDepth = api.PinModeRecursive, -1
	return c.IPFSConnector.PinLsCid(ctx, pin)
}

// Unpin implements ipfscluster.IPFSConnector.
func (c *Connector) Unpin(ctx context.Context, key api.Cid) error {
	c.space.forget(key.Cid)
	err := c.IPFSConnector.Unpin(ctx, key)
	if err != nil {
		if noSpace(err) {
			c.space.report(err)
		}
		// The tracker does not try again (U41 in docs/upstream-faults.md).
		c.cfg.GivenUp(key.Cid, true)
		return err
	}
	c.count(-1)
	return nil
}

// count keeps the metric of the IPFS node's pins, which upstream's connector counts in
// its own requests only.
func (c *Connector) count(change int64) {
	c.mu.Lock()
	c.pins = max(c.pins+change, 0)
	pins := c.pins
	c.mu.Unlock()
	stats.Record(c.ctx, observations.PinsIpfsPins.M(pins))
}

// publish has the peer publish its metrics when so many pins have begun or ended, as
// upstream's connector does.
func (c *Connector) publish(ctx context.Context) {
	if c.cfg.InformerTrigger <= 0 {
		return
	}
	c.mu.Lock()
	c.published++
	due := c.published >= c.cfg.InformerTrigger && c.client != nil
	if due {
		c.published = 0
	}
	client := c.client
	c.mu.Unlock()
	if !due {
		return
	}
	err := client.GoContext(context.WithoutCancel(ctx), "", "Cluster", "SendInformersMetrics", struct{}{}, &struct{}{}, nil)
	if err != nil {
		logger.Debugf("publishing metrics: %s", err)
	}
}
