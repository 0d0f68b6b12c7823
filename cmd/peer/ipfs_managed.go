package peer

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/ipfsconn/ipfshttp"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kubo"
)

// node is the managed Kubo as this package needs it.
type node interface {
	// Watch returns the status and a channel that is closed once it changed.
	Watch() (kubo.Status, <-chan struct{})
}

// errNotRunning is the error of every request to the managed node while it
// does not run.
var errNotRunning = errors.New("the IPFS node is not running")

// errStopping is that of requests that come while the peer stops. The program's log knows its text.
var errStopping = fmt.Errorf("%w: the peer is stopping", errNotRunning)

// notRunning is errNotRunning with what the node is doing instead.
func notRunning(status kubo.Status) error {
	switch {
	case status.Err != "":
		return fmt.Errorf("%w: %s", errNotRunning, status.Err)
	case status.Doing != "":
		return fmt.Errorf("%w yet: %s", errNotRunning, status.Doing)
	default:
		return fmt.Errorf("%w: it is %s", errNotRunning, status.State)
	}
}

// servesRPC reports whether the node responds to requests.
func servesRPC(status kubo.Status) bool {
	return status.State == kubo.StateRunning && status.APIAddr != nil
}

// managedConnector is upstream's ipfshttp connector to a node whose address
// becomes known late and may change. It is by hand because upstream's takes
// its address once (U7 in docs/upstream-faults.md): each address gets a
// connector of its own. While the node does not run, every request fails with
// errNotRunning.
type managedConnector struct {
	node  node
	cfg   ipfshttp.Config
	ready chan struct{}
	once  sync.Once

	mu          sync.Mutex // Guards the fields below: adopt replaces them while requests read them.
	client      *rpc.Client
	addr        ma.Multiaddr
	inner       *ipfshttp.Connector
	unavailable error // Why inner, if any, must not be used now.

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// newManagedConnector follows the node until Shutdown. The node_multiaddress
// of the configuration is not used.
func newManagedConnector(n node, cfg *ipfshttp.Config) *managedConnector {
	c := &managedConnector{
		node:        n,
		cfg:         *cfg,
		ready:       make(chan struct{}),
		unavailable: errNotRunning,
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	status, _ := n.Watch()
	c.adopt(status) // The error of an early request states what the node is doing.
	c.wg.Go(c.follow)
	return c
}

// follow adopts each change of the node's status.
func (c *managedConnector) follow() {
	for {
		status, changed := c.node.Watch()
		if old := c.adopt(status); old != nil {
			if err := old.Shutdown(c.ctx); err != nil {
				logger.Warnf("stopping the connector to the IPFS node's previous address: %s", err)
			}
		}
		select {
		case <-changed:
		case <-c.ctx.Done():
			return
		}
	}
}

// adopt directs requests to the node's present address, and returns the
// connector to the previous one, if it was replaced.
func (c *managedConnector) adopt(status kubo.Status) (old *ipfshttp.Connector) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !servesRPC(status) {
		c.unavailable = notRunning(status)
		return nil
	}
	if c.inner != nil && c.addr.Equal(status.APIAddr) {
		c.unavailable = nil
		return nil
	}
	cfg := c.cfg
	cfg.NodeAddr = status.APIAddr
	inner, err := ipfshttp.NewConnector(&cfg)
	if err != nil {
		c.unavailable = fmt.Errorf("connecting to the IPFS node at %s: %w", status.APIAddr, err)
		logger.Error(c.unavailable)
		return nil
	}
	if c.client != nil {
		inner.SetClient(c.client)
	}
	c.wg.Go(func() { c.awaitReady(inner) })
	old, c.inner, c.addr, c.unavailable = c.inner, inner, status.APIAddr, nil
	logger.Infof("the IPFS node is at %s", status.APIAddr)
	return old
}

func (c *managedConnector) awaitReady(inner *ipfshttp.Connector) {
	select {
	case <-inner.Ready(c.ctx):
		c.once.Do(func() { close(c.ready) })
	case <-c.ready: // By another one.
	case <-c.ctx.Done():
	}
}

// unreachableText begins the errors of requests while the node does not run. It
// is the text of upstream's connector for a node that does not respond:
// trackers pass failures on as text, by which other peers distinguish an
// unreachable node from a pin that failed.
const unreachableText = "IPFS request failed (is it running?)"

// current returns the connector to use now.
func (c *managedConnector) current() (*ipfshttp.Connector, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unavailable != nil {
		return nil, fmt.Errorf("%s: %w", unreachableText, c.unavailable)
	}
	return c.inner, nil
}

// SetClient lets the connector, and those for later addresses, start.
func (c *managedConnector) SetClient(client *rpc.Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil && c.inner != nil {
		c.inner.SetClient(client)
	}
	c.client = client
}

// Shutdown stops following the node and the connector in use. It may be
// called again.
func (c *managedConnector) Shutdown(ctx context.Context) error {
	c.cancel()
	c.wg.Wait()
	c.mu.Lock()
	inner := c.inner
	c.inner, c.unavailable = nil, errStopping
	c.mu.Unlock()
	if inner == nil {
		return nil
	}
	return inner.Shutdown(ctx)
}

// Ready returns a channel that is closed once the node has responded.
func (c *managedConnector) Ready(context.Context) <-chan struct{} { return c.ready }

func (c *managedConnector) ID(ctx context.Context) (api.IPFSID, error) {
	inner, err := c.current()
	if err != nil {
		return api.IPFSID{}, err
	}
	return inner.ID(ctx)
}

func (c *managedConnector) Pin(ctx context.Context, pin api.Pin) error {
	inner, err := c.current()
	if err != nil {
		return err
	}
	return inner.Pin(ctx, pin)
}

func (c *managedConnector) Unpin(ctx context.Context, cid api.Cid) error {
	inner, err := c.current()
	if err != nil {
		return err
	}
	return inner.Unpin(ctx, cid)
}

func (c *managedConnector) PinLsCid(ctx context.Context, pin api.Pin) (api.IPFSPinStatus, error) {
	inner, err := c.current()
	if err != nil {
		return api.IPFSPinStatusError, err
	}
	return inner.PinLsCid(ctx, pin)
}

// PinLs closes out in any case, as its callers expect.
func (c *managedConnector) PinLs(ctx context.Context, typeFilters []string, out chan<- api.IPFSPinInfo) error {
	inner, err := c.current()
	if err != nil {
		close(out)
		return err
	}
	return inner.PinLs(ctx, typeFilters, out)
}

func (c *managedConnector) ConnectSwarms(ctx context.Context) error {
	inner, err := c.current()
	if err != nil {
		return err
	}
	return inner.ConnectSwarms(ctx)
}

func (c *managedConnector) SwarmPeers(ctx context.Context) ([]libp2ppeer.ID, error) {
	inner, err := c.current()
	if err != nil {
		return nil, err
	}
	return inner.SwarmPeers(ctx)
}

func (c *managedConnector) ConfigKey(keypath string) (any, error) {
	inner, err := c.current()
	if err != nil {
		return nil, err
	}
	return inner.ConfigKey(keypath)
}

func (c *managedConnector) RepoStat(ctx context.Context) (api.IPFSRepoStat, error) {
	inner, err := c.current()
	if err != nil {
		return api.IPFSRepoStat{}, err
	}
	return inner.RepoStat(ctx)
}

func (c *managedConnector) RepoGC(ctx context.Context) (api.RepoGC, error) {
	inner, err := c.current()
	if err != nil {
		return api.RepoGC{}, err
	}
	return inner.RepoGC(ctx)
}

func (c *managedConnector) Resolve(ctx context.Context, path string) (api.Cid, error) {
	inner, err := c.current()
	if err != nil {
		return api.CidUndef, err
	}
	return inner.Resolve(ctx, path)
}

// BlockStream drains blocks even when the node does not run: the sender does
// not watch the context.
func (c *managedConnector) BlockStream(ctx context.Context, blocks <-chan api.NodeWithMeta) error {
	inner, err := c.current()
	if err != nil {
		go func() {
			for range blocks {
			}
		}()
		return err
	}
	return inner.BlockStream(ctx, blocks)
}

func (c *managedConnector) BlockGet(ctx context.Context, cid api.Cid) ([]byte, error) {
	inner, err := c.current()
	if err != nil {
		return nil, err
	}
	return inner.BlockGet(ctx, cid)
}
