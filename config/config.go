// Package config is the section api.pinsvcapi of the cluster's service.json:
// its keys, defaults, environment variables, validation and display.
//
// It reads every section that ipfs-cluster 1.1.x wrote, with the same names in
// the file and in the environment, and differs from it in this:
//
//   - A key that is left out or null keeps its default, the CORS keys too.
//   - All faults are reported at once, each by its key (see Fault).
//   - Unknown keys are warned about by name, and survive a save.
//   - Secrets are masked wherever a Config is displayed, logged or formatted,
//     and can be read from files (see Config.ApplyEnvVars).
//   - A section with exactly the CORS keys that ipfs-cluster writes by default,
//     which no page can use with Authorization, gets the defaults of this
//     package instead (see Config.CORSOptions).
//
// Keys lists every key with its variable, type and default.
package config

import (
	"crypto/tls"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/config"
	logging "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/jsonobject"
)

var logger = logging.Logger("pinsvcapi")

const configKey = "pinsvcapi"

// Limits of single keys.
const (
	// MinMaxHeaderBytes is the least max_header_bytes: a token and what
	// proxies add must fit.
	MinMaxHeaderBytes = 4096
	// MinMaxBodyBytes is the least max_body_bytes: a pin with a name and a
	// few origins must fit.
	MinMaxBodyBytes = 4096
	// MinConcurrency is the least max_connections and max_concurrent_requests.
	MinConcurrency = 16
	// MinStatusSweep and MinReconcile are the least intervals: shorter ones
	// would keep the peers and the disk busy with nothing else.
	MinStatusSweep = time.Minute
	MinReconcile   = 10 * time.Second
	// MinReplicaAway is the least ReplicaAwayAfter.
	MinReplicaAway = 10 * time.Second
	// MinPasswordLength is the least number of characters of a password that
	// is not warned about.
	MinPasswordLength = 12
)

var _ config.ComponentConfig = (*Config)(nil)

