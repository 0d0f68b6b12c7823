package config

import (
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"golang.org/x/net/http/httpguts"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/sectionconfig"
)

// derive normalises the base path and loads the certificate.
func (c *Config) derive(f *sectionconfig.Faults) {
	c.BasePath = strings.TrimSuffix(c.BasePath, "/")
	c.loadTLS(f)
}

func (c *Config) validate(f *sectionconfig.Faults) {
	c.validateListeners(f)
	c.validateTLS(f)
	c.validateLibp2p(f)
	c.validateCredentials(f)
	c.validateProxy(f)
	c.validateLimits(f)
	c.validateHeaders(f)
	c.validateExposure(f)
}

func (c *Config) validateListeners(f *sectionconfig.Faults) {
	const key = "http_listen_multiaddress"
	seen := map[string]bool{}
	for _, addr := range c.HTTPListenAddr {
		network, hostport, err := manet.DialArgs(addr)
		if err != nil || !(strings.HasPrefix(network, "tcp") || network == "unix") {
			f.Add(key, "%q is not a TCP or Unix socket address", addr)
			continue
		}
		if seen[network+hostport] && !strings.HasSuffix(hostport, ":0") {
			f.Add(key, "%s is listed twice", addr)
		}
		seen[network+hostport] = true
	}
}

func (c *Config) validateTLS(f *sectionconfig.Faults) {
	switch {
	case f.Has("ssl_cert_file", "ssl_key_file"):
	case c.PathSSLCertFile != "" && c.PathSSLKeyFile == "":
		f.Add("ssl_key_file", "is missing, but ssl_cert_file is set: TLS needs both")
	case c.PathSSLCertFile == "" && c.PathSSLKeyFile != "":
		f.Add("ssl_cert_file", "is missing, but ssl_key_file is set: TLS needs both")
	case c.PathSSLCertFile != "" && c.TLS == nil:
		f.Add("ssl_cert_file", "has not been loaded")
	}
}

func (c *Config) validateLibp2p(f *sectionconfig.Faults) {
	const addrs, id, key = "libp2p_listen_multiaddress", "id", "private_key"
	if f.Has(addrs, id, key) {
		return
	}
	var missing []string
	if len(c.Libp2pListenAddr) == 0 {
		missing = append(missing, addrs)
	}
	if c.ID == "" {
		missing = append(missing, id)
	}
	if c.PrivateKey == nil {
		missing = append(missing, key)
	}
	switch {
	case len(missing) == 0 && !c.ID.MatchesPrivateKey(c.PrivateKey):
		f.Add(id, "does not belong to private_key")
	case len(missing) > 0 && len(missing) < 3:
		for _, name := range missing {
			f.Add(name, "is missing: HTTP over libp2p needs %s, %s and %s", addrs, id, key)
		}
	}
	for i, addr := range c.Libp2pListenAddr {
		if len(addr) == 0 {
			f.Add(addrs, "holds an empty address")
		} else if slices.ContainsFunc(c.Libp2pListenAddr[:i], addr.Equal) && !letsSystemChoose(addr) {
			f.Add(addrs, "%s is listed twice", addr)
		}
	}
}

// letsSystemChoose reports whether the port of addr is 0: listening on it twice
// is no conflict.
func letsSystemChoose(addr multiaddr.Multiaddr) bool {
	for _, code := range []int{multiaddr.P_TCP, multiaddr.P_UDP} {
		if port, err := addr.ValueForProtocol(code); err == nil {
			return port == "0"
		}
	}
	return false
}

// validateCredentials counts faulty entries and does not name them: a name may
// be a misplaced password.
func (c *Config) validateCredentials(f *sectionconfig.Faults) {
	const key = "basic_auth_credentials"
	if c.BasicAuthCredentials != nil && len(c.BasicAuthCredentials) == 0 {
		f.Add(key, "holds no user: leave it out (or null) for a service without users")
	}
	if _, ok := c.BasicAuthCredentials[""]; ok {
		f.Add(key, "holds an empty user name")
	}
	empty := 0
	for _, password := range c.BasicAuthCredentials {
		if password == "" {
			empty++
		}
	}
	if empty > 0 {
		f.Add(key, "holds an empty password (%d of %d)", empty, len(c.BasicAuthCredentials))
	}
}

