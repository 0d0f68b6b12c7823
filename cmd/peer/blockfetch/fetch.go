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
	// patience is for how long a peer that fails is waited for, and asked again each retryPause with the others: its
	// connection may be coming back, and the others may get a block from it. Bitswap would ask them again after a minute,
	// and a block of a head that is waited for holds up all other heads (U123 in docs/upstream-faults.md). One that fails
	// now and then is waited for once each patiencePause.
	patience, retryPause, patiencePause = 10 * time.Second, 500 * time.Millisecond, time.Minute
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

// try asks each peer once. again: one that fails may respond soon.
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
	speaking, silent := e.trusted(ctx)
	last, others := e.candidates(speaking)
	for _, asked := range [][]peer.ID{last, others} {
		if r := e.askAny(ctx, asked, id); r != nil {
			return e.took(ctx, r), false
		}
	}
	// Those that do not speak the protocol may have the block, and Bitswap asks them.
	return nil, !silent && e.awaits(speaking)
}

// awaits reports whether one of the peers fails since a moment ago.
func (e *Exchange) awaits(ids []peer.ID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.ContainsFunc(ids, func(id peer.ID) bool {
		f, ok := e.failures[id]
		return ok && !f.responded && time.Since(f.since) < patience
	})
}

func (e *Exchange) takeAhead(id string) ([]byte, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ahead.take(id)
}

// trusted are the connected peers that are trusted and speak the protocol. silent: others do not speak it.
func (e *Exchange) trusted(ctx context.Context) (speaking []peer.ID, silent bool) {
	for _, id := range e.cfg.Host.Network().Peers() {
		if !e.cfg.Trusted(ctx, id) {
			continue
		}
		if spoken, err := e.cfg.Host.Peerstore().SupportsProtocols(id, Protocol); err != nil || len(spoken) == 0 {
			silent = true
		} else {
			speaking = append(speaking, id)
		}
	}
	return speaking, silent
}

// candidates are those of the peers that are asked: the one that had the last block, if it may be, and others.
func (e *Exchange) candidates(ids []peer.ID) (last, others []peer.ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range ids {
		switch {
		case time.Now().Before(e.failures[id].rests):
		case id == e.last:
			last = append(last, id)
		case len(others) < maxAsked:
			others = append(others, id)
		}
	}
	return last, others
}

// askAny asks several peers at once and takes the first response that has the block; nil: none has.
func (e *Exchange) askAny(ctx context.Context, ids []peer.ID, id string) *response {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	responses := make(chan *response, len(ids))
	for _, p := range ids {
		go func() { responses <- e.ask(ctx, p, id) }()
	}
	for range ids {
		if r := <-responses; r != nil {
			return r
		}
	}
	return nil
}

// failure is that of a peer.
type failure struct {
	rests     time.Time // it is not asked until then
	since     time.Time // it is waited for from then on
	responded bool      // since then
}

// failed notes that a peer did not respond, or with what is wrong, for which it is not waited.
func (e *Exchange) failed(id peer.ID, wrong bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	f, again := e.failures[id]
	f.rests = now.Add(restTime)
	if !wrong {
		if !again || f.responded && now.Sub(f.since) > patiencePause {
			f.since = now
		}
		f.responded = false
	}
	e.failures[id] = f
}

func (e *Exchange) responded(id peer.ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if f, ok := e.failures[id]; ok {
		e.failures[id] = failure{since: f.since, responded: true}
	}
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
func (e *Exchange) ask(ctx context.Context, from peer.ID, id string) *response {
	e.mu.Lock()
	count := e.ahead.count(id)
	e.mu.Unlock()
	r := &response{from: from, count: count, links: map[string]bool{id: true}}
	err := e.request(ctx, r, id)
	if err != nil && len(r.blocks) == 0 {
		if ctx.Err() == nil && e.ctx.Err() == nil {
			log.Debugf("asking peer %s for a block: %s", from, err)
			e.failed(from, errors.Is(err, errWrong))
		}
		return nil
	}
	e.responded(from)
	if len(r.blocks) == 0 {
		return nil
	}
	return r
}

// errWrong is that of a response which is not one to the request.
var errWrong = errors.New("wrong response")

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
		return fmt.Errorf("%w: block %s was not asked for", errWrong, id)
	}
	links, err := crdtstore.Links(data)
	if err != nil {
		return fmt.Errorf("%w: decoding block %s: %w", errWrong, id, err)
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
