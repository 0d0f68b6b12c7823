package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"golang.org/x/net/http/httpguts"
)

// Fault is one mistake in the section. It never holds a secret.
type Fault struct {
	// Key is the key's name in the file, or empty for the whole section.
	Key string
	// Problem says what is wrong, to follow the key.
	Problem string
}

// Error is "api.pinsvcapi.<key>: <problem>".
func (f *Fault) Error() string {
	if f.Key == "" {
		return "api." + configKey + ": " + f.Problem
	}
	return "api." + configKey + "." + f.Key + ": " + f.Problem
}

// faults collects what is wrong. The zero value is empty.
type faults struct{ list []*Fault }

func (f *faults) add(key, format string, args ...any) {
	f.list = append(f.list, &Fault{Key: key, Problem: fmt.Sprintf(format, args...)})
}

// has reports whether one of the keys is known to be wrong. What depends on
// a wrong key is not judged, because the fault would be a consequence.
func (f *faults) has(keys ...string) bool {
	return slices.ContainsFunc(f.list, func(fault *Fault) bool {
		return slices.Contains(keys, fault.Key)
	})
}

func (f *faults) clone() faults { return faults{list: slices.Clone(f.list)} }

// err joins the faults, or returns nil when there are none.
func (f *faults) err() error {
	errs := make([]error, len(f.list))
	for i, fault := range f.list {
		errs[i] = fault
	}
	return errors.Join(errs...)
}

// Validate returns all that is wrong with the Config, joined, each of type
// *Fault, or nil.
func (c *Config) Validate() error {
	var f faults
	c.validate(&f)
	return f.err()
}

func (c *Config) validate(f *faults) {
	c.validateListeners(f)
	c.validateTLS(f)
	c.validateLibp2p(f)
	c.validateCredentials(f)
	c.validateProxy(f)
	c.validateLimits(f)
	c.validateHeaders(f)
	c.validateExposure(f)
}

func (c *Config) validateListeners(f *faults) {
	const key = "http_listen_multiaddress"
	seen := map[string]bool{}
	for _, addr := range c.HTTPListenAddr {
		network, hostport, err := manet.DialArgs(addr)
		if err != nil || !(strings.HasPrefix(network, "tcp") || network == "unix") {
			f.add(key, "%q is not a TCP or Unix socket address", addr)
			continue
		}
		if seen[network+hostport] && !strings.HasSuffix(hostport, ":0") {
			f.add(key, "%s is listed twice", addr)
		}
		seen[network+hostport] = true
	}
}

func (c *Config) validateTLS(f *faults) {
	switch {
	case f.has("ssl_cert_file", "ssl_key_file"):
	case c.PathSSLCertFile != "" && c.PathSSLKeyFile == "":
		f.add("ssl_key_file", "is missing, but ssl_cert_file is set: TLS needs both")
	case c.PathSSLCertFile == "" && c.PathSSLKeyFile != "":
		f.add("ssl_cert_file", "is missing, but ssl_key_file is set: TLS needs both")
	case c.PathSSLCertFile != "" && c.TLS == nil:
		f.add("ssl_cert_file", "has not been loaded")
	}
}

func (c *Config) validateLibp2p(f *faults) {
	const addrs, id, key = "libp2p_listen_multiaddress", "id", "private_key"
	if f.has(addrs, id, key) {
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
		f.add(id, "does not belong to private_key")
	case len(missing) > 0 && len(missing) < 3:
		for _, name := range missing {
			f.add(name, "is missing: HTTP over libp2p needs %s, %s and %s", addrs, id, key)
		}
	}
	for i, addr := range c.Libp2pListenAddr {
		if len(addr) == 0 {
			f.add(addrs, "holds an empty address")
		} else if slices.ContainsFunc(c.Libp2pListenAddr[:i], addr.Equal) && !letsSystemChoose(addr) {
			f.add(addrs, "%s is listed twice", addr)
		}
	}
}

// letsSystemChoose reports whether the port of addr is 0, so that listening
// twice on it is no conflict.
func letsSystemChoose(addr multiaddr.Multiaddr) bool {
	for _, code := range []int{multiaddr.P_TCP, multiaddr.P_UDP} {
		if port, err := addr.ValueForProtocol(code); err == nil {
			return port == "0"
		}
	}
	return false
}

