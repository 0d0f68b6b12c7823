package pinsvcapi

import (
	"context"
	"sync"

	gostream "github.com/libp2p/go-libp2p-gostream"
	p2phttp "github.com/libp2p/go-libp2p-http"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// streamHost is the host as the listeners of HTTP over libp2p see it. It hands each stream
// to the listener that was made last, and knows which streams the first one has not accepted.
type streamHost struct {
	host.Host
	// waiting counts the streams for the first listener that have no slot yet.
	waiting waitCounter

	mu     sync.Mutex // guards what follows
	handle network.StreamHandler
	second bool
}

// SetStreamHandler implements host.Host for gostream.Listen.
func (h *streamHost) SetStreamHandler(id protocol.ID, handle network.StreamHandler) {
	h.mu.Lock()
	h.second = h.handle != nil
	h.handle = handle
	second := h.second
	h.mu.Unlock()
	if !second {
		h.Host.SetStreamHandler(id, h.pass)
	}
}

// RemoveStreamHandler implements host.Host. It does nothing, because the end of the first
// listener is not that of the second.
func (h *streamHost) RemoveStreamHandler(protocol.ID) {}

func (h *streamHost) pass(s network.Stream) {
	h.mu.Lock()
	handle := h.handle
	if !h.second {
		h.waiting.add(1)
	}
	h.mu.Unlock()
	handle(s)
}

// drainLibp2p waits until the streams that clients have opened are accepted, or ctx ends.
// Those that come from now on get 503: a client sends its request together with the name of
// the protocol, and could not tell a stream that is refused from one whose request was lost.
func (api *API) drainLibp2p(ctx context.Context) {
	l, err := gostream.Listen(api.streams, p2phttp.DefaultP2PProtocol)
	if err != nil {
		logger.Errorf("refusing requests over libp2p: %v", err)
		return
	}
	api.refusing = api.httpServer(context.WithValue(context.Background(), refusedKey{}, true))
	api.refused.Go(func() { _ = api.refusing.Serve(l) }) // Until endLibp2p.
	api.streams.waiting.wait(ctx)
}

type refusedKey struct{}

// refusal is the error of requests on streams that came during a stop.
func refusal(ctx context.Context) error {
	if ctx.Value(refusedKey{}) == nil {
		return nil
	}
	return pinsvc.Wrap(pinsvc.KindUnavailable, errDraining, "%v", errCutOff)
}

// endLibp2p ends HTTP over libp2p, and the host if it is the API's own.
func (api *API) endLibp2p(ctx context.Context) {
	if api.ownHost && len(api.host.Network().Conns()) > 0 {
		// QUIC drops what it has not delivered when a connection is closed.
		pause(ctx, api.opts.drain.within(api.cfg.ShutdownTimeout).roundTrip)
	}
	api.host.RemoveStreamHandler(p2phttp.DefaultP2PProtocol)
	if api.refusing != nil {
		logFault("closing streams", api.refusing.Close())
		api.refused.Wait()
	}
	if api.ownHost {
		logFault("closing the libp2p host", api.host.Close())
	}
}
