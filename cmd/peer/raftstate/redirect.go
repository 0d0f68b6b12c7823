package raftstate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/boundrpc"
)

// Protocol is by which the leader asks the peer that redirected a write to it whether that is still
// waited for, and by which peers hand it their writes with a condition.
const Protocol = protocol.ID("/ipfs-cluster-pinsvc/raft/1")

const (
	writesService = "Writes"
	waitsMethod   = "Waits"
	// waitsTimeout bounds that question.
	waitsTimeout = 5 * time.Second
	// serveTimeout bounds the answer to a call, whose caller waits no longer than leaderLimit.
	serveTimeout = 30 * time.Second
	// maxRecord bounds the record in a call. A request to the API is much shorter.
	maxRecord = 4 << 20
)

// serving bounds what is read of the calls of other peers. A leader asks about all writes that a peer redirects to
// it, so they may be many, but they are small.
func serving() boundrpc.Serving {
	return boundrpc.Serving{
		Request: boundrpc.Limits{Bytes: maxRecord + 64<<10, Field: maxRecord, Values: 32},
		Peer:    4096, All: 1 << 14, PeerBytes: 2 * maxRecord, AllBytes: 16 * maxRecord, Timeout: serveTimeout,
	}
}

// result bounds what is read of a response: no more than a value or two.
func result() boundrpc.Limits { return boundrpc.Limits{Bytes: 1 << 10, Field: 1 << 10, Values: 8} }

// writes are the writes of this peer that are not ended. It is safe for concurrent use.
//
// A write that was given up must take no effect after a newer one of the same pin, which is begun when
// it has ended. But a redirected write may be under way to a leader that cannot be reached or is
// frozen, and arrive there much later (U71 in docs/upstream-faults.md). So the leader asks before it
// proposes it. What it proposes after that is in its log before anything that the peer redirects to it
// later, and another leader's log has it before its own entries or never.
type writes struct {
	host   host.Host
	client *boundrpc.Client

	mu      sync.Mutex
	waiting map[string]struct{} // by nonce
}

func newWrites(h host.Host) *writes {
	return &writes{host: h, client: boundrpc.NewClient(h, Protocol), waiting: make(map[string]struct{})}
}

// serve lets other peers ask this one.
func (w *writes) serve(c *Consensus) error {
	if err := boundrpc.NewServer(w.host, Protocol, serving()).RegisterName(writesService, &writesRPC{w, c}); err != nil {
		return fmt.Errorf("serving %s: %w", Protocol, err)
	}
	return nil
}

func (w *writes) close() { w.host.RemoveStreamHandler(Protocol) }

type writesRPC struct {
	w *writes
	c *Consensus
}

// Waits tells whether a write of this peer is still waited for.
func (s *writesRPC) Waits(_ context.Context, nonce string, out *bool) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	_, *out = s.w.waiting[nonce]
	return nil
}

// begin enters a write of this peer until end is called.
func (w *writes) begin(nonce string) (end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting[nonce] = struct{}{}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.waiting, nonce)
	}
}

// ErrNotLeader reports that this peer is not the Raft leader.
var ErrNotLeader = errors.New("this peer is not the Raft leader")

var errGivenUp = errors.New("the write was given up by the peer that redirected it")

// check fails when a write that another peer redirected to this one is not waited for there.
func (w *writes) check(ctx context.Context, from peer.ID, nonce string) error {
	if w.older(from) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, waitsTimeout)
	defer cancel()
	waits, err := boundrpc.Call[bool](ctx, w.client, from, writesService, waitsMethod, nonce, result())
	if err != nil {
		return fmt.Errorf("asking peer %s whether it waits for a write: %w", from, err)
	}
	if !waits {
		return errGivenUp
	}
	return nil
}

// older reports whether a peer is of a version that cannot be asked.
func (w *writes) older(id peer.ID) bool {
	known, err := w.host.Peerstore().GetProtocols(id)
	return err == nil && len(known) > 0 && !slices.Contains(known, Protocol)
}

// takes is nil when this peer, as the leader, may propose a write that another one handed to it.
func (c *Consensus) takes(ctx context.Context, from peer.ID, nonce string) error {
	if err := c.leads(ctx); err != nil {
		return err
	}
	if err := c.refused(errLeaderLogFull); err != nil {
		return fmt.Errorf("peer %s: %w", c.self, err)
	}
	return c.writes.check(ctx, from, nonce)
}

// begin lets a write of this peer begin, or one that another peer redirected to it, which only the
// leader takes. end is called when it has ended.
func (c *Consensus) begin(ctx context.Context, key api.Cid, nonce string, redirected bool) (end func(), err error) {
	leave, err := c.keys.begin(ctx, key)
	if err != nil {
		return nil, err
	}
	from, local := rpc.GetRequestSender(ctx)
	if !redirected || local != nil || from == c.self {
		if err := c.refused(errLogFull); err != nil && !isBarrier(key) {
			leave()
			return nil, err
		}
		ended := c.writes.begin(nonce)
		return func() {
			ended()
			leave()
		}, nil
	}
	if err := c.takes(ctx, from, nonce); err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}
