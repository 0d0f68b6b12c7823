package pinsvcapi

import (
	"crypto/tls"
	"errors"
	"sync/atomic"
)

// certificates are those of the HTTPS listeners. A reload replaces them;
// connections that are open keep theirs.
type certificates struct {
	current atomic.Pointer[[]tls.Certificate]
}

// use makes list the certificates of new connections.
func (c *certificates) use(list []tls.Certificate) { c.current.Store(&list) }

// choose implements tls.Config.GetCertificate: the first that the client
// supports, else the first, as crypto/tls does.
func (c *certificates) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	list := *c.current.Load()
	if len(list) == 0 {
		return nil, errors.New("no certificate")
	}
	if len(list) > 1 {
		for i := range list {
			if hello.SupportsCertificate(&list[i]) == nil {
				return &list[i], nil
			}
		}
	}
	return &list[0], nil
}

// serverTLS is the configuration of the HTTPS listeners, or nil for plain
// HTTP. An embedder's configuration that chooses certificates itself is used
// as it is.
func (api *API) serverTLS() *tls.Config {
	cfg := api.cfg.TLS.Clone()
	if cfg == nil || len(cfg.Certificates) == 0 || cfg.GetCertificate != nil || cfg.GetConfigForClient != nil {
		return cfg
	}
	api.certs = new(certificates)
	api.certs.use(cfg.Certificates)
	cfg.Certificates, cfg.GetCertificate = nil, api.certs.choose
	return cfg
}