// Config is the section, ready for use. It implements config.ComponentConfig.
// Make one with NewConfig. It is not safe to change a Config while other
// goroutines use it.
//
// Every format verb, String, json.Marshal and ToDisplayJSON mask its secrets;
// only ToJSON writes them out.
//
// The comments of the fields are the documentation of the keys.
type Config struct {
	config.Saver

	// HTTPListenAddr holds the TCP or Unix socket addresses that serve HTTP, or
	// HTTPS once a certificate is set. With port 0 the system chooses the port.
	// An empty list means the default. Change it to serve other machines; this
	// needs a user in BasicAuthCredentials, or AllowUnauthenticated.
	HTTPListenAddr []multiaddr.Multiaddr `key:"http_listen_multiaddress,single,zero" default:"/ip4/127.0.0.1/tcp/9097"`
	// PathSSLCertFile is the PEM file with the certificate chain for every HTTP
	// listener, RSA or ECDSA, absolute or relative to the configuration folder.
	// Empty means plain HTTP: right on loopback and behind a proxy that ends
	// TLS.
	PathSSLCertFile string `key:"ssl_cert_file,omitempty"`
	// PathSSLKeyFile is the PEM file with the private key of the certificate.
	// Both files or none must be set.
	PathSSLKeyFile string `key:"ssl_key_file,omitempty"`

	// ReadTimeout bounds the time to read a request from its first byte to the
	// end of its body, and cuts off responses that take longer, so prefer
	// BodyReadTimeout. 0s means no limit.
	ReadTimeout time.Duration `key:"read_timeout"`
	// ReadHeaderTimeout bounds the time to read the request headers. With 0s,
	// ReadTimeout holds for them.
	ReadHeaderTimeout time.Duration `key:"read_header_timeout" default:"5s"`
	// WriteTimeout bounds the time from the end of the request headers to the
	// end of the response. 0s means no limit. A value below 15s cuts off
	// responses that wait for slow peers.
	WriteTimeout time.Duration `key:"write_timeout"`
	// IdleTimeout is how long a connection is kept open between two requests.
	// With 0s, ReadTimeout holds for it. Let it be longer than the one of a
	// proxy in front.
	IdleTimeout time.Duration `key:"idle_timeout" default:"2m"`
	// MaxHeaderBytes bounds the request line and headers together, at least
	// 4096. The HTTP library adds 4096 to it: with the default, 7,500 bytes
	// pass and 9,000 get 431. 0 means the default. Raise it when a proxy adds
	// large headers.
	MaxHeaderBytes int `key:"max_header_bytes,zero" default:"4096"`

	// Libp2pListenAddr holds the addresses of a libp2p host of the API's own,
	// which serves HTTP over libp2p. It needs ID and PrivateKey. An empty list
	// means no such host.
	Libp2pListenAddr []multiaddr.Multiaddr `key:"libp2p_listen_multiaddress,single,omitempty"`
	// ID is the identity of the libp2p host, such as 12D3KooW and what follows.
	ID peer.ID `key:"id,omitempty"`
	// PrivateKey is the private key of the libp2p host, in base64. It must
	// belong to ID.
	PrivateKey crypto.PrivKey `key:"private_key,omitempty,secret"`

	// BasicAuthCredentials maps user names to passwords. Users log in with them
	// or with a token that is signed with the password, so a new password
	// revokes the user's tokens. A password of fewer than 12 characters is
	// warned about: whoever gets a token can guess it offline. null means that
	// nobody needs to log in, which is allowed on loopback only; an empty
	// object is a fault.
	BasicAuthCredentials map[string]string `key:"basic_auth_credentials,secret"`
	// HTTPLogFile is the file that the access log is appended to, absolute or
	// relative to the configuration folder. Empty means the daemon's own log.
	HTTPLogFile string `key:"http_log_file"`
	// Headers are HTTP headers for every response, such as
	// Strict-Transport-Security.
	Headers map[string][]string `key:"headers" default:"{}"`

	// CORSAllowedOrigins are the origins, such as https://app.example, whose
	// pages may call. "*" or an empty list mean any; while nobody needs to log
	// in, these may only read.
	CORSAllowedOrigins []string `key:"cors_allowed_origins" default:"*"`
	// CORSAllowedMethods are the methods that pages may use. An empty list
	// means GET, HEAD and POST.
	CORSAllowedMethods []string `key:"cors_allowed_methods" default:"GET,HEAD,POST,DELETE,OPTIONS"`
	// CORSAllowedHeaders are the request headers that pages may set. An empty
	// list means Accept, Content-Type and X-Requested-With.
	CORSAllowedHeaders []string `key:"cors_allowed_headers" default:"Accept,Authorization,Content-Type,X-API-Key,X-Request-Source,X-Requested-With"`
	// CORSExposedHeaders are the response headers that pages may read, beyond
	// those that are always readable.
	CORSExposedHeaders []string `key:"cors_exposed_headers" default:"Content-Type,X-Stream-Output,X-Chunked-Output,X-Content-Length,Retry-After,WWW-Authenticate"`
	// CORSAllowCredentials lets pages of named origins use what the browser
	// remembers, such as a Basic password. It is not needed by pages that send
	// a token themselves, and without effect while any origin is allowed.
	CORSAllowCredentials bool `key:"cors_allow_credentials"`
	// CORSMaxAge is how long a browser may remember the response to a preflight
	// request. 0s leaves it to the browser, mostly 5 s. Raise it (10m) when
	// pages poll.
	CORSMaxAge time.Duration `key:"cors_max_age"`

	// AllowUnauthenticated lets a service without users listen on other than
	// loopback addresses: everyone who reaches it may then add and delete pins.
	// Set it if something in front of the service decides who may call.
	AllowUnauthenticated bool `key:"allow_unauthenticated,added"`
	// MaxBodyBytes bounds the body of a request, at least 4096. 0 means the
	// default.
	MaxBodyBytes int64 `key:"max_body_bytes,added,zero" default:"1048576"`
	// BodyReadTimeout bounds the time to read the body of a request, from the
	// end of its headers. 0s means no limit. It is a key of its own because
	// ipfs-cluster writes "0s" as ReadTimeout into every file. Raise it
	// together with MaxBodyBytes for clients on slow lines.
	BodyReadTimeout time.Duration `key:"body_read_timeout,added" default:"30s"`
	// MaxConnections bounds the open connections of clients, of all listeners
	// together, at least 16. At the limit a new one takes the place of the one
	// that has been idle longest, or waits. 0 means the default. Each needs a
	// file descriptor.
	MaxConnections int `key:"max_connections,added,zero" default:"8192"`
	// MaxConcurrentRequests bounds the requests that are worked on at once,
	// reads and writes each, at least 16. Others wait for up to 5 s and are then
	// refused with 503. 0 means the default.
	MaxConcurrentRequests int `key:"max_concurrent_requests,added,zero" default:"1024"`
	// ShutdownTimeout is how long requests may take to finish at shutdown. With
	// 0s they are closed at once.
	ShutdownTimeout time.Duration `key:"shutdown_timeout,added" default:"10s"`
	// RefusePrivateOrigins refuses origins with private or loopback addresses
	// (400) instead of keeping them. Clients, Kubo first, send all their
	// addresses, so set it only for clients that you know.
	RefusePrivateOrigins bool `key:"refuse_private_origins,added"`
	// MaxPinAttempts is how often each peer tries to pin before a pin is
	// failed. Tries while the peer's IPFS node is unavailable do not count. 0
	// means the default. Raise it where providers come and go.
	MaxPinAttempts int `key:"max_pin_attempts,added,zero" default:"3"`
	// StatusSweepInterval is how often each peer is polled for the status of
	// all its pins, to find what its IPFS node lost; at least 1m. 0s means the
	// default. Each poll costs the peer a list of all its pins.
	StatusSweepInterval time.Duration `key:"status_sweep_interval,added,zero" default:"30m"`
	// StatusMaxAge is how old the confirmation by the IPFS nodes may be with
	// which GET of one pin says that it is pinned without asking them. A loss
	// is seen by the next GET after that time. 0s means that they are always
	// asked.
	StatusMaxAge time.Duration `key:"status_max_age,added" default:"10s"`
	// ReconcileInterval is how often the whole shared state is read, to find
	// changes that this peer was not notified of; at least 10s. 0s means the
	// default. Raise it if reading millions of pins is too much for the disk.
	ReconcileInterval time.Duration `key:"reconcile_interval,added,zero" default:"10m"`
	// ReplicaAwayAfter is how long a peer may be unreachable until what it
	// holds is no replica any more in info.replicas; at least 10s. The status of
	// its pins stays. 0s means the default.
	ReplicaAwayAfter time.Duration `key:"replica_away_after,added,zero" default:"5m"`
	// TrustedProxies are the IP addresses or networks (10.0.0.0/8) of the
	// proxies whose X-Forwarded-For and Forwarded headers name the client's
	// address. With an empty list the client's address is always the one of its
	// connection.
	TrustedProxies []netip.Prefix `key:"trusted_proxies,added"`
	// BasePath is the path prefix under which the whole API is served, such as
	// /psa for https://host/psa/pins. It begins with a slash. Set it if the
	// proxy in front passes the prefix on. Empty means the root.
	BasePath string `key:"base_path,added"`

	// WaitForCommit has a change answered when it is committed and on the disk,
	// also with consensus.crdt.batching. With false, a change that waits for its
	// batch is answered when it is queued. A peer that is killed or loses power
	// then loses the pins and deletes that it accepted within max_batch_age, and
	// of older ones at most max_queue_size that waited because commits failed or
	// took long, or because the state ignored them while the peer received what it
	// missed. Without batches, and with Raft, it has no effect.
	WaitForCommit bool `key:"wait_for_commit,added" default:"true"`

	// TLS is made of PathSSLCertFile and PathSSLKeyFile when the section is
	// read. An embedder may set it instead of them. Nil means plain HTTP.
	TLS *tls.Config
	// Tracing is not a key of the section: the daemon sets it when tracing
	// is on.
	Tracing bool

	// unknown are the members of the file that are no keys, kept for ToJSON.
	unknown jsonobject.Object
}

// NewConfig returns a Config with no values. Load, or set defaults, next.
func NewConfig() *Config { return &Config{} }

// ConfigKey implements config.ComponentConfig.
func (*Config) ConfigKey() string { return configKey }

// HTTPLogPath returns the file of the access log, resolved against the
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
