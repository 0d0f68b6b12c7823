// Package config is the section api.pinsvcapi of the cluster's service.json:
// its keys, defaults, environment variables, validation and display.
//
// It reads every section that ipfs-cluster 1.1.x wrote, with the same names in
// the file and in the environment, and differs from it in this:
//
//   - A key that is left out or null keeps its default, the CORS keys too.
//   - All faults are reported at once, each by its key (see Fault).
//   - Unknown keys are warned about by name, and survive a save.
//   - Secrets are masked wherever a Config is displayed, logged or formatted.
//   - A section that carries exactly the CORS keys that ipfs-cluster writes by
//     default, which no page can use with Authorization, gets the defaults of
//     this package instead (see Config.CORSOptions).
//
// Keys lists every key with its variable, type, default and meaning.
package config

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/config"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

const (
	configKey = "pinsvcapi"
	envPrefix = "CLUSTER_PINSVCAPI_"
)

// Defaults and limits of single keys. Those of lists and maps are made anew
// by every call of Default, so no two Configs share one.
const (
	DefaultHTTPListenAddr    = "/ip4/127.0.0.1/tcp/9097"
	DefaultReadHeaderTimeout = 5 * time.Second
	DefaultIdleTimeout       = 120 * time.Second
	DefaultMaxHeaderBytes    = 4096
	DefaultMaxBodyBytes      = 1 << 20
	DefaultBodyReadTimeout   = 30 * time.Second
	DefaultShutdownTimeout   = 10 * time.Second
	DefaultMaxPinAttempts    = 3
	DefaultStatusSweep       = 30 * time.Minute
	DefaultReconcile         = 10 * time.Minute

	// MinMaxHeaderBytes is the least max_header_bytes: a token and what
	// proxies add must fit.
	MinMaxHeaderBytes = 4096
	// MinMaxBodyBytes is the least max_body_bytes: a pin with a name and a
	// few origins must fit.
	MinMaxBodyBytes = 4096
	// MinStatusSweep and MinReconcile are the least intervals: more often
	// would keep the peers and the disk busy with nothing else.
	MinStatusSweep = time.Minute
	MinReconcile   = 10 * time.Second
)

var _ config.ComponentConfig = (*Config)(nil)

