package blockfetch

import (
	"bufio"
	"context"
	"errors"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// maxServing bounds the requests of one peer that are answered at once, and maxServingAll those of
	// all. A peer makes one at a time.
	maxServing, maxServingAll = 2, 32
	// serveTimeout bounds the answer to one.
	serveTimeout = 10 * time.Second
)

func (e *Exchange) serve(s network.Stream) {
	from := s.Conn().RemotePeer()
	if !e.cfg.Trusted(e.ctx, from) || !e.enter(from) {
		_ = s.Reset()
		return
	}
	defer e.leave(from)
	ctx, cancel := context.WithTimeout(e.ctx, serveTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	if err := e.answer(ctx, s); err != nil {
		log.Debugf("answering peer %s: %s", from, err)
		_ = s.Reset()
		return
	}
	_ = s.Close()
}

func (e *Exchange) answer(ctx context.Context, s network.Stream) error {
	q, err := readRequest(s)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(s)
	blocks, bytes := 0, 0
	var failed error
	err = e.cfg.Blocks.Branch(ctx, q.id, func(data []byte) bool {
		if failed = writeField(out, data); failed != nil {
			return false
		}
		if blocks == 0 { // Whatever the disk does about the others.
			failed = out.Flush()
		}
		blocks, bytes = blocks+1, bytes+len(data)
		return failed == nil && blocks < q.count && bytes < maxBytes
	})
	if errors.Is(err, datastore.ErrNotFound) && blocks == 0 {
		err = nil
	}
	return errors.Join(err, failed, out.Flush())
}

func (e *Exchange) enter(from peer.ID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := 0
	for _, n := range e.serving {
		all += n
	}
	if e.ctx.Err() != nil || e.serving[from] >= maxServing || all >= maxServingAll {
		return false
	}
	e.answers.Add(1)
	e.serving[from]++
	return true
}

func (e *Exchange) leave(from peer.ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.serving[from]--; e.serving[from] == 0 {
		delete(e.serving, from)
	}
	e.answers.Done()
}
