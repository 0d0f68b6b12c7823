package boundrpc

import (
	"errors"
	"sync"
	"time"

	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// requestTime is how long a request may take to come.
const requestTime = 10 * time.Second

// Serving bounds what other peers may have of a server.
type Serving struct {
	// Request are the limits of the arguments of a call.
	Request Limits
	// Peer and All bound the requests of one peer, and of all, that are answered at once.
	Peer, All int
	// PeerBytes and AllBytes bound the bytes of those requests.
	PeerBytes, AllBytes int
	// Timeout bounds the time from a request to the end of its response.
	Timeout time.Duration
	// Trusted tells peers for which All and AllBytes are counted by themselves, so that others cannot use them up;
	// nil: all are counted together.
	Trusted func(peer.ID) bool
}

// NewServer serves a protocol at a host, as rpc.NewServer does. Requests beyond the bounds end with their stream.
func NewServer(h host.Host, p protocol.ID, s Serving, opts ...rpc.ServerOption) *rpc.Server {
	return rpc.NewServer(newServingHost(h, s, requestTime), p, opts...)
}

func newServingHost(h host.Host, s Serving, requestTime time.Duration) *servingHost {
	return &servingHost{
		Host: h, Serving: s, requestTime: requestTime, peers: make(map[peer.ID]*usage), all: make(map[bool]*usage),
	}
}

// usage is what is in use of a server.
type usage struct{ requests, bytes int }

// servingHost hands out streams whose requests are bounded.
type servingHost struct {
	host.Host
	Serving
	requestTime time.Duration

	mu    sync.Mutex
	peers map[peer.ID]*usage
	all   map[bool]*usage // by whether it is trusted
}

// SetStreamHandler sets what answers requests.
func (h *servingHost) SetStreamHandler(p protocol.ID, answer network.StreamHandler) {
	h.Host.SetStreamHandler(p, func(s network.Stream) {
		from := s.Conn().RemotePeer()
		trusted := h.Trusted == nil || h.Trusted(from)
		if !h.enter(from, trusted) {
			log.Debugf("peer %s has too many requests of %s", from, p)
			_ = s.Reset()
			return
		}
		in := &request{host: h, from: from, trusted: trusted}
		defer in.leave()
		_ = s.SetDeadline(time.Now().Add(h.requestTime))
		name := Limits{Bytes: maxName, Field: maxName, Values: maxHeadValues}
		answer(&stream{
			Stream: s, scan: newScanner(name, h.Request), took: in.take,
			complete: func() { _ = s.SetDeadline(time.Now().Add(h.Timeout)) },
			refused:  func(err error) { log.Debugf("a request of peer %s by %s is %s", from, p, err) },
		})
	})
}

func (h *servingHost) enter(from peer.ID, trusted bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	one, all := h.peers[from], h.all[trusted]
	if one == nil {
		one = new(usage)
	}
	if all == nil {
		all = new(usage)
	}
	if one.requests >= h.Peer || all.requests >= h.All {
		return false
	}
	one.requests++
	all.requests++
	h.peers[from], h.all[trusted] = one, all
	return true
}

// request is one that is being answered.
type request struct {
	host    *servingHost
	from    peer.ID
	trusted bool
	bytes   int
	left    bool
}

var errHeld = errors.New("more than may be held of requests")

// take counts bytes of the request.
func (r *request) take(n int) error {
	h := r.host
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.left {
		return errHeld // Nobody decodes it any more.
	}
	one, all := h.peers[r.from], h.all[r.trusted]
	if one.bytes+n > h.PeerBytes || all.bytes+n > h.AllBytes {
		return errHeld
	}
	r.bytes, one.bytes, all.bytes = r.bytes+n, one.bytes+n, all.bytes+n
	return nil
}

func (r *request) leave() {
	h := r.host
	h.mu.Lock()
	defer h.mu.Unlock()
	r.left = true
	one, all := h.peers[r.from], h.all[r.trusted]
	one.requests, all.requests = one.requests-1, all.requests-1
	one.bytes, all.bytes = one.bytes-r.bytes, all.bytes-r.bytes
	if one.requests == 0 {
		delete(h.peers, r.from)
	}
}