// Config is the section, ready for use. It implements config.ComponentConfig.
// Make one with NewConfig. A Config is not safe for use by several goroutines
// while one of them changes it; reading is.
//
// Every format verb, String, json.Marshal and ToDisplayJSON mask its secrets;
// only ToJSON writes them out.
type Config struct {
	config.Saver

	// Where to listen.

	// HTTPListenAddr (http_listen_multiaddress, default
	// /ip4/127.0.0.1/tcp/9097) holds the TCP or Unix socket addresses that
	// serve HTTP, or HTTPS once a certificate is set. A single one may be
	// written as a string. An empty list in a file means the default. Port 0
	// lets the system choose. Change it to serve other machines; with no
	// user configured that needs AllowUnauthenticated.
	HTTPListenAddr []multiaddr.Multiaddr
	// Libp2pListenAddr (libp2p_listen_multiaddress, default none) holds the
	// addresses of a libp2p host of the API's own, over which it serves HTTP
	// too. Needs ID and PrivateKey; an empty list means no such host.
	Libp2pListenAddr []multiaddr.Multiaddr
	// ID (id, default none) is the peer ID of that host.
	ID peer.ID
	// PrivateKey (private_key, base64, default none) is the key of that
	// host and must belong to ID. Secret.
	PrivateKey crypto.PrivKey

	// TLS.

	// PathSSLCertFile (ssl_cert_file, default none) is the PEM file with
	// the certificate chain for every HTTP listener, RSA or ECDSA, absolute
	// or relative to the configuration folder. Empty means plain HTTP: right
	// on loopback and behind a proxy that ends TLS.
	PathSSLCertFile string
	// PathSSLKeyFile (ssl_key_file, default none) is the PEM file with the
	// private key of that certificate. Both or none must be set.
	PathSSLKeyFile string
	// TLS is made of the two files when the section is read. An embedder
	// may set it instead of them. Nil means plain HTTP.
	TLS *tls.Config

	// Who may call.

	// BasicAuthCredentials (basic_auth_credentials, default null) maps user
	// names to passwords. Users log in with them or with a token that is
	// signed with the password, so a new password revokes the user's
	// tokens. Nil means that no one needs to log in, which is allowed on
	// loopback only; an empty map is an error. Secret.
	BasicAuthCredentials map[string]string
	// AllowUnauthenticated (allow_unauthenticated, default false) lets a
	// service without credentials listen on other than loopback addresses.
	// Set it where something in front of the service decides who may call.
	AllowUnauthenticated bool

	// Behind a proxy.

	// TrustedProxies (trusted_proxies, default none) are the addresses of
	// the proxies whose X-Forwarded-For and Forwarded headers are believed,
	// as IP addresses or networks in CIDR notation. An empty list means that
	// the client's address is always the one of its connection.
	TrustedProxies []netip.Prefix
	// BasePath (base_path, default none) is the path prefix under which the
	// whole API is served, such as /psa for https://host/psa/pins. It begins
	// with a slash and does not end with one. Set it when the proxy passes
	// the prefix on. Empty means that the API is served at the root.
	BasePath string

	// Time and size limits. In all durations "0s" means no limit.

	// ReadTimeout (read_timeout, default 0s) bounds the time to read a
	// request from its first byte to the end of its body, and cuts off
	// answers that take longer than that, so prefer BodyReadTimeout.
	ReadTimeout time.Duration
	// ReadHeaderTimeout (read_header_timeout, default 5s) bounds the time to
	// read the request headers. With 0s, ReadTimeout holds for them.
	ReadHeaderTimeout time.Duration
	// BodyReadTimeout (body_read_timeout, default 30s) bounds the time to
	// read the body of a request, from the moment its headers are there.
	// It is a key of its own because ipfs-cluster writes "0s" as
	// read_timeout into every file. Raise it for clients on slow lines
	// together with MaxBodyBytes.
	BodyReadTimeout time.Duration
	// WriteTimeout (write_timeout, default 0s) bounds the time from the end
	// of the request headers to the end of the answer. A value below 15s
	// cuts off answers that wait for slow peers.
	WriteTimeout time.Duration
	// IdleTimeout (idle_timeout, default 2m0s) is how long a connection is
	// kept open between two requests. With 0s, ReadTimeout holds for it.
	// Let it be longer than that of a proxy in front.
	IdleTimeout time.Duration
	// ShutdownTimeout (shutdown_timeout, default 10s) is how long running
	// requests may take to finish at shutdown. With 0s they are closed at
	// once.
	ShutdownTimeout time.Duration
	// MaxHeaderBytes (max_header_bytes, default and least 4096) bounds the
	// request line and headers together. Zero in a file means the default.
	// Raise it when a proxy adds large headers.
	MaxHeaderBytes int
	// MaxBodyBytes (max_body_bytes, default 1048576 = 1 MiB, least 4096)
	// bounds the body of a request. Zero in a file means the default.
	MaxBodyBytes int64

	// What pins may hold.

	// RefusePrivateOrigins (refuse_private_origins, default false) answers
	// 400 to origins with private or loopback addresses instead of keeping
	// them. Clients, Kubo first, send all their addresses, so set it only
	// for clients that you know.
	RefusePrivateOrigins bool

	// How statuses and lists follow the cluster. Zero in a file means the
	// default.

	// MaxPinAttempts (max_pin_attempts, default 3) is how often each peer
	// tries to pin before a pin is failed. Raise it where providers come and
	// go. Tries while the peer's IPFS node is away do not count.
	MaxPinAttempts int
	// StatusSweepInterval (status_sweep_interval, default 30m0s, least 1m)
	// is how often each peer is asked about all its pins, to find what its
	// IPFS node lost. It costs each peer a list of all its pins.
	StatusSweepInterval time.Duration
	// ReconcileInterval (reconcile_interval, default 10m0s, least 10s) is how
	// often the whole shared state is read, to find changes that this peer
	// was not told of. Raise it when reading millions of pins is too much for
	// the disk.
	ReconcileInterval time.Duration

	// Answers and log.

	// Headers (headers, default none) are added to every answer, such as
	// Strict-Transport-Security.
	Headers map[string][]string
	// HTTPLogFile (http_log_file, default none) is the file that the access
	// log is appended to, absolute or relative to the configuration folder.
	// Empty means the daemon's own log. See HTTPLogPath.
	HTTPLogFile string
	// Tracing is not a key of the section: the daemon sets it when tracing
	// is on.
	Tracing bool

	// Pages in browsers (CORS). See CORSOptions for what is safe.

	// CORSAllowedOrigins (cors_allowed_origins, default ["*"]) are the
	// origins, such as https://app.example, whose pages may call. "*", and
	// an empty list too, mean any.
	CORSAllowedOrigins []string
	// CORSAllowedMethods (cors_allowed_methods, default GET, HEAD, POST,
	// DELETE, OPTIONS) are the methods that they may use. An empty list
	// means GET, HEAD and POST.
	CORSAllowedMethods []string
	// CORSAllowedHeaders (cors_allowed_headers, default Accept,
	// Authorization, Content-Type, X-Requested-With) are the request headers
	// that they may set. An empty list means the default without
	// Authorization.
	CORSAllowedHeaders []string
	// CORSExposedHeaders (cors_exposed_headers, default those of
	// ipfs-cluster, Retry-After and WWW-Authenticate) are the answer headers
	// that they may read, beyond those that are always readable.
	CORSExposedHeaders []string
	// CORSAllowCredentials (cors_allow_credentials, default false) lets
	// pages of named origins use what the browser remembers, such as a Basic
	// password. Not needed by pages that send a token themselves, and without
	// effect while any origin is allowed.
	CORSAllowCredentials bool
	// CORSMaxAge (cors_max_age, default 0s) is how long a browser may
	// remember the answer to a preflight request. 0s leaves it to the
	// browser, mostly 5 s. Raise it (10m) when pages poll.
	CORSMaxAge time.Duration

	// unknown are the members of the file that are no keys, kept for ToJSON.
	unknown []member
}

