package config

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/config"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

// section is the form of the Config in the file: one field for each key, in
// the order in which they are written. A field's name in capitals, after
// envPrefix, is its environment variable, so renaming one breaks operators.
// The tags feed Keys: doc is the table's text, added marks what ipfs-cluster
// does not have, secret what is masked.
type section struct {
	HTTPListenMultiaddress   config.Strings      `json:"http_listen_multiaddress" doc:"TCP or Unix socket addresses to serve HTTP(S) on. Port 0: the system chooses. Other than loopback needs a user or allow_unauthenticated."`
	SSLCertFile              string              `json:"ssl_cert_file,omitempty" doc:"PEM file with the certificate chain (RSA or ECDSA), relative to the configuration folder. Empty: plain HTTP."`
	SSLKeyFile               string              `json:"ssl_key_file,omitempty" doc:"PEM file with the certificate's private key. Both files or none."`
	ReadTimeout              duration            `json:"read_timeout" doc:"Limit for reading a whole request; also cuts off answers that take longer, so prefer body_read_timeout. 0s: none."`
	ReadHeaderTimeout        duration            `json:"read_header_timeout" doc:"Limit for reading the request headers. 0s: read_timeout holds."`
	WriteTimeout             duration            `json:"write_timeout" doc:"Limit from the end of the request headers to the end of the answer. 0s: none."`
	IdleTimeout              duration            `json:"idle_timeout" doc:"How long a connection is kept between two requests. 0s: read_timeout holds."`
	MaxHeaderBytes           int                 `json:"max_header_bytes" doc:"Limit for the request line and headers, at least 4096. 0: the default."`
	Libp2pListenMultiaddress config.Strings      `json:"libp2p_listen_multiaddress,omitempty" doc:"Addresses of a libp2p host of the API's own that serves HTTP over libp2p. Needs id and private_key. Empty: none."`
	ID                       string              `json:"id,omitempty" doc:"Peer ID of that libp2p host."`
	PrivateKey               string              `json:"private_key,omitempty" secret:"true" doc:"Private key of that libp2p host, base64. Masked in every display."`
	BasicAuthCredentials     map[string]string   `json:"basic_auth_credentials" secret:"true" doc:"Users and their passwords, neither empty. null: nobody needs to log in, on loopback only. Changing a password revokes the user's tokens. Masked in every display."`
	HTTPLogFile              string              `json:"http_log_file" doc:"File for the access log, relative to the configuration folder. Empty: the daemon's log."`
	Headers                  map[string][]string `json:"headers" doc:"Headers to add to every answer."`
	CORSAllowedOrigins       []string            `json:"cors_allowed_origins" doc:"Origins whose pages may call. * or empty: any; while nobody needs to log in, those may only read."`
	CORSAllowedMethods       []string            `json:"cors_allowed_methods" doc:"Methods that pages may use. Empty: GET, HEAD, POST."`
	CORSAllowedHeaders       []string            `json:"cors_allowed_headers" doc:"Request headers that pages may set. Empty: the default without Authorization."`
	CORSExposedHeaders       []string            `json:"cors_exposed_headers" doc:"Answer headers that pages may read."`
	CORSAllowCredentials     bool                `json:"cors_allow_credentials" doc:"Let pages use what the browser remembers, such as a Basic password. Without effect while any origin is allowed; not needed for tokens."`
	CORSMaxAge               duration            `json:"cors_max_age" doc:"How long a browser may remember a preflight answer. 0s: the browser decides."`

	AllowUnauthenticated bool     `json:"allow_unauthenticated" added:"true" doc:"Let a service without users listen on other than loopback addresses: everyone who reaches it may then add and delete pins."`
	MaxBodyBytes         int64    `json:"max_body_bytes" added:"true" doc:"Limit for a request body, at least 4096. 0: the default."`
	BodyReadTimeout      duration `json:"body_read_timeout" added:"true" doc:"Limit for reading a request body, from the end of its headers. 0s: none."`
	ShutdownTimeout      duration `json:"shutdown_timeout" added:"true" doc:"How long running requests may take to finish at shutdown. 0s: they are closed at once."`
	RefusePrivateOrigins bool     `json:"refuse_private_origins" added:"true" doc:"Answer 400 to origins with private or loopback addresses instead of keeping them."`
	MaxPinAttempts       int      `json:"max_pin_attempts" added:"true" doc:"How often each peer tries to pin before a pin is failed. Tries while its IPFS node is away do not count. 0: the default."`
	StatusSweepInterval  duration `json:"status_sweep_interval" added:"true" doc:"How often each peer is asked about all its pins, to find what its IPFS node lost; at least 1m. 0s: the default."`
	ReconcileInterval    duration `json:"reconcile_interval" added:"true" doc:"How often the whole shared state is read, to find changes that this peer was not told of; at least 10s. 0s: the default."`
	TrustedProxies       []string `json:"trusted_proxies" added:"true" doc:"IP addresses or networks (10.0.0.0/8) of proxies whose X-Forwarded-For and Forwarded headers name the client's address. Empty: no proxy is trusted."`
	BasePath             string   `json:"base_path" added:"true" doc:"Path prefix under which the whole API is served, such as /psa for https://host/psa/pins. Empty: the root."`
}

