package pinsvcapi

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	p2phttp "github.com/libp2p/go-libp2p-http"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// listen binds every address of the configuration, or none.
func (api *API) listen() (err error) {
	defer func() {
		if err != nil {
			api.unlisten()
		}
	}()
	for _, addr := range api.cfg.HTTPListenAddr {
		l, err := bind(addr)
		if err != nil {
			return err
		}
		api.listeners = append(api.listeners, api.conns.bound(l))
	}
	if err := api.listenLibp2p(); err != nil {
		return err
	}
	if len(api.listeners) == 0 && api.libp2p == nil {
		return errors.New("api.pinsvcapi: there is nothing to listen on: set http_listen_multiaddress, or " +
			"libp2p_listen_multiaddress with id and private_key")
	}
	return nil
}

// unlisten closes what listen has bound so far.
func (api *API) unlisten() {
	for _, l := range api.listeners {
		logFault("closing a listener", l.Close())
	}
	if api.libp2p != nil {
		logFault("closing the libp2p listener", api.libp2p.Close())
		api.host.RemoveStreamHandler(p2phttp.DefaultP2PProtocol)
	}
	if api.ownHost {
		logFault("closing the libp2p host", api.host.Close())
	}
}

// bind listens on one address of http_listen_multiaddress.
func bind(addr multiaddr.Multiaddr) (net.Listener, error) {
	network, hostport, err := manet.DialArgs(addr)
	if err != nil {
		return nil, fmt.Errorf("api.pinsvcapi.http_listen_multiaddress: %s: %w", addr, err)
	}
	var listen net.ListenConfig
	listen.SetMultipathTCP(false) // Linux allows no filter of it, see keepOut.
	l, err := listen.Listen(context.Background(), network, hostport)
	if network == "unix" && errors.Is(err, syscall.EADDRINUSE) && removeStaleSocket(hostport) {
		l, err = listen.Listen(context.Background(), network, hostport)
	}
	if err == nil {
		return l, nil
	}
	const settings = "http_listen_multiaddress in the section api.pinsvcapi of service.json, " +
		"or the environment variable CLUSTER_PINSVCAPI_HTTPLISTENMULTIADDRESS"
	switch {
	case network == "unix" && isOtherFile(hostport):
		return nil, fmt.Errorf("api.pinsvcapi.http_listen_multiaddress: %s is not a socket but a file of another kind; "+
			"remove it, or choose another path with %s: %w", hostport, settings, err)
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("api.pinsvcapi.http_listen_multiaddress: %s is in use by another program; "+
			"stop that program, or choose another address with %s: %w", addr, settings, err)
	default:
		return nil, fmt.Errorf("api.pinsvcapi.http_listen_multiaddress: cannot listen on %s; "+
			"choose another address with %s: %w", addr, settings, err)
	}
}

// isOtherFile reports whether the path is there and is no socket.
func isOtherFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().Type() != os.ModeSocket
}

// removeStaleSocket removes a Unix socket that no process listens on, as a
// process leaves it that was killed. It reports whether it did.
func removeStaleSocket(path string) bool {
	conn, err := net.DialTimeout("unix", path, staleSocketTimeout)
	if err == nil {
		logFault("closing the connection to "+path, conn.Close())
		return false
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return false // A file of another kind, or a process that is busy.
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return false
	}
	if err := os.Remove(path); err != nil {
		logger.Warnf("api.pinsvcapi.http_listen_multiaddress: removing the socket %s of a process that has ended: %v", path, err)
		return false
	}
	logger.Infof("removed the socket %s of a process that has ended", path)
	return true
}

const staleSocketTimeout = time.Second

// serve begins to serve on every listener.
func (api *API) serve() {
	for _, l := range api.listeners {
		serve, scheme := api.server.Serve, "HTTP"
		if api.cfg.TLS != nil {
			// The certificate is in the TLSConfig.
			serve, scheme = func(l net.Listener) error { return api.server.ServeTLS(l, "", "") }, "HTTPS"
		}
		api.serveOn(l, scheme, l.Addr().String(), serve)
	}
	if api.libp2p != nil {
		api.serveOn(api.libp2p, "HTTP over libp2p", api.host.ID().String(), api.server.Serve)
	}
}

func (api *API) serveOn(l net.Listener, scheme, where string, serve func(net.Listener) error) {
	logger.Infof("the Pinning Service API is served at %s (%s)", where, scheme)
	api.serving.Go(func() {
		if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
			logger.Errorf("the Pinning Service API is no longer served at %s (%s): %v", where, scheme, err)
		}
	})
}

// connectionLog takes the messages of net/http about single connections, such
// as clients that speak no TLS. They matter only when looking for a fault.
func connectionLog() *log.Logger { return log.New(connectionWriter{}, "", 0) }

type connectionWriter struct{}

func (connectionWriter) Write(line []byte) (int, error) {
	logger.Debug(strings.TrimSpace(string(line)))
	return len(line), nil
}
