// Package boundrpc is go-libp2p-gorpc with bounds on what it reads of other peers.
//
// gorpc decodes whatever comes, also before it knows who may call what (U124 in docs/upstream-faults.md): a header of
// five bytes has its decoder allocate 4 GiB, nested arrays of some MiB overflow the stack, and a response has no end.
// So each stream is scanned before it is decoded: the size of a message, of its strings and the number of its values
// are bounded, and what is more ends the stream. What is sent is the same as without.
package boundrpc

import (
	"context"
	"errors"
	"fmt"
	"sync"

	logging "github.com/ipfs/go-log/v2"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

var log = logging.Logger("boundrpc")

// ErrRefused reports that a peer sent what is not accepted of it.
var ErrRefused = errors.New("refused")

// Limits bound one message: the arguments of a request, or the result in a response.
type Limits struct {
	// Bytes bounds all of it.
	Bytes int
	// Field bounds each string in it.
	Field int
	// Values bounds how many values it has: each element, name and value of a field, and what contains them.
	Values int
}

const (
	// maxName bounds the name of what is called, which comes before the arguments and from any peer.
	maxName = 1 << 10
	// maxError bounds the error in a response, and the names that come with it.
	maxError = 64 << 10
	// maxHeadValues bounds the values of either.
	maxHeadValues = 32
)

// Client calls other peers. It is safe for concurrent use.
type Client struct{ rpc *rpc.Client }

// NewClient makes a client of a protocol.
func NewClient(h host.Host, p protocol.ID) *Client {
	return &Client{rpc.NewClient(clientHost{h}, p)}
}

// Call has a peer do something and returns the result, unless that is more than its limits. The error is ErrRefused
// then. The stream ends with ctx.
func Call[T any](ctx context.Context, c *Client, to peer.ID, service, method string, args any, result Limits) (T, error) {
	call := &call{result: result}
	reply := new(T) // Where ctx has ended, something may still be decoded into it.
	err := c.rpc.CallContext(context.WithValue(ctx, callKey{}, call), to, service, method, args, reply)
	if err == nil {
		return *reply, nil
	}
	if refused := call.refused(); refused != nil {
		err = fmt.Errorf("its response to %s.%s is %w", service, method, refused)
	}
	var none T
	return none, err
}

type callKey struct{}

// call is one that is made.
type call struct {
	result Limits

	mu  sync.Mutex
	err error
}

func (c *call) refuse(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

func (c *call) refused() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// clientHost opens streams whose responses are bounded.
type clientHost struct{ host.Host }

// NewStream opens the stream of a call.
func (h clientHost) NewStream(ctx context.Context, to peer.ID, protocols ...protocol.ID) (network.Stream, error) {
	s, err := h.Host.NewStream(ctx, to, protocols...)
	if err != nil {
		return nil, err
	}
	call, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		_ = s.Reset()
		return nil, errors.New("a call without limits")
	}
	if until, ok := ctx.Deadline(); ok {
		_ = s.SetDeadline(until)
	}
	head := Limits{Bytes: maxError, Field: maxError, Values: maxHeadValues}
	return &stream{Stream: s, scan: newScanner(head, call.result), refused: call.refuse}, nil
}
