package pinsvcapi

import (
	"fmt"

	"github.com/libp2p/go-libp2p"
	gostream "github.com/libp2p/go-libp2p-gostream"
	p2phttp "github.com/libp2p/go-libp2p-http"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	manet "github.com/multiformats/go-multiaddr/net"
)

// listenLibp2p uses the caller's host, or makes one of the API's own if the
// configuration has addresses for it.
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
	if err := api.checkExposure(api.users.Load()); err != nil {
		return err
	}
	api.streams = &streamHost{Host: api.host}
	l, err := gostream.Listen(api.streams, p2phttp.DefaultP2PProtocol)
	if err != nil {
		return fmt.Errorf("api.pinsvcapi: serving HTTP over libp2p: %w", err)
	}
	api.libp2p = api.conns.bound(l)
	api.libp2p.accepted = func() { api.streams.waiting.add(-1) }
	return nil
}

// makeHost makes a libp2p host of the API's own. As upstream's, it is for
// clients that know its address: it maps no port, uses no relay and joins no
// DHT.
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
	// One by one: given several, libp2p succeeds if it can listen on any.
	for _, addr := range api.cfg.Libp2pListenAddr {
		if err := h.Network().Listen(addr); err != nil {
			return fmt.Errorf("%s: cannot listen on %s; stop what uses it, or choose another address with that setting: %w",
				key, addr, err)
		}
	}
	return nil
}

// checkExposure checks what the validation of the configuration cannot know:
// where the caller's host listens.
func (api *API) checkExposure(users *userSet) error {
	if api.host == nil || api.ownHost || users.auth != nil || api.cfg.AllowUnauthenticated {
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
