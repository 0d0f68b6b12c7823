package peer

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/cmdutils"
	clusterconfig "github.com/ipfs-cluster/ipfs-cluster/config"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kubo"
	"github.com/pinsvc/ipfs-cluster-pinsvc/config"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/atomicfile"
)

// InitOptions are the choices of Init. The zero value is a CRDT peer with
// upstream's defaults and a managed Kubo.
type InitOptions struct {
	// Overwrite lets Init replace an existing configuration and peerstore.
	Overwrite bool
	// Source is the URL from which the daemon fetches its configuration at
	// each start. The configuration file then holds only that URL, so of the
	// options below only Peers may be set; Consensus and Datastore are ignored.
	Source string
	// Consensus is "crdt", which "" means too, or "raft".
	Consensus string
	// Datastore is "pebble", which "" means too, "badger", "badger3" or
	// "leveldb". Raft has none.
	Datastore string
	// Secret joins the peers of one cluster: 32 bytes, or none at all for a
	// cluster that anyone may join. Nil leaves it to CLUSTER_SECRET, or else
	// makes a new one.
	Secret []byte
	// Peers are addresses of other peers, each with /p2p/ID. They are written
	// to the peerstore, and become trusted (CRDT) or initial (Raft) peers.
	Peers []multiaddr.Multiaddr
	// RandomPorts writes ports that are free now instead of the usual ones.
	RandomPorts bool
	// Profile is ProfileDefault, which "" means too, or ProfilePrivate.
	Profile Profile
	// Users get an entry each in basic_auth_credentials of the Pinning
	// Service API, with a random password.
	Users []string
	// IPFS is the RPC address of an external IPFS node, which is then used
	// instead of a managed one. Nil leaves it to the environment variable
	// CLUSTER_IPFSHTTP_NODEMULTIADDRESS, which scripts for
	// ipfs-cluster-service set for the same purpose; without it the node is
	// managed.
	IPFS multiaddr.Multiaddr
}

// InitResult describes what Init has written.
type InitResult struct {
	// NewIdentity is set when there was none; an identity is never replaced.
	NewIdentity bool
	// Peerstore is the file of peer addresses, PeerstoreEntries how many
	// it has now.
	Peerstore        string
	PeerstoreEntries int
	// Users are the added users, in their order.
	Users []NewUser
	// IPFS is the address of the external IPFS node; nil: managed.
	IPFS multiaddr.Multiaddr
	// Open is set when the Pinning Service API has no users.
	Open bool
}

// Init writes the configuration (mode 0600), and the identity and the
// peerstore if there are none, into the folder of the files, which it makes
// (mode 0700). The environment's CLUSTER_ variables are applied first, as
// upstream does. Without Overwrite an existing configuration is left alone
// and the error is fs.ErrExist. Mistakes in the options are found before
// anything is written. The caller holds the Lock.
func Init(files Files, opts InitOptions) (InitResult, error) {
	if err := opts.validate(); err != nil {
		return InitResult{}, err
	}
	found, err := Initialized(files)
	if err != nil {
		return InitResult{}, err
	}
	if found && !opts.Overwrite {
		return InitResult{}, fmt.Errorf("%s: %w", files.Config, fs.ErrExist)
	}
	draft, err := newDraft(files, opts)
	if err != nil {
		return InitResult{}, err
	}
	return draft.write()
}