// duration is a time.Duration that is written as its text.
type duration time.Duration

// MarshalJSON writes the text form, such as "5s".
func (d duration) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Duration(d).String())
}

// defaultSection returns the defaults, with lists and maps of its own.
func defaultSection() section {
	s := section{
		HTTPListenMultiaddress: config.Strings{DefaultHTTPListenAddr},
		ReadHeaderTimeout:      duration(DefaultReadHeaderTimeout),
		IdleTimeout:            duration(DefaultIdleTimeout),
		MaxHeaderBytes:         DefaultMaxHeaderBytes,
		Headers:                map[string][]string{},
		TrustedProxies:         []string{},
		MaxBodyBytes:           DefaultMaxBodyBytes,
		BodyReadTimeout:        duration(DefaultBodyReadTimeout),
		ShutdownTimeout:        duration(DefaultShutdownTimeout),
		MaxPinAttempts:         DefaultMaxPinAttempts,
		StatusSweepInterval:    duration(DefaultStatusSweep),
		ReconcileInterval:      duration(DefaultReconcile),
	}
	s.setDefaultCORS()
	return s
}

// build makes a Config of the section, reads the certificate and validates
// it all. What it returns is only of use when f stayed empty.
func (s *section) build(baseDir string, f *faults) Config {
	c := Config{
		HTTPListenAddr:   parseAddrs("http_listen_multiaddress", s.HTTPListenMultiaddress, f),
		Libp2pListenAddr: parseAddrs("libp2p_listen_multiaddress", s.Libp2pListenMultiaddress, f),
		ID:               parseID(s.ID, f),
		PrivateKey:       parsePrivateKey(s.PrivateKey, f),

		PathSSLCertFile: s.SSLCertFile,
		PathSSLKeyFile:  s.SSLKeyFile,
		TLS:             loadTLS(baseDir, s.SSLCertFile, s.SSLKeyFile, f),

		BasicAuthCredentials: maps.Clone(s.BasicAuthCredentials),
		AllowUnauthenticated: s.AllowUnauthenticated,

		TrustedProxies: parseProxies(s.TrustedProxies, f),
		BasePath:       parseBasePath(s.BasePath, f),

		ReadTimeout:       time.Duration(s.ReadTimeout),
		ReadHeaderTimeout: time.Duration(s.ReadHeaderTimeout),
		BodyReadTimeout:   time.Duration(s.BodyReadTimeout),
		WriteTimeout:      time.Duration(s.WriteTimeout),
		IdleTimeout:       time.Duration(s.IdleTimeout),
		ShutdownTimeout:   time.Duration(s.ShutdownTimeout),
		MaxHeaderBytes:    s.MaxHeaderBytes,
		MaxBodyBytes:      s.MaxBodyBytes,

		RefusePrivateOrigins: s.RefusePrivateOrigins,

		MaxPinAttempts:      s.MaxPinAttempts,
		StatusSweepInterval: time.Duration(s.StatusSweepInterval),
		ReconcileInterval:   time.Duration(s.ReconcileInterval),

		Headers:     cloneHeaders(s.Headers),
		HTTPLogFile: s.HTTPLogFile,

		CORSAllowedOrigins:   cloneList(s.CORSAllowedOrigins),
		CORSAllowedMethods:   cloneList(s.CORSAllowedMethods),
		CORSAllowedHeaders:   cloneList(s.CORSAllowedHeaders),
		CORSExposedHeaders:   cloneList(s.CORSExposedHeaders),
		CORSAllowCredentials: s.CORSAllowCredentials,
		CORSMaxAge:           time.Duration(s.CORSMaxAge),
	}
	if c.MaxHeaderBytes == 0 {
		c.MaxHeaderBytes = DefaultMaxHeaderBytes
	}
	if c.MaxBodyBytes == 0 {
		c.MaxBodyBytes = DefaultMaxBodyBytes
	}
	if c.MaxPinAttempts == 0 {
		c.MaxPinAttempts = DefaultMaxPinAttempts
	}
	if c.StatusSweepInterval == 0 {
		c.StatusSweepInterval = DefaultStatusSweep
	}
	if c.ReconcileInterval == 0 {
		c.ReconcileInterval = DefaultReconcile
	}
	c.validate(f)
	return c
}

