package blockfetch

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/crdtstore"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
)

const (
	// firstWait is how long a peer may take until its first block, or its end; nextWait bounds the time
	// between two blocks: what is late is asked for again when it is needed.
	firstWait, nextWait = 2 * time.Second, 100 * time.Millisecond
	// maxWait bounds all of it.
	maxWait = 5 * time.Second
	// restTime is how long a peer is not asked after it failed.
	restTime = 5 * time.Second
	// patience is for how long a peer fails, without a block in between, while others that lack a block are asked
	// again every retryPause: they may get it from that peer. Bitswap would ask them again after a minute, and a block
	// of a head that is waited for holds up all other heads (U123 in docs/upstream-faults.md).
	patience, retryPause = 10 * time.Second, 500 * time.Millisecond
	// maxAsked is how many peers are asked for one block, beside the one that had the last.
	maxAsked = 4
)

// Get returns a block that this peer does not have. It returns false when no peer that is asked has it
// or responds in time. It is crdtstore.Fetch.
func (e *Exchange) Get(ctx context.Context, id string) ([]byte, bool) {
	for {
		data, again := e.try(ctx, id)
		if data != nil || !again {
			return data, data != nil
		}
		if !backoff.Sleep(ctx, retryPause) || e.ctx.Err() != nil {
			return nil, false
		}
	}
}

// try asks each peer once. again: one of them does not have the block, and may get it soon from one that fails.
func (e *Exchange) try(ctx context.Context, id string) (data []byte, again bool) {
	if data, ok := e.takeAhead(id); ok {
		return data, false
	}
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return nil, false
	}
	if data, ok := e.takeAhead(id); ok {
		return data, false
	}
	last, others := e.candidates(ctx)
	lacks := false
	if last != "" {
		r, no := e.ask(ctx, last, id)
		if r != nil {
			return e.took(ctx, r), false
		}
		lacks = no
	}
	r, no := e.askAny(ctx, others, id)
	if r != nil {
		return e.took(ctx, r), false
	}
	return nil, (lacks || no) && e.awaits(ctx)
}

// awaits reports whether a peer fails since a moment ago. Of peers that do not speak the protocol any may have the
// block, so that nothing is awaited beside them.
func (e *Exchange) awaits(ctx context.Context) bool {
	failing := false
	for _, id := range e.cfg.Host.Network().Peers() {
		if !e.cfg.Trusted(ctx, id) {
			continue
		}
		if spoken, err := e.cfg.Host.Peerstore().SupportsProtocols(id, Protocol); err != nil || len(spoken) == 0 {
			return false
		}
		e.mu.Lock()
		since, ok := e.failing[id]
		e.mu.Unlock()
		failing = failing || ok && time.Since(since) < patience
	}
	return failing
}

func (e *Exchange) takeAhead(id string) ([]byte, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ahead.take(id)
}

// candidates are the peers that may be asked: the one that had the last block, if it may be, and others.
func (e *Exchange) candidates(ctx context.Context) (last peer.ID, others []peer.ID) {
	now := time.Now()
	e.mu.Lock()
	for id, until := range e.resting {
		if now.After(until) {
			delete(e.resting, id)
		}
	}
	resting := make(map[peer.ID]bool, len(e.resting))
	for id := range e.resting {
		resting[id] = true
	}
	had := e.last
	e.mu.Unlock()
	for _, id := range e.cfg.Host.Network().Peers() {
		spoken, err := e.cfg.Host.Peerstore().SupportsProtocols(id, Protocol)
		if err != nil || len(spoken) == 0 || resting[id] || !e.cfg.Trusted(ctx, id) {
			continue
		}
		if id == had {
			last = id
		} else if len(others) < maxAsked {
			others = append(others, id)
		}
	}
	return last, others
}

// askAny asks several peers at once and takes the first that has the block.
func (e *Exchange) askAny(ctx context.Context, ids []peer.ID, id string) (r *response, lacks bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		r     *response
		lacks bool
	}
	answers := make(chan answer, len(ids))
	for _, p := range ids {
		go func() {
			r, lacks := e.ask(ctx, p, id)
			answers <- answer{r, lacks}
		}()
	}
	for range ids {
		a := <-answers
		if a.r != nil {
			return a.r, false
		}
		lacks = lacks || a.lacks
	}
	return nil, lacks
}

// response are the blocks that a peer sent, verified.
type response struct {
	from   peer.ID
	count  int // that were asked for
	ids    []string
	blocks [][]byte
	more   int             // bytes of those that came with the first
	links  map[string]bool // out of them
}

// ask returns nil when the peer lacks the block, or fails.
func (e *Exchange) ask(ctx context.Context, from peer.ID, id string) (_ *response, lacks bool) {
	e.mu.Lock()
	count := e.ahead.count(id)
	e.mu.Unlock()
	r := &response{from: from, count: count, links: map[string]bool{id: true}}
	err := e.request(ctx, r, id)
	switch {
	case len(r.blocks) > 0:
		e.mu.Lock()
		delete(e.failing, from)
		e.mu.Unlock()
		return r, false
	case err != nil && ctx.Err() == nil && e.ctx.Err() == nil:
		log.Debugf("asking peer %s for a block: %s", from, err)
		e.mu.Lock()
		e.resting[from] = time.Now().Add(restTime)
		if _, ok := e.failing[from]; !ok {
			e.failing[from] = time.Now()
		}
		e.mu.Unlock()
	}
	return nil, err == nil
}

func (e *Exchange) request(ctx context.Context, r *response, id string) error {
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	timer := time.AfterFunc(firstWait, cancel)
	defer timer.Stop()
	s, err := e.cfg.Host.NewStream(network.WithNoDial(ctx, "fetching blocks"), r.from, Protocol)
	if err != nil {
		return err
	}
	defer func() { _ = s.Reset() }()
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	if err := (request{id, r.count}).write(s); err != nil {
		return err
	}
	if err := s.CloseWrite(); err != nil {
		return err
	}
	in := bufio.NewReader(s)
	for len(r.blocks) < r.count {
		data, err := readField(in, maxBlock)
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(r.blocks) > 0 {
			if r.more += len(data); r.more > maxAhead {
				return nil // The next request gets the rest.
			}
		}
		if err := r.add(data); err != nil {
			return err
		}
		timer.Reset(nextWait)
	}
	return nil
}

// add verifies the next block: it is the first one that is asked for, or one that others link to.
func (r *response) add(data []byte) error {
	id, err := crdtstore.IDOf(data)
	if err != nil {
		return err
	}
	if !r.links[id] {
		return fmt.Errorf("block %s was not asked for", id)
	}
	links, err := crdtstore.Links(data)
	if err != nil {
		return fmt.Errorf("decoding block %s: %w", id, err)
	}
	delete(r.links, id)
	r.ids, r.blocks = append(r.ids, id), append(r.blocks, data)
	for _, link := range links {
		if !slices.Contains(r.ids, link) {
			r.links[link] = true
		}
	}
	return nil
}

// took keeps what came with the first block, and returns that.
func (e *Exchange) took(ctx context.Context, r *response) []byte {
	missing := make([]bool, len(r.ids))
	for i, id := range r.ids {
		has, err := e.cfg.Blocks.HasBlock(ctx, id)
		missing[i] = err == nil && !has
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last = r.from
	for i, id := range r.ids[1:] {
		if missing[i+1] {
			e.ahead.add(id, r.blocks[i+1])
		}
	}
	e.ahead.came(r.count, r.links)
	return r.blocks[0]
}
