package pinning

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kuborpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
)

const (
	// enoughSpace is more than what the node needs to start and to note a pin.
	enoughSpace = 16 << 20
	// restartMin and restartMax bound the time between two restarts of a node that
	// reports a full storage. It grows while restarts do not help, but not because the
	// storage is full again.
	restartMin, restartMax = 15 * time.Second, 10 * time.Minute
	// blindMemory is how long a node whose disk cannot be seen is said to be full.
	blindMemory = time.Minute
)

// restarts restarts a node that goes on reporting a full storage when there is space
// (U58 in docs/upstream-faults.md). It is for the goroutine of WatchSpace alone.
type restarts struct {
	restart    func(reason error)
	last, next time.Time
	pause      backoff.Counter
}

func newRestarts(restart func(reason error)) restarts {
	return restarts{restart: restart, pause: backoff.Counter{Policy: backoff.Policy{Min: restartMin, Max: restartMax}}}
}

// due reports whether the node may be restarted now, and takes it that it is.
func (r *restarts) due(now time.Time) bool {
	if r.restart == nil || now.Before(r.next) {
		return false
	}
	r.last, r.next = now, now.Add(r.pause.Next())
	return true
}

// anew ends that the pause grows: the node can write, or its storage is full again.
func (r *restarts) anew() {
	r.pause.Reset()
	if soon := r.last.Add(restartMin); soon.Before(r.next) {
		r.next = soon
	}
}

// checkFull finds out whether a node that has reported a full storage still does so at
// a fresh try though there is space, and restarts it then.
func (c *Connector) checkFull(ctx context.Context) {
	free, suspect := c.space.suspect()
	if !suspect {
		if free < enoughSpace {
			c.restarts.anew()
		}
		return
	}
	switch err := c.tryWrite(ctx); {
	case err == nil:
		c.restarts.anew()
		c.space.writable()
	case !noSpace(err):
		logger.Debugf("a try to write to the IPFS node: %s", err) // It may be starting.
	default:
		c.space.broken(free)
		if !c.restarts.due(c.space.now()) {
			return
		}
		c.restarts.restart(fmt.Errorf("the IPFS node reports a full disk, which has %s free, and is restarted: %s",
			humanize.Bytes(free), reasonOf(asCluster(err))))
	}
}

// tryWrite has the node note a pin and forget it.
func (c *Connector) tryWrite(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, measureLimit)
	defer cancel()
	args := url.Values{"arg": {probeCID().String()}}
	if c.cfg.Name != "" {
		args.Set("name", c.cfg.Name) // What stays of it is removed like all pins of the peer.
	}
	if err := c.cfg.RPC.Call(ctx, "pin/add", args, nil); err != nil {
		return err
	}
	return c.cfg.RPC.Call(ctx, "pin/rm", url.Values{"arg": args["arg"]}, nil)
}

// UnpinBarrier returns nil once the IPFS node has answered a request to remove a pin that it does not
// have. All requests that it got before have begun then: it lets them wait for the same lock while it
// collects garbage (U98 in docs/upstream-faults.md).
func (c *Connector) UnpinBarrier(ctx context.Context) error {
	err := c.cfg.RPC.Call(ctx, "pin/rm", url.Values{"arg": {probeCID().String()}}, nil)
	if _, stated := errors.AsType[*kuborpc.Error](err); stated {
		return nil
	}
	return err
}

// probeCID is content that is its own CID: nothing is fetched or stored but the pin.
// Nobody else pins it.
func probeCID() cid.Cid {
	const text = "ipfs-cluster-pinsvc: is there space?"
	hash, err := multihash.Sum([]byte(text), multihash.IDENTITY, -1)
	if err != nil {
		panic(err) // Not of a constant.
	}
	return cid.NewCidV1(cid.Raw, hash)
}

// report notes that the node has reported a full storage.
func (s *space) report(failure error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.full {
		logger.Warnf("storage full: %s", failure)
	}
	s.full, s.reported = true, s.now()
}

// suspect reports whether the node has reported a full storage that has space now, and
// how much.
func (s *space) suspect() (free uint64, suspect bool) {
	now := s.storage.onDisk()
	s.mu.Lock()
	defer s.mu.Unlock()
	if suspect = s.full && now.freeKnown && now.free >= enoughSpace; !suspect {
		s.stuck = 0 // What the node says is true again, or may be.
	}
	return now.free, suspect
}

// broken notes that the node cannot write although so much is free.
func (s *space) broken(free uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stuck = free
}

// writable notes that the node can write.
func (s *space) writable() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full, s.stuck = false, 0
	logger.Info("the storage has space again")
}