// section returns the form in the file of the Config.
func (c *Config) section() (section, error) {
	key, err := encodePrivateKey(c.PrivateKey)
	if err != nil {
		return section{}, err
	}
	return section{
		HTTPListenMultiaddress:   formatAddrs(c.HTTPListenAddr),
		SSLCertFile:              c.PathSSLCertFile,
		SSLKeyFile:               c.PathSSLKeyFile,
		ReadTimeout:              duration(c.ReadTimeout),
		ReadHeaderTimeout:        duration(c.ReadHeaderTimeout),
		WriteTimeout:             duration(c.WriteTimeout),
		IdleTimeout:              duration(c.IdleTimeout),
		MaxHeaderBytes:           c.MaxHeaderBytes,
		Libp2pListenMultiaddress: formatAddrs(c.Libp2pListenAddr),
		ID:                       formatID(c.ID),
		PrivateKey:               key,
		BasicAuthCredentials:     maps.Clone(c.BasicAuthCredentials),
		HTTPLogFile:              c.HTTPLogFile,
		Headers:                  cloneHeaders(c.Headers),
		CORSAllowedOrigins:       cloneList(c.CORSAllowedOrigins),
		CORSAllowedMethods:       cloneList(c.CORSAllowedMethods),
		CORSAllowedHeaders:       cloneList(c.CORSAllowedHeaders),
		CORSExposedHeaders:       cloneList(c.CORSExposedHeaders),
		CORSAllowCredentials:     c.CORSAllowCredentials,
		CORSMaxAge:               duration(c.CORSMaxAge),
		AllowUnauthenticated:     c.AllowUnauthenticated,
		MaxBodyBytes:             c.MaxBodyBytes,
		BodyReadTimeout:          duration(c.BodyReadTimeout),
		ShutdownTimeout:          duration(c.ShutdownTimeout),
		RefusePrivateOrigins:     c.RefusePrivateOrigins,
		MaxPinAttempts:           c.MaxPinAttempts,
		StatusSweepInterval:      duration(c.StatusSweepInterval),
		ReconcileInterval:        duration(c.ReconcileInterval),
		TrustedProxies:           formatProxies(c.TrustedProxies),
		BasePath:                 c.BasePath,
	}, nil
}

func parseAddrs(key string, texts []string, f *faults) []multiaddr.Multiaddr {
	var addrs []multiaddr.Multiaddr
	for _, text := range texts {
		addr, err := multiaddr.NewMultiaddr(text)
		if err != nil || len(addr) == 0 {
			f.add(key, "%q is not a multiaddress such as %s", text, DefaultHTTPListenAddr)
			continue
		}
		addrs = append(addrs, addr)
	}
	return addrs
}

func formatAddrs(addrs []multiaddr.Multiaddr) config.Strings {
	texts := make(config.Strings, len(addrs))
	for i, addr := range addrs {
		texts[i] = addr.String()
	}
	return texts
}

func parseID(text string, f *faults) peer.ID {
	if text == "" {
		return ""
	}
	id, err := peer.Decode(text)
	if err != nil {
		f.add("id", "%q is not a peer ID", text)
	}
	return id
}

func formatID(id peer.ID) string {
	if id == "" {
		return ""
	}
	return id.String()
}

// parsePrivateKey never puts anything of the text, nor an error that might
// quote it, into a fault.
func parsePrivateKey(text string, f *faults) crypto.PrivKey {
	if text == "" {
		return nil
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		f.add("private_key", "is not base64")
		return nil
	}
	key, err := crypto.UnmarshalPrivateKey(raw)
	if err != nil {
		f.add("private_key", "is not a libp2p private key")
		return nil
	}
	return key
}

func encodePrivateKey(key crypto.PrivKey) (string, error) {
	if key == nil {
		return "", nil
	}
	raw, err := crypto.MarshalPrivateKey(key)
	if err != nil {
		return "", &Fault{Key: "private_key", Problem: "cannot be encoded"}
	}
	return base64.StdEncoding.EncodeToString(raw), nil
}

// cloneList never returns nil: in the file null would mean the default.
func cloneList(list []string) []string { return append([]string{}, list...) }

// cloneHeaders never returns nil either.
func cloneHeaders(headers map[string][]string) map[string][]string {
	clone := make(map[string][]string, len(headers))
	for name, values := range headers {
		clone[name] = slices.Clone(values)
	}
	return clone
}