// NewConfig returns a Config with no values. Load, or set defaults, next.
func NewConfig() *Config { return &Config{} }

// ConfigKey implements config.ComponentConfig.
func (*Config) ConfigKey() string { return configKey }

// Default sets every key to its default and forgets unknown keys. It never
// fails and looks at no environment variable.
func (c *Config) Default() error {
	s := defaultSection()
	var f faults
	next := s.build(c.BaseDir, &f)
	if err := f.err(); err != nil {
		return err
	}
	c.adopt(next)
	c.unknown = nil
	return nil
}

// adopt takes over the keys of next and leaves all that is no key alone.
func (c *Config) adopt(next Config) {
	next.Saver, next.Tracing, next.unknown = c.Saver, c.Tracing, c.unknown
	*c = next
}

// UnknownKeys returns the names of the members of the section last read that
// are no keys, in the order of the file; also when LoadJSON failed.
func (c *Config) UnknownKeys() []string {
	names := make([]string, len(c.unknown))
	for i, m := range c.unknown {
		names[i] = m.name
	}
	return names
}

// HTTPLogPath returns where the access log goes, resolved against the
// configuration folder, or "" for the daemon's own log.
func (c *Config) HTTPLogPath() string {
	if c.HTTPLogFile == "" {
		return ""
	}
	return resolve(c.BaseDir, c.HTTPLogFile)
}

// resolve returns path, relative to dir unless it is absolute.
func resolve(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// corsMethods are all that the routes answer to.
func corsMethods() []string {
	return []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete, http.MethodOptions}
}
