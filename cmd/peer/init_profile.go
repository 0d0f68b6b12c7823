package peer

import (
	"fmt"

	"github.com/multiformats/go-multiaddr"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kubo"
)

// Profile is a set of defaults that Init writes: ordinary values of the
// configuration, which may be changed later.
type Profile string

// The profiles.
const (
	// ProfileDefault joins the public IPFS network. Peers of the cluster reach
	// each other on all interfaces, clients only on loopback.
	ProfileDefault Profile = kubo.ProfileDefault
	// ProfilePrivate stays on this machine: all listeners are on loopback,
	// without announcements, discovery or port mapping. It is for tests and,
	// with other addresses, for closed networks.
	ProfilePrivate Profile = kubo.ProfilePrivate
)

func (p Profile) validate() error {
	switch p {
	case "", ProfileDefault, ProfilePrivate:
		return nil
	}
	return fmt.Errorf("choosing a profile: %q is neither '%s' nor '%s'", string(p), ProfileDefault, ProfilePrivate)
}

// applyProfile comes before the environment, which may open a private peer on
// purpose. The APIs and the proxy listen on loopback with both profiles.
func (d *draft) applyProfile(managed *kubo.Config) error {
	if d.opts.Profile != ProfilePrivate {
		return nil
	}
	listen, err := multiaddr.NewMultiaddr("/ip4/127.0.0.1/tcp/9096")
	if err != nil {
		return err
	}
	cluster := d.helper.Configs().Cluster
	cluster.ListenAddr = []multiaddr.Multiaddr{listen}
	cluster.MDNSInterval = 0
	cluster.EnableRelayHop = false
	managed.Profile = kubo.ProfilePrivate
	return nil
}
