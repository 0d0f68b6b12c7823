// Package blockfetch gets blocks of the CRDT's DAG from other peers, a block together with those
// below it. The DAG is read from its newest block down, each of which names the next, and Bitswap
// sends one peer at most one request in 20 ms (U96 in docs/upstream-faults.md).
//
// Only trusted peers are asked and answered. Every block is verified: the first by the ID that was
// asked for, the others by the links of those before them. What is not got so is left to Bitswap, which
// peers that do not speak the protocol use. While a peer fails, it and the others are asked
// again first, as its connection may be coming back and they may get the block from it.
package blockfetch

import (
	"context"
	"fmt"
	"sync"

	logging "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// Protocol is that of the requests.
const Protocol = protocol.ID("/ipfs-cluster-pinsvc/blocks/1")

var log = logging.Logger("blockfetch")

// Blocks are the blocks of this peer: crdtstore.Store.
type Blocks interface {
	// Branch hands out a block and those below it, the nearest first, until yield returns false.
	Branch(ctx context.Context, id string, yield func(data []byte) bool) error
	// HasBlock reports whether the block is there.
	HasBlock(ctx context.Context, id string) (bool, error)
}

// Config is what an Exchange needs. All fields must be set.
type Config struct {
	Host   host.Host
	Blocks Blocks
	// Trusted reports whether a peer is asked and answered.
	Trusted func(context.Context, peer.ID) bool
}

// Exchange asks other peers, and answers them until it is closed. It is safe for concurrent use.
type Exchange struct {
	cfg  Config
	ctx  context.Context // ends with Close
	stop context.CancelFunc
	turn chan struct{} // held by the one request that is made at a time

	mu       sync.Mutex // guards what is below
	ahead    ahead
	last     peer.ID             // that had what was asked for last
	failures map[peer.ID]failure // of peers that failed
	serving  map[peer.ID]int     // requests of others that are being answered
	answers  sync.WaitGroup      // one for each of these; none is added once ctx has ended
}

// New makes an Exchange, which answers from now on.
func New(cfg Config) *Exchange {
	e := &Exchange{
		cfg: cfg, turn: make(chan struct{}, 1), ahead: newAhead(),
		failures: make(map[peer.ID]failure), serving: make(map[peer.ID]int),
	}
	e.ctx, e.stop = context.WithCancel(context.Background())
	cfg.Host.SetStreamHandler(Protocol, e.serve)
	return e
}

// Close ends all requests, and others are not answered any more. It returns when nothing reads the blocks
// of this peer for others, so that their datastore can be closed, or with an error when ctx has ended before.
func (e *Exchange) Close(ctx context.Context) error {
	e.cfg.Host.RemoveStreamHandler(Protocol)
	e.mu.Lock()
	e.stop()
	e.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		e.answers.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("other peers are still being answered: %w", ctx.Err())
	}
}
