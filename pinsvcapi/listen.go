package pinsvcapi

import (
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/libp2p/go-libp2p"
	gostream "github.com/libp2p/go-libp2p-gostream"
	p2phttp "github.com/libp2p/go-libp2p-http"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// listen binds everything that the configuration asks for, or nothing.
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
		api.listeners = append(api.listeners, l)
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
	l, err := net.Listen(network, hostport)
	if err == nil {
		return l, nil
	}
	const settings = "http_listen_multiaddress in the section api.pinsvcapi of service.json, " +
		"or the environment variable CLUSTER_PINSVCAPI_HTTPLISTENMULTIADDRESS"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("api.pinsvcapi.http_listen_multiaddress: %s is in use by another program; "+
			"stop that one, or choose another address with %s: %w", addr, settings, err)
	default:
		return nil, fmt.Errorf("api.pinsvcapi.http_listen_multiaddress: cannot listen on %s; "+
			"choose another address with %s: %w", addr, settings, err)
	}
}

// listenLibp2p takes the caller's host, or makes one of the API's own if the
// configuration asks for that.
func (api *API) listenLibp2p() error {
	api.host = api.opts.Host
	if len(api.cfg.Libp2pListenAddr) > 0 {
		if err := api.makeHost(); err != nil {
			return err
		}
	}
	if api.host == nil {
		return nil
	}
	if err := api.checkExposure(); err != nil {
		return err
	}
	l, err := gostream.Listen(api.host, p2phttp.DefaultP2PProtocol)
	if err != nil {
		return fmt.Errorf("api.pinsvcapi: serving HTTP over libp2p: %w", err)
	}
	api.libp2p = l
	return nil
}

// makeHost makes a libp2p host of the API's own. As upstream's, it is for those
// who know its address: it maps no port, uses no relay and joins no DHT.
func (api *API) makeHost() error {
	const key = "api.pinsvcapi.libp2p_listen_multiaddress"
	h, err := libp2p.New(
		libp2p.Identity(api.cfg.PrivateKey),
		libp2p.Security(noise.ID, noise.New),
		libp2p.Security(libp2ptls.ID, libp2ptls.New),
		libp2p.DisableRelay(),
		libp2p.NoListenAddrs,
	)
	if err != nil {
		return fmt.Errorf("%s: making the libp2p host: %w", key, err)
	}
	api.host, api.ownHost = h, true
	// One by one: of several, libp2p is content with any that it can have.
	for _, addr := range api.cfg.Libp2pListenAddr {
		if err := h.Network().Listen(addr); err != nil {
			return fmt.Errorf("%s: cannot listen on %s; stop what uses it, or choose another address with that setting: %w",
				key, addr, err)
		}
	}
	return nil
}

// checkExposure is what the validation of the configuration cannot know: where
// the caller's host listens.
func (api *API) checkExposure() error {
	if api.ownHost || api.auth != nil || api.cfg.AllowUnauthenticated {
		return nil
	}
	for _, addr := range api.host.Addrs() {
		if !manet.IsIPLoopback(addr) {
			return fmt.Errorf("api.pinsvcapi.basic_auth_credentials: no user is configured, so everyone who reaches the "+
				"libp2p host at %s could add and delete pins: set basic_auth_credentials, "+
				"or set allow_unauthenticated to true if that is meant", addr)
		}
	}
	return nil
}

// run begins to serve on every listener.
func (api *API) run() {
	for _, l := range api.listeners {
		serve, scheme := api.server.Serve, "HTTP"
		if api.cfg.TLS != nil {
			// The certificate is the one of the configuration.
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

// connectionLog takes what net/http has to say of single connections, such as
// clients that speak no TLS: of interest only when looking for a fault.
func connectionLog() *log.Logger { return log.New(connectionWriter{}, "", 0) }

type connectionWriter struct{}

func (connectionWriter) Write(line []byte) (int, error) {
	logger.Debug(strings.TrimSpace(string(line)))
	return len(line), nil
}
