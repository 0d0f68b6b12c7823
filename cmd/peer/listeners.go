package peer

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	clusterconfig "github.com/ipfs-cluster/ipfs-cluster/config"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// ListenError is the error of an address that cannot be listened on: one
// sentence that names the setting to change.
type ListenError struct {
	// Setting is the key, such as api.pinsvcapi.http_listen_multiaddress, and
	// File the configuration file.
	Setting, File string
	// Address is the one that failed, as host:port.
	Address string
	Err     error
}

// Error is the sentence.
func (e *ListenError) Error() string {
	problem := fmt.Sprintf("cannot listen on %s (%s): correct", e.Address, e.Err)
	if errors.Is(e.Err, syscall.EADDRINUSE) {
		problem = fmt.Sprintf("%s is already in use by another program: stop that program or change", e.Address)
	}
	return fmt.Sprintf("%s %s in %s", problem, e.Setting, e.File)
}

// Unwrap returns the system's error, such as syscall.EADDRINUSE.
func (e *ListenError) Unwrap() error { return e.Err }

// listenSetting is one key with addresses to listen on.
type listenSetting struct {
	key   string
	addrs []ma.Multiaddr
}

const clusterListenKey = "cluster.listen_multiaddress"

// listenSettings are those of the components that will be started.
func (c *Configuration) listenSettings() []listenSetting {
	cfgs := c.Helper.Configs()
	settings := []listenSetting{{clusterListenKey, cfgs.Cluster.ListenAddr}}
	add := func(started bool, key string, addrs ...ma.Multiaddr) {
		if started {
			settings = append(settings, listenSetting{key, addrs})
		}
	}
	rest := c.Has(clusterconfig.API, cfgs.Restapi.ConfigKey())
	add(rest, "api.restapi.http_listen_multiaddress", cfgs.Restapi.HTTPListenAddr...)
	add(rest, "api.restapi.libp2p_listen_multiaddress", cfgs.Restapi.Libp2pListenAddr...)
	add(c.HasPinsvcapi(), "api.pinsvcapi.http_listen_multiaddress", c.Pinsvcapi.HTTPListenAddr...)
	add(c.HasPinsvcapi(), "api.pinsvcapi.libp2p_listen_multiaddress", c.Pinsvcapi.Libp2pListenAddr...)
	add(c.Has(clusterconfig.API, cfgs.Ipfsproxy.ConfigKey()), "api.ipfsproxy.listen_multiaddress",
		cfgs.Ipfsproxy.ListenAddr...)
	add(cfgs.Metrics.EnableStats, "observations.metrics.prometheus_endpoint", cfgs.Metrics.PrometheusEndpoint)
	return settings
}

// checkListeners tries all addresses before anything is opened, and reports
// every one that fails. The components report a port in use without their key,
// or not at all: libp2p shares ports (SO_REUSEPORT) and accepts one address of
// several, and upstream's metrics end the process.
//
// Another program may take a port between this check and the real listen. That
// is acceptable: the check only makes for a better message, and the listen of
// the component fails then.
func (c *Configuration) checkListeners() error {
	return c.eachListener(endpoint.tryListen)
}

// checkOverlaps finds addresses that exclude each other. It opens nothing.
func (c *Configuration) checkOverlaps() error {
	return c.eachListener(func(endpoint) error { return nil })
}

// eachListener tries every address and then compares it with those before it.
func (c *Configuration) eachListener(try func(endpoint) error) error {
	var failed []error
	var checked []endpoint
	for _, setting := range c.listenSettings() {
		for _, addr := range setting.addrs {
			e, ok := endpointOf(setting.key, addr)
			if !ok {
				continue
			}
			err := try(e)
			if i := slices.IndexFunc(checked, e.conflicts); i >= 0 && err == nil {
				err = fmt.Errorf("%s has %s, which is the same port", checked[i].key, checked[i].hostport())
			}
			if err != nil {
				failed = append(failed, &ListenError{
					Setting: setting.key, File: c.Files.Config, Address: e.hostport(), Err: err,
				})
			}
			checked = append(checked, e)
		}
	}
	return errors.Join(failed...)
}

// endpoint is an address to listen on and the key that it comes from.
type endpoint struct {
	key           string
	network       string // tcp4 or tcp6
	host, service string
}

// endpointOf returns the endpoint of a TCP address, and false for any other
// kind: Unix sockets, and the UDP addresses in old configurations.
func endpointOf(key string, addr ma.Multiaddr) (endpoint, bool) {
	network, hostport, err := manet.DialArgs(addr)
	if err != nil || !strings.HasPrefix(network, "tcp") {
		return endpoint{}, false
	}
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return endpoint{}, false
	}
	return endpoint{key: key, network: network, host: host, service: port}, true
}

func (e endpoint) hostport() string { return net.JoinHostPort(e.host, e.service) }

// tryListen listens for a moment.
func (e endpoint) tryListen() error {
	listener, err := net.Listen(e.network, e.hostport())
	if err != nil {
		return err
	}
	return listener.Close()
}

// conflicts reports whether only one of two endpoints can be listened on: an
// unspecified address (0.0.0.0, ::) covers all addresses of its family.
func (e endpoint) conflicts(other endpoint) bool {
	if e.service != other.service || e.service == "0" || e.network != other.network {
		return false
	}
	if e.key == other.key && e.sharesPorts() {
		return false
	}
	return e.host == other.host || isUnspecified(e.host) || isUnspecified(other.host)
}

// sharesPorts reports whether the component of the key listens with
// SO_REUSEPORT, as libp2p does.
func (e endpoint) sharesPorts() bool {
	return e.key == clusterListenKey || strings.HasSuffix(e.key, ".libp2p_listen_multiaddress")
}

func isUnspecified(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsUnspecified()
}
