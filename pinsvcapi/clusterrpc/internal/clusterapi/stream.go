package clusterapi

import (
	"context"
	"errors"

	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// streamBuffer is how many replies a stream may be ahead of its reader.
const streamBuffer = 256

// call is one request and its reply. A local callee may ignore the context, so
// the call goes on alone when the context ends.
func call[R, A any](ctx context.Context, client *rpc.Client, dest peer.ID, service, method string, arg A) (R, error) {
	var none R
	if ctx.Err() != nil {
		return none, context.Cause(ctx)
	}
	reply := new(R)
	done := make(chan *rpc.Call, 1)
	if err := client.GoContext(ctx, dest, service, method, arg, reply, done); err != nil {
		return none, err
	}
	select {
	case ended := <-done:
		if ended.Error != nil {
			return none, causeOrError(ctx, ended.Error)
		}
		return *reply, nil
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

// causeOrError returns the reason of ours for which a call was cancelled, if
// there is one, else its error.
func causeOrError(ctx context.Context, err error) error {
	var reason *pinsvc.Error
	if errors.As(context.Cause(ctx), &reason) {
		return reason
	}
	return err
}

// stream sends args and hands every reply to each, until each fails or the
// context ends. The rest of the stream is read and dropped in the background,
// because senders do not watch the context while they send. A callee that fails
// early may leave the channel of replies open, so the end of the call counts as
// well (U24 in docs/upstream-faults.md).
func stream[A, R any](ctx context.Context, client *rpc.Client, dest peer.ID, service, method string, args []A, each func(R) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in := make(chan A, len(args))
	for _, arg := range args {
		in <- arg
	}
	close(in)
	out := make(chan R, streamBuffer)
	ended := make(chan error, 1)
	go func() { ended <- client.Stream(ctx, dest, service, method, in, out) }()
	for {
		select {
		case r, ok := <-out:
			if !ok {
				return <-ended
			}
			if err := each(r); err != nil {
				go drop(out, ended)
				return err
			}
		case err := <-ended:
			return takeRest(out, err, each)
		case <-ctx.Done():
			go drop(out, ended)
			return ctx.Err()
		}
	}
}

// takeRest hands over the replies that a stream left in its channel at its end.
func takeRest[R any](out <-chan R, ended error, each func(R) error) error {
	for {
		select {
		case r, ok := <-out:
			if !ok {
				return ended
			}
			if err := each(r); err != nil {
				return err
			}
		default:
			return ended
		}
	}
}

// drop reads a stream to its end.
func drop[R any](out <-chan R, ended <-chan error) {
	for {
		select {
		case _, ok := <-out:
			if !ok {
				out = nil // Wait for the end alone.
			}
		case <-ended:
			return
		}
	}
}
