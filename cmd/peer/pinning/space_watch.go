package pinning

import (
	"context"
	"time"

	"github.com/ipfs/go-cid"
)

// watchInterval is the time between two looks at the space while pins wait for it.
const watchInterval = 5 * time.Second

// Details returns what an operator should know of the storage, for GET /ready.
func (c *Connector) Details() []string { return c.space.details() }

// WatchSpace has retry called for pins that failed for lack of space once there is
// space for them, and the node restarted that does not see that there is. retry reports whether the pin is still wanted here. It is called
// once, before the first pin.
func (c *Connector) WatchSpace(retry func(context.Context, cid.Cid) (wanted bool)) {
	c.wg.Go(func() {
		tick := time.NewTicker(watchInterval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-c.ctx.Done():
				return
			}
			if c.space.idle() {
				continue
			}
			c.checkFull(c.ctx)
			for _, key := range c.space.ready(c.ctx) {
				logger.Infof("there is space for %s: it is tried again", key)
				if !retry(c.ctx, key) {
					c.space.forget(key)
				}
			}
		}
	})
}