// Initialized reports whether there is a configuration.
func Initialized(files Files) (bool, error) {
	return exists(files.Config)
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (o InitOptions) validate() error {
	switch o.Consensus {
	case "", "crdt", "raft":
	default:
		return fmt.Errorf("choosing consensus: %q is neither 'crdt' nor 'raft'", o.Consensus)
	}
	switch o.Datastore {
	case "", "pebble", "badger", "badger3", "leveldb":
	default:
		return fmt.Errorf("choosing datastore: %q is none of 'pebble', 'badger', 'badger3' and 'leveldb'", o.Datastore)
	}
	if err := o.Profile.validate(); err != nil {
		return err
	}
	for _, addr := range o.Peers {
		if _, err := peer.AddrInfoFromP2pAddr(addr); err != nil {
			return fmt.Errorf("reading peer address %s: %w", addr, err)
		}
	}
	if o.Source != "" && (len(o.Users) > 0 || o.Profile != "" || o.IPFS != nil) {
		return errors.New("a configuration that comes from a URL has its own users, profile and IPFS node: " +
			"leave out --user, --profile and --ipfs")
	}
	return validateUsers(o.Users)
}

// privateMode is the mode of files that hold secrets.
const privateMode = 0o600

// draft is a configuration that is not written yet.
type draft struct {
	files  Files
	opts   InitOptions
	helper *cmdutils.ConfigHelper
	api    *config.Config
	result InitResult
}

// newDraft fills in a configuration: defaults, then the profile, then the
// environment, then the options.
func newDraft(files Files, opts InitOptions) (*draft, error) {
	d := &draft{
		files:  files,
		opts:   opts,
		helper: cmdutils.NewConfigHelper(files.Config, files.Identity, cmp.Or(opts.Consensus, "crdt"), cmp.Or(opts.Datastore, "pebble")),
		api:    config.NewConfig(),
	}
	manager := d.helper.Manager()
	manager.RegisterComponent(clusterconfig.API, d.api)
	managed := &kubo.Config{}
	if !d.external() {
		manager.RegisterComponent(clusterconfig.IPFSConn, managed)
	}
	// The manager's goroutine for saving is not needed. Its shutdown takes up
	// to a second, so it is not waited for.
	go manager.Shutdown()
	manager.Source = opts.Source
	for _, step := range []struct {
		doing string
		do    func() error
	}{
		{"generating the default configuration", manager.Default},
		{"applying the profile", func() error { return d.applyProfile(managed) }},
		{"randomizing ports", d.randomizePorts},
		{"applying --ipfs", d.applyIPFS},
		{"applying environment variables to the configuration", func() error { return applyClusterEnvironment(manager, d.helper.Configs()) }},
		{"applying the options", d.applyOptions},
	} {
		if err := step.do(); err != nil {
			return nil, fmt.Errorf("%s: %w", step.doing, err)
		}
	}
	return d, nil
}

// external reports whether the IPFS node is an external one.
func (d *draft) external() bool {
	return d.opts.IPFS != nil || os.Getenv("CLUSTER_IPFSHTTP_NODEMULTIADDRESS") != ""
}

// applyIPFS comes before the environment, which may set another node for the
// IPFS proxy.
func (d *draft) applyIPFS() error {
	if d.opts.IPFS != nil {
		d.helper.Configs().Ipfshttp.NodeAddr = d.opts.IPFS
		d.helper.Configs().Ipfsproxy.NodeAddr = d.opts.IPFS
	}
	return nil
}

func (d *draft) randomizePorts() error {
	if !d.opts.RandomPorts {
		return nil
	}
	cfgs := d.helper.Configs()
	for _, addrs := range []*[]multiaddr.Multiaddr{
		&cfgs.Cluster.ListenAddr, &cfgs.Restapi.HTTPListenAddr, &cfgs.Ipfsproxy.ListenAddr, &d.api.HTTPListenAddr,
	} {
		randomized, err := cmdutils.RandomizePorts(*addrs)
		if err != nil {
			return err
		}
		*addrs = randomized
	}
	return nil
}

// applyOptions comes after the environment: the command line wins.
func (d *draft) applyOptions() error {
	cfgs := d.helper.Configs()
	if d.opts.Secret != nil {
		cfgs.Cluster.Secret = d.opts.Secret
	}
	if d.opts.IPFS != nil {
		cfgs.Ipfshttp.NodeAddr = d.opts.IPFS
	}
	if d.external() {
		d.result.IPFS = cfgs.Ipfshttp.NodeAddr
	}
	if len(d.opts.Peers) > 0 {
		peers := ipfscluster.PeersFromMultiaddrs(d.opts.Peers)
		cfgs.Crdt.TrustAll = false
		cfgs.Crdt.TrustedPeers = peers
		cfgs.Raft.InitPeerset = peers
	}
	d.addUsers()
	d.result.Open = d.opts.Source == "" && len(d.api.BasicAuthCredentials) == 0
	return nil
}

// write saves the configuration first: if anything fails after it, running
// Init again with Overwrite completes the rest.
func (d *draft) write() (InitResult, error) {
	if err := os.MkdirAll(d.files.Folder(), 0o700); err != nil {
		return InitResult{}, fmt.Errorf("making the peer's folder: %w", err)
	}
	if err := d.writeConfig(); err != nil {
		return InitResult{}, fmt.Errorf("saving the configuration: %w", err)
	}
	if err := d.writeIdentity(); err != nil {
		return InitResult{}, fmt.Errorf("saving %s: %w", d.files.Identity, err)
	}
	if err := d.writePeerstore(); err != nil {
		return InitResult{}, fmt.Errorf("saving the peerstore: %w", err)
	}
	return d.result, nil
}

func (d *draft) writeConfig() error {
	// The content depends on the folder that the manager saves into, so it must
	// be the same one.
	return atomicfile.Replace(d.files.Config, privateMode, d.helper.Manager().SaveJSON)
}

func (d *draft) writeIdentity() error {
	found, err := exists(d.files.Identity)
	if found || err != nil {
		return err
	}
	ident := d.helper.Identity()
	if err := ident.Default(); err != nil {
		return fmt.Errorf("generating an identity: %w", err)
	}
	if err := applyNewIdentityEnvironment(ident); err != nil {
		return fmt.Errorf("applying environment variables: %w", err)
	}
	d.result.NewIdentity = true
	return atomicfile.Replace(d.files.Identity, privateMode, ident.SaveJSON)
}

// writePeerstore writes the peerstore, even if it is empty. Addresses of an
// existing one are dropped with Overwrite only.
func (d *draft) writePeerstore() error {
	d.helper.Configs().Cluster.SetBaseDir(d.files.Folder())
	path := d.helper.Configs().Cluster.GetPeerstorePath()
	var lines []string
	if !d.opts.Overwrite {
		old, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		lines = strings.Fields(string(old))
	}
	for _, addr := range d.opts.Peers {
		lines = append(lines, addr.String())
	}
	d.result.Peerstore, d.result.PeerstoreEntries = path, len(lines)
	var content strings.Builder
	for _, line := range lines {
		content.WriteString(line + "\n")
	}
	return atomicfile.WriteFile(path, []byte(content.String()), privateMode)
}
