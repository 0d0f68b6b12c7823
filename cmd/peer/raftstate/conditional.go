package raftstate

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	rpc "github.com/libp2p/go-libp2p-gorpc"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/boundrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
)

// ConditionalWrite is a write with a clusterrpc.Condition, as a peer hands it to the leader.
//
// The log cannot look at what an entry changes, but all that is in it was proposed by a leader. So the
// leader keeps other writes to the key back, waits until all that was proposed before is applied,
// compares, and proposes. Were another peer the leader after the comparison, this one's entry is not
// accepted, or comes before all that the other one proposes. Leaders are asked by our own protocol, which
// one that knows no conditions does not have: what it commits, it commits whatever there is.
type ConditionalWrite struct {
	// Nonce tells the write from others.
	Nonce string
	// Key is the CID of the pin in its binary form.
	Key []byte
	// Record is the pin in its protobuf form, empty for a removal.
	Record []byte
	// Version is that of the condition.
	Version uint64
}

const conditionalMethod = "Conditional"

// Conditional makes a write of another peer.
func (s *writesRPC) Conditional(ctx context.Context, in ConditionalWrite, _ *struct{}) error {
	from, err := rpc.GetRequestSender(ctx)
	if err != nil {
		return err
	}
	if err := s.c.takes(ctx, from, in.Nonce); err != nil {
		return err
	}
	return s.c.makeHere(ctx, in)
}

// pinIf is LogPin with a condition.
func (c *Consensus) pinIf(ctx context.Context, pin api.Pin, condition clusterrpc.Condition) error {
	_, m, _, err := marked(pin)
	if err != nil {
		return err
	}
	entry, forget := c.store.expect(m.nonce)
	defer forget()
	if err := c.atLeader(ctx, ConditionalWrite{m.nonce, pin.Cid.Bytes(), m.record, condition.Version}); err != nil {
		return err
	}
	return c.awaitPin(ctx, entry, pin.Cid, m)
}

// unpinIf is LogUnpin with a condition.
func (c *Consensus) unpinIf(ctx context.Context, key api.Cid, condition clusterrpc.Condition) error {
	entry, forget := c.store.expect(c.store.key(key).String())
	defer forget()
	if err := c.atLeader(ctx, ConditionalWrite{rand.Text(), key.Bytes(), nil, condition.Version}); err != nil {
		return err
	}
	return c.awaitRemoval(ctx, entry, key)
}

// atLeader has the leader make a write, whichever peer that is.
func (c *Consensus) atLeader(ctx context.Context, w ConditionalWrite) error {
	if err := c.refused(errLogFull); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, leaderLimit)
	defer cancel()
	tick := time.NewTicker(leaderPoll)
	defer tick.Stop()
	for {
		leader, err := c.Leader(ctx)
		switch {
		case err != nil:
			err = fmt.Errorf("no Raft leader: %w: %w", ErrNotLeader, err)
		case leader == c.self:
			if err = c.leads(ctx); err == nil {
				return c.makeHere(ctx, w)
			}
		default:
			end := c.writes.begin(w.Nonce)
			_, err = boundrpc.Call[struct{}](ctx, c.writes.client, leader, writesService, conditionalMethod, w, result())
			end()
		}
		if knowsNoConditions(err) {
			return fmt.Errorf("the leader cannot tell: %w", clusterrpc.ErrChanged)
		}
		// The leader proposes nothing when it says that it is none.
		if err == nil || !strings.Contains(err.Error(), ErrNotLeader.Error()) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

// knowsNoConditions reports whether a leader is of ipfs-cluster-service, or of an older version.
func knowsNoConditions(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "protocols not supported") ||
		strings.Contains(err.Error(), "can't find method "+conditionalMethod))
}

// leads returns ErrNotLeader where this peer is not the leader.
func (c *Consensus) leads(ctx context.Context) error {
	if leader, err := c.Leader(ctx); err != nil || leader != c.self {
		return errors.Join(ErrNotLeader, err)
	}
	return nil
}

// makeHere makes a write at the leader.
func (c *Consensus) makeHere(ctx context.Context, w ConditionalWrite) error {
	key, err := api.CastCid(w.Key)
	if err != nil {
		return err
	}
	release, free := c.keys.hold(key)
	if !free {
		return fmt.Errorf("another write to it has begun: %w", clusterrpc.ErrChanged)
	}
	defer release()
	if err := c.barrier(ctx); err != nil {
		return fmt.Errorf("waiting for earlier writes: %w", err)
	}
	if err := c.leads(ctx); err != nil {
		return err
	}
	st, err := c.State(ctx)
	if err != nil {
		return err
	}
	now, err := st.Get(ctx, key)
	switch {
	case errors.Is(err, state.ErrNotFound) && len(w.Record) == 0:
		return nil
	case errors.Is(err, state.ErrNotFound):
		return clusterrpc.ErrChanged
	case err != nil:
		return err
	case !(clusterrpc.Condition{Version: w.Version}).Holds(now):
		return clusterrpc.ErrChanged
	}
	if err := c.propose(key, w); err != nil {
		return fmt.Errorf("the change may still take effect: %w", err)
	}
	return nil
}

// propose commits a write at this peer and nowhere else, and returns when that is applied. It is tried once:
// the comparison does not hold any more for an entry that is proposed after the office was lost (U106 in
// docs/upstream-faults.md). Where this peer is no leader any more, upstream would hand the write to the new
// one, which does not compare: the context for that has ended, and the new leader would ask this peer, which
// does not wait for such a nonce.
func (c *Consensus) propose(key api.Cid, w ConditionalWrite) error {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if len(w.Record) == 0 {
		removed := api.PinCid(key)
		removed.Metadata = map[string]string{markKey: noMark + w.Nonce}
		return c.Consensus.LogUnpin(ended, removed)
	}
	var pin api.Pin
	if err := pin.ProtoUnmarshal(w.Record); err != nil {
		return err
	}
	if !pin.Cid.Equals(key) {
		return errors.New("the record is that of another pin")
	}
	if pin.Metadata == nil {
		pin.Metadata = make(map[string]string, 1)
	}
	pin.Metadata[markKey] = mark{w.Nonce, w.Record}.String()
	return c.Consensus.LogPin(ended, pin)
}
