package peer

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	clusterconfig "github.com/ipfs-cluster/ipfs-cluster/config"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// ListenError tells that an address of the configuration cannot be listened
// on, in one sentence that names the setting to change.
type ListenError struct {
	// Setting is the key, such as api.pinsvcapi.http_listen_multiaddress, and
	// File the configuration that it is in.
	Setting, File string
	// Address is the one that failed, as host:port.
	Address string
	Err     error
}

func (e *ListenError) Error() string {
	problem := fmt.Sprintf("cannot listen on %s (%s): correct", e.Address, e.Err)
	if errors.Is(e.Err, syscall.EADDRINUSE) {
		problem = fmt.Sprintf("%s is already in use by another program: stop that program or change", e.Address)
	}
	return fmt.Sprintf("%s %s in %s", problem, e.Setting, e.File)
}

// Unwrap returns the system's error, such as syscall.EADDRINUSE.
func (e *ListenError) Unwrap() error { return e.Err }

// listenSetting is one key that says where to listen.
type listenSetting struct {
	key   string
	addrs []ma.Multiaddr
}

// listenSettings are those of the components that will be started.
func (c *Configuration) listenSettings() []listenSetting {
	cfgs := c.Helper.Configs()
	settings := []listenSetting{{"cluster.listen_multiaddress", cfgs.Cluster.ListenAddr}}
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
// every one that fails. The components would tell of a taken port without
// their key, or not at all: libp2p shares ports (SO_REUSEPORT) and is content
// with one address of several, and upstream's metrics end the process.
func (c *Configuration) checkListeners() error {
	var failed []error
	taken := make(map[string]string) // Address to the setting that has it.
	for _, setting := range c.listenSettings() {
		for _, addr := range setting.addrs {
			hostport, ok := dialArgs(addr)
			if !ok {
				continue
			}
			err := tryListen(hostport)
			switch other, twice := taken[hostport]; {
			case err != nil:
			case twice && other != setting.key && !strings.HasSuffix(hostport, ":0"):
				err = fmt.Errorf("%s has the same", other)
			}
			if err != nil {
				failed = append(failed, &ListenError{
					Setting: setting.key, File: c.Files.Config, Address: hostport, Err: err,
				})
			}
			taken[hostport] = setting.key
		}
	}
	return errors.Join(failed...)
}

// tryListen listens for a moment.
func tryListen(hostport string) error {
	listener, err := net.Listen("tcp", hostport)
	if err != nil {
		return err
	}
	return listener.Close()
}

// dialArgs returns host:port of a TCP address, and false for any other kind:
// Unix sockets, and the UDP addresses that old configurations still have.
func dialArgs(addr ma.Multiaddr) (string, bool) {
	network, hostport, err := manet.DialArgs(addr)
	if err != nil {
		return "", false
	}
	switch network {
	case "tcp", "tcp4", "tcp6":
		return hostport, true
	}
	return hostport, false
}
