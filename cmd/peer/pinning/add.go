package pinning

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kuborpc"
)

var (
	// errStalled ends with the text by which every peer, upstream's too, knows a pin
	// that made no progress (U23 in docs/upstream-faults.md).
	errStalled = fmt.Errorf("no progress within ipfs_connector.ipfshttp.pin_timeout: %w", context.Canceled)
	// errSilent begins with the text of upstream's connector for a node that does not
	// respond, by which every peer knows that the pin has not failed.
	errSilent = errors.New("IPFS request failed (is it running?): the IPFS node has stopped to respond")
)

// progress is one value of the response to pin/add. Kubo sends one each half second.
type progress struct {
	Pins     []string
	Progress int
	Bytes    uint64
}

// add requests the pin and follows its progress, in the place of upstream's connector
// (U38 in docs/upstream-faults.md). It returns nil at the end of a
// response without an error, which is no proof of a pin. fetched is how many bytes of
// the content the node had then, as far as it said.
func (c *Connector) add(ctx context.Context, pin api.Pin) (fetched uint64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := newWatchdog(c.silence, c.cfg.PinTimeout, c.responds, cancel)
	defer w.stop()
	go w.run(ctx)

	fetched, err = c.follow(ctx, pin, w)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return fetched, cause
	}
	return fetched, asCluster(err)
}

// follow reads the response to its end.
func (c *Connector) follow(ctx context.Context, pin api.Pin, w *watchdog) (fetched uint64, err error) {
	stream, err := c.cfg.RPC.Stream(ctx, "pin/add", c.addArgs(pin))
	if err != nil {
		return 0, err
	}
	defer stream.Close()
	for {
		var p progress
		switch err := stream.Next(&p); {
		case errors.Is(err, io.EOF):
			return fetched, nil
		case err != nil:
			return fetched, err
		}
		fetched = max(fetched, p.Bytes)
		w.saw(p)
	}
}

// addArgs are those of upstream's connector, and the name.
func (c *Connector) addArgs(pin api.Pin) url.Values {
	args := url.Values{"arg": {pin.Cid.String()}, "progress": {"true"}, "recursive": {strconv.FormatBool(pin.MaxDepth != 0)}}
	if pin.MaxDepth > 0 {
		args.Set("max-depth", strconv.Itoa(int(pin.MaxDepth)))
	}
	if c.cfg.Name != "" {
		args.Set("name", c.cfg.Name)
	}
	return args
}

// asCluster gives an error that the node states the form of upstream's connector,
// from which every peer reads the node's own message.
func asCluster(err error) error {
	if stated, ok := errors.AsType[*kuborpc.Error](err); ok {
		return fmt.Errorf("IPFS error (%s). Code: %d. Message: %s", stated.Command, stated.Code, stated.Message)
	}
	return err
}

// responds reports whether the node responds at all.
func (c *Connector) responds(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, c.probe)
	defer cancel()
	return c.cfg.RPC.Call(ctx, "version", nil, nil) == nil
}

// watchdog cancels a pin that makes no progress, or whose node does not respond any
// more. Only the former is the pin's fault (U42 in docs/upstream-faults.md).
type watchdog struct {
	silence, stall time.Duration
	responds       func(context.Context) bool
	cancel         context.CancelCauseFunc
	seen           chan progress
	done           chan struct{}
}

func newWatchdog(silence, stall time.Duration, responds func(context.Context) bool, cancel context.CancelCauseFunc) *watchdog {
	return &watchdog{
		silence: silence, stall: stall, responds: responds, cancel: cancel,
		seen: make(chan progress), done: make(chan struct{}),
	}
}

// saw takes what the node sent.
func (w *watchdog) saw(p progress) {
	select {
	case w.seen <- p:
	case <-w.done:
	}
}

// stop ends run when its context has not ended.
func (w *watchdog) stop() {
	w.cancel(nil)
	<-w.done
}

func (w *watchdog) run(ctx context.Context) {
	defer close(w.done)
	silence, stall := time.NewTimer(w.silence), time.NewTimer(w.stall)
	defer silence.Stop()
	defer stall.Stop()
	var best progress
	for {
		select {
		case p := <-w.seen:
			silence.Reset(w.silence)
			if p.Progress > best.Progress || p.Bytes > best.Bytes {
				best = p
				stall.Reset(w.stall)
			}
		case <-silence.C:
			// A proxy in front of the node may hold progress back, so silence alone
			// proves nothing.
			if !w.responds(ctx) {
				w.cancel(errSilent)
				return
			}
			silence.Reset(w.silence)
		case <-stall.C:
			// While a node is frozen its pins do not fail.
			if !w.responds(ctx) {
				w.cancel(errSilent)
				return
			}
			w.cancel(errStalled)
			return
		case <-ctx.Done():
			return
		}
	}
}
