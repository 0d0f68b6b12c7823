// Package config is the section api.pinsvcapi of the cluster's service.json.
package config

import (
	"crypto/tls"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/config"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

// Config is the section. It implements config.ComponentConfig.
type Config struct {
	config.Saver

	HTTPListenAddr                                            []multiaddr.Multiaddr
	TLS                                                       *tls.Config
	PathSSLCertFile, PathSSLKeyFile                           string
	ReadTimeout, ReadHeaderTimeout, WriteTimeout, IdleTimeout time.Duration
	MaxHeaderBytes                                            int
	Libp2pListenAddr                                          []multiaddr.Multiaddr
	ID                                                        peer.ID
	PrivateKey                                                crypto.PrivKey
	BasicAuthCredentials                                      map[string]string
	HTTPLogFile                                               string
	Headers                                                   map[string][]string
	CORSAllowedOrigins, CORSAllowedMethods                    []string
	CORSAllowedHeaders, CORSExposedHeaders                    []string
	CORSAllowCredentials                                      bool
	CORSMaxAge                                                time.Duration
	Tracing                                                   bool

	// Added keys.

	// AllowUnauthenticated (allow_unauthenticated, default false) lets a
	// service without credentials listen on other than loopback addresses.
	AllowUnauthenticated bool
	// MaxBodyBytes (max_body_bytes, default 1 MiB) bounds a request body.
	MaxBodyBytes int64
	// ShutdownTimeout (shutdown_timeout, default 10s) is how long running
	// requests may take to finish at shutdown.
	ShutdownTimeout time.Duration
	// RefusePrivateOrigins (refuse_private_origins, default false) answers
	// 400 to origins with private or loopback addresses instead of keeping them (D10).
	RefusePrivateOrigins bool
}
