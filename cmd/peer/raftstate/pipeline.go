package raftstate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/go-msgpack/v2/codec"
	libp2praft "github.com/libp2p/go-libp2p-raft"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// pipelineHost is a host whose streams to followers take no request after a response that ends a
// pipeline. Raft would wait for ever to hand such a request over (U105 in docs/upstream-faults.md).
type pipelineHost struct{ host.Host }

// NewStream opens a stream. Raft pools none, so that only a pipeline sends more than one request
// through it.
func (h pipelineHost) NewStream(ctx context.Context, to peer.ID, protocols ...protocol.ID) (network.Stream, error) {
	stream, err := h.Host.NewStream(ctx, to, protocols...)
	if err != nil || len(protocols) != 1 || protocols[0] != libp2praft.RaftProtocol {
		return stream, err
	}
	return &pipeline{Stream: stream}, nil
}

var errPipelineEnded = errors.New("the follower has ended the pipeline")

// maxReply bounds what is kept of a response, which is some 100 bytes.
const maxReply = 64 << 10

// pipeline is a stream to a follower.
type pipeline struct {
	network.Stream

	mu     sync.Mutex
	unread []byte // What came of a response that is not complete.
	ended  error
}

// Read notes whether the responses let the pipeline go on. Raft reads one of them after the other,
// by one goroutine, and another one writes.
func (p *pipeline) Read(b []byte) (int, error) {
	n, err := p.Stream.Read(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unread = append(p.unread, b[:n]...)
	for p.ended == nil && len(p.unread) > 0 {
		size, failed := reply(p.unread)
		if size == 0 && failed == nil {
			break // More has to come.
		}
		p.unread, p.ended = p.unread[size:], failed
	}
	switch {
	case p.ended != nil:
		p.unread = nil
	case err != nil:
		p.ended = err
	case len(p.unread) > maxReply:
		p.ended = fmt.Errorf("a response of more than %d bytes", maxReply)
	}
	return n, err
}

// Write sends a request, or a part of one.
func (p *pipeline) Write(b []byte) (int, error) {
	p.mu.Lock()
	ended := p.ended
	p.mu.Unlock()
	if ended != nil {
		return 0, fmt.Errorf("%w: %w", errPipelineEnded, ended)
	}
	return p.Stream.Write(b)
}

// reply returns the length of the first response in b, 0 if it is not complete, and why no request
// may follow it. A response is a text, which is empty unless the request failed, and a map
// (NetworkTransport.handleCommand of hashicorp/raft).
func reply(b []byte) (size int, failed error) {
	decoder := codec.NewDecoder(bytes.NewReader(b), &codec.MsgpackHandle{})
	var text string
	var response struct{ Success bool }
	for _, part := range []any{&text, &response} {
		if err := decoder.Decode(part); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, nil
		} else if err != nil {
			return 0, fmt.Errorf("reading its response: %w", err)
		}
	}
	switch size = decoder.NumBytesRead(); {
	case text != "":
		return size, errors.New(text)
	case !response.Success:
		return size, errors.New("it did not append the entries")
	default:
		return size, nil
	}
}