// validateCredentials tells how many entries are wrong, but not whose.
func (c *Config) validateCredentials(f *faults) {
	const key = "basic_auth_credentials"
	if c.BasicAuthCredentials != nil && len(c.BasicAuthCredentials) == 0 {
		f.add(key, "holds no user: leave it out (or null) for a service without users")
	}
	if _, ok := c.BasicAuthCredentials[""]; ok {
		f.add(key, "holds an empty user name")
	}
	empty := 0
	for _, password := range c.BasicAuthCredentials {
		if password == "" {
			empty++
		}
	}
	if empty > 0 {
		f.add(key, "holds an empty password (%d of %d)", empty, len(c.BasicAuthCredentials))
	}
}

func (c *Config) validateLimits(f *faults) {
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
	} {
		if limit.value < 0 {
			f.add(limit.key, "%s is negative", limit.value)
		}
	}
	if !f.has("max_header_bytes") && c.MaxHeaderBytes < MinMaxHeaderBytes {
		f.add("max_header_bytes", "%d is less than %d", c.MaxHeaderBytes, MinMaxHeaderBytes)
	}
	if !f.has("max_body_bytes") && c.MaxBodyBytes < MinMaxBodyBytes {
		f.add("max_body_bytes", "%d is less than %d", c.MaxBodyBytes, MinMaxBodyBytes)
	}
	if !f.has("max_pin_attempts") && c.MaxPinAttempts < 1 {
		f.add("max_pin_attempts", "%d is less than 1", c.MaxPinAttempts)
	}
	if !f.has("status_sweep_interval") && c.StatusSweepInterval < MinStatusSweep {
		f.add("status_sweep_interval", "%s is less than %s", c.StatusSweepInterval, MinStatusSweep)
	}
	if !f.has("reconcile_interval") && c.ReconcileInterval < MinReconcile {
		f.add("reconcile_interval", "%s is less than %s", c.ReconcileInterval, MinReconcile)
	}
}

func (c *Config) validateHeaders(f *faults) {
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		if !httpguts.ValidHeaderFieldName(name) {
			f.add("headers", "%q is not the name of a header", name)
		}
		if !validHeaderValues(c.Headers[name]) {
			f.add("headers", "%q has a value with control characters", name)
		}
	}
}

func validHeaderValues(values []string) bool {
	return !slices.ContainsFunc(values, func(v string) bool { return !httpguts.ValidHeaderFieldValue(v) })
}

// validateExposure refuses a service that everyone on a network may use,
// unless the operator said that this is meant.
func (c *Config) validateExposure(f *faults) {
	if c.BasicAuthCredentials != nil || c.AllowUnauthenticated ||
		f.has("basic_auth_credentials", "allow_unauthenticated") {
		return
	}
	const problem = "no user is configured, so everyone who reaches %s could add and delete pins:" +
		" set basic_auth_credentials, listen on loopback only," +
		" or set allow_unauthenticated to true if something in front decides who may call"
	if open := exposed(c.HTTPListenAddr); len(open) > 0 {
		f.add("http_listen_multiaddress", problem, strings.Join(open, ", "))
	}
	if open := exposed(c.Libp2pListenAddr); len(open) > 0 {
		f.add("libp2p_listen_multiaddress", problem, strings.Join(open, ", "))
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

// warnUnknown logs the names of keys that nobody reads; a misspelt key would
// pass in silence otherwise.
func (c *Config) warnUnknown() {
	for _, name := range c.UnknownKeys() {
		logger.Warnf("api.%s.%s: unknown key, ignored", configKey, name)
	}
}

// warnExposed logs that the service is open to a network on purpose.
func (c *Config) warnExposed() {
	if c.BasicAuthCredentials != nil || !c.AllowUnauthenticated {
		return
	}
	if open := slices.Concat(exposed(c.HTTPListenAddr), exposed(c.Libp2pListenAddr)); len(open) > 0 {
		logger.Warnf("api.%s: no user is configured: everyone who reaches %s may add and delete pins",
			configKey, strings.Join(open, ", "))
	}
}

// warnColons logs that there are users who cannot log in with a password.
// Tokens work for them, so that services of ipfs-cluster that have some go on.
func (c *Config) warnColons() {
	n := 0
	for user := range c.BasicAuthCredentials {
		if strings.Contains(user, ":") {
			n++
		}
	}
	if n > 0 {
		logger.Warnf("api.%s.basic_auth_credentials: %d of %d user names have a colon, which ends the name in Basic "+
			"authentication: these users can use tokens only", configKey, n, len(c.BasicAuthCredentials))
	}
}
