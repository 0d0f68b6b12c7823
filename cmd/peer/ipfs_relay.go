package peer

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// relay gives the managed node's RPC a loopback address that does not change.
// It is by hand because upstream's IPFS proxy takes the address of its node
// once (U7 in docs/upstream-faults.md), and because a reverse proxy of HTTP
// would lose the raw streams of hijacked connections. While the node does not
// run, the relay responds with 503 and an error document in Kubo's form.
type relay struct {
	node     node
	listener net.Listener

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
	wg     sync.WaitGroup
}

func newRelay(n node) (*relay, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("opening the relay to the IPFS node: %w", err)
	}
	r := &relay{node: n, listener: listener, conns: make(map[net.Conn]struct{})}
	r.wg.Go(r.accept)
	return r, nil
}

// addr is the address that the relay listens on.
func (r *relay) addr() (ma.Multiaddr, error) { return manet.FromNetAddr(r.listener.Addr()) }

// close ends the relay and all connections through it.
func (r *relay) close() error {
	err := r.listener.Close()
	r.mu.Lock()
	r.closed = true
	for conn := range r.conns {
		conn.Close()
	}
	r.mu.Unlock()
	r.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// acceptRetry is the pause after a failed accept.
const acceptRetry = 100 * time.Millisecond

func (r *relay) accept() {
	for {
		conn, err := r.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // Out of file descriptors, for example.
			time.Sleep(acceptRetry)
			continue
		}
		if r.track(conn) {
			r.wg.Go(func() { r.serve(conn) })
		}
	}
}

// track registers a connection for close.
func (r *relay) track(conn net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		conn.Close()
		return false
	}
	r.conns[conn] = struct{}{}
	return true
}

func (r *relay) release(conn net.Conn) {
	conn.Close()
	r.mu.Lock()
	delete(r.conns, conn)
	r.mu.Unlock()
}

func (r *relay) serve(client net.Conn) {
	defer r.release(client)
	server, err := r.dial()
	if err != nil {
		refuse(client, err)
		return
	}
	if !r.track(server) {
		return
	}
	defer r.release(server)
	var both sync.WaitGroup
	both.Go(func() { forward(server, client) })
	both.Go(func() { forward(client, server) })
	both.Wait()
}

func (r *relay) dial() (net.Conn, error) {
	status, _ := r.node.Watch()
	if !servesRPC(status) {
		return nil, notRunning(status)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var dialer manet.Dialer
	conn, err := dialer.DialContext(ctx, status.APIAddr)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotRunning, err)
	}
	return conn, nil
}

// forward copies from src to dst and passes the end of src on, so that the
// other direction may go on.
func forward(dst, src net.Conn) {
	if _, err := io.Copy(dst, src); err != nil {
		dst.Close()
		src.Close()
		return
	}
	half, ok := dst.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		dst.Close()
	}
}

// refuse responds to the first request of a connection instead of Kubo.
func refuse(client net.Conn, why error) {
	if client.SetDeadline(time.Now().Add(5*time.Second)) != nil {
		return
	}
	if _, err := http.ReadRequest(bufio.NewReader(client)); err != nil {
		return
	}
	body, err := json.Marshal(map[string]any{"Message": why.Error(), "Code": 0, "Type": "error"})
	if err != nil {
		return
	}
	_, err = fmt.Fprintf(client, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"+
		"Retry-After: 2\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	if err != nil {
		return
	}
	// Closing with unread input would reset the connection and lose the response.
	if half, ok := client.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(client, 1<<20))
	}
}