func (c *Config) validateLimits(f *sectionconfig.Faults) {
	for _, limit := range []struct {
		key   string
		value time.Duration
	}{
		{"read_timeout", c.ReadTimeout},
		{"read_header_timeout", c.ReadHeaderTimeout},
		{"write_timeout", c.WriteTimeout},
		{"idle_timeout", c.IdleTimeout},
		{"cors_max_age", c.CORSMaxAge},
		{"body_read_timeout", c.BodyReadTimeout},
		{"shutdown_timeout", c.ShutdownTimeout},
		{"status_max_age", c.StatusMaxAge},
	} {
		if limit.value < 0 {
			f.Add(limit.key, "%s is negative", limit.value)
		}
	}
	if !f.Has("max_header_bytes") && c.MaxHeaderBytes < MinMaxHeaderBytes {
		f.Add("max_header_bytes", "%d is less than %d", c.MaxHeaderBytes, MinMaxHeaderBytes)
	}
	if !f.Has("max_body_bytes") && c.MaxBodyBytes < MinMaxBodyBytes {
		f.Add("max_body_bytes", "%d is less than %d", c.MaxBodyBytes, MinMaxBodyBytes)
	}
	for _, limit := range []struct {
		key   string
		value int
	}{
		{"max_connections", c.MaxConnections},
		{"max_concurrent_requests", c.MaxConcurrentRequests},
	} {
		if !f.Has(limit.key) && limit.value < MinConcurrency {
			f.Add(limit.key, "%d is less than %d", limit.value, MinConcurrency)
		}
	}
	if !f.Has("max_pin_attempts") && c.MaxPinAttempts < 1 {
		f.Add("max_pin_attempts", "%d is less than 1", c.MaxPinAttempts)
	}
	if !f.Has("status_sweep_interval") && c.StatusSweepInterval < MinStatusSweep {
		f.Add("status_sweep_interval", "%s is less than %s", c.StatusSweepInterval, MinStatusSweep)
	}
	if !f.Has("replica_away_after") && c.ReplicaAwayAfter < MinReplicaAway {
		f.Add("replica_away_after", "%s is less than %s", c.ReplicaAwayAfter, MinReplicaAway)
	}
	if !f.Has("reconcile_interval") && c.ReconcileInterval < MinReconcile {
		f.Add("reconcile_interval", "%s is less than %s", c.ReconcileInterval, MinReconcile)
	}
}

func (c *Config) validateHeaders(f *sectionconfig.Faults) {
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		if !httpguts.ValidHeaderFieldName(name) {
			f.Add("headers", "%q is not the name of a header", name)
		}
		if !validHeaderValues(c.Headers[name]) {
			f.Add("headers", "%q has a value with control characters", name)
		}
	}
}

func validHeaderValues(values []string) bool {
	return !slices.ContainsFunc(values, func(v string) bool { return !httpguts.ValidHeaderFieldValue(v) })
}

// validateExposure refuses a service without users on other than loopback
// addresses, unless allow_unauthenticated permits it.
func (c *Config) validateExposure(f *sectionconfig.Faults) {
	if c.BasicAuthCredentials != nil || c.AllowUnauthenticated ||
		f.Has("basic_auth_credentials", "allow_unauthenticated") {
		return
	}
	const problem = "no user is configured, so everyone who reaches %s could add and delete pins:" +
		" set basic_auth_credentials, listen on loopback only," +
		" or set allow_unauthenticated to true if something in front decides who may call"
	if open := exposed(c.HTTPListenAddr); len(open) > 0 {
		f.Add("http_listen_multiaddress", problem, strings.Join(open, ", "))
	}
	if open := exposed(c.Libp2pListenAddr); len(open) > 0 {
		f.Add("libp2p_listen_multiaddress", problem, strings.Join(open, ", "))
	}
}

// exposed returns the addresses that other machines may reach.
func exposed(addrs []multiaddr.Multiaddr) []string {
	var open []string
	for _, addr := range addrs {
		if !isLocal(addr) {
			open = append(open, addr.String())
		}
	}
	return open
}

// isLocal is false when in doubt. Names are not resolved, but localhost is
// loopback by RFC 6761. A circuit address is reachable through its relay.
func isLocal(addr multiaddr.Multiaddr) bool {
	if len(addr) == 0 {
		return true // Is a fault of its own.
	}
	if _, err := addr.ValueForProtocol(multiaddr.P_CIRCUIT); err == nil {
		return false
	}
	switch first := addr[0]; first.Code() {
	case multiaddr.P_UNIX:
		return true
	case multiaddr.P_IP4, multiaddr.P_IP6:
		return net.IP(first.RawValue()).IsLoopback()
	case multiaddr.P_DNS, multiaddr.P_DNS4, multiaddr.P_DNS6:
		return first.Value() == "localhost"
	default:
		return false
	}
}
