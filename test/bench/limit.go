package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/auth"
)

// limit is a bare net/http handler behind the same authentication as ours: it
// reads the request's body and responds with bytes that were set before. No
// API on net/http can be faster.
type limit struct {
	auth     *auth.Authenticator
	listener net.Listener
	server   *http.Server
	reply    atomic.Pointer[reply]
}

func newLimit(users map[string]string) (*limit, error) {
	l := &limit{}
	var err error
	if l.auth, err = auth.New(users); err != nil {
		return nil, err
	}
	if l.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	l.server = &http.Server{Handler: l}
	go l.server.Serve(l.listener) // Until shutdown.
	return l, nil
}

func (l *limit) url() string { return "http://" + l.listener.Addr().String() }

func (l *limit) shutdown(ctx context.Context) error { return l.server.Shutdown(ctx) }

func (l *limit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, ok, err := l.auth.Authenticate(r.Header.Get("Authorization")); !ok || err != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	reply := l.reply.Load()
	h := w.Header()
	if reply.contentType != "" {
		h.Set("Content-Type", reply.contentType)
	}
	h.Set("Content-Length", strconv.Itoa(len(reply.body)))
	w.WriteHeader(reply.status)
	_, _ = w.Write(reply.body) // The client sees what fails.
}
