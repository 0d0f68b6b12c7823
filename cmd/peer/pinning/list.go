package pinning

import (
	"context"
	"errors"
	"io"
	"net/url"

	"github.com/ipfs-cluster/ipfs-cluster/api"
)

const recursive = "recursive"

// PinLs implements ipfscluster.IPFSConnector, in the place of upstream's connector, which takes an error in the
// middle of the list for its end (U111 in docs/upstream-faults.md). Like that one it lists the pins of
// the first of the types alone, and closes out in any case.
func (c *Connector) PinLs(ctx context.Context, types []string, out chan<- api.IPFSPinInfo) error {
	defer close(out)
	if len(types) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.RequestTimeout)
	defer cancel()
	n, err := c.list(ctx, types[0], out)
	if err != nil {
		return asCluster(err)
	}
	if types[0] == recursive { // The direct ones are few, or none.
		c.mu.Lock()
		c.pins = n
		c.mu.Unlock()
	}
	c.count(0)
	return nil
}

// list sends the pins of a type and returns how many there are.
func (c *Connector) list(ctx context.Context, kind string, out chan<- api.IPFSPinInfo) (n int64, err error) {
	stream, err := c.cfg.RPC.Stream(ctx, "pin/ls", url.Values{"type": {kind}, "stream": {"true"}})
	if err != nil {
		return 0, err
	}
	defer stream.Close()
	for {
		var pin api.IPFSPinInfo
		switch err := stream.Next(&pin); {
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			return n, err
		}
		select {
		case out <- pin:
			n++
		case <-ctx.Done():
			return n, ctx.Err()
		}
	}
}
