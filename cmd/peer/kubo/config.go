package kubo

import (
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/config"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/jsonobject"
)

const configKey = "managed"

// The two profiles of a managed node.
const (
	// ProfileDefault joins the public IPFS network with Kubo's own defaults.
	ProfileDefault = "default"
	// ProfilePrivate listens on loopback only and connects to nobody unasked:
	// no bootstrap peers, DHT, mDNS, NAT mapping, relays or HTTP retrieval.
	ProfilePrivate = "private"
)

// Config is the key "managed" of the section ipfs_connector of service.json.
// It implements config.ComponentConfig. Every key may be left out and then
// has its default; every key can be overridden by an environment variable
// named CLUSTER_MANAGED_ and the key without its underscores, such as
// CLUSTER_MANAGED_REPOPATH. Durations are written as Go writes them ("90s").
//
// The comments of the fields are the documentation of the keys.
//
// A Config is not safe for concurrent use. Start and Command copy what they
// need of it.
type Config struct {
	config.Saver

	// RepoPath is the folder of the Kubo repo, relative to the folder of
	// service.json. It is created if it does not exist.
	RepoPath string `key:"repo_path" default:"ipfs"`
	// BinaryPath is the ipfs program to run, relative to the folder of
	// service.json, or a bare name to be found in PATH. If empty: ipfs beside
	// our own program, else in PATH.
	BinaryPath string `key:"binary_path"`
	// Profile is "default" for a node of the public IPFS network, or "private"
	// for one that listens on loopback only and connects to nobody unasked.
	// Changing it changes the repo at the next start; changing it back restores
	// what the repo had before.
	Profile string `key:"profile" default:"default"`
	// SwarmAddresses is Kubo's Addresses.Swarm, the multiaddresses to listen on
	// for other IPFS nodes. If empty, those in Kubo's own configuration hold
	// (all interfaces on port 4001 in a new repo, a loopback port of the
	// system's choice with the private profile), and a port that another
	// program holds is replaced by a free one for good. Set it to keep a port
	// at any price, for instance one that a router forwards.
	SwarmAddresses []string `key:"swarm_addresses,single" default:"[]"`
	// StorageMax is Kubo's Datastore.StorageMax: a size ("500GB"), or a share
	// of the whole disk that the repo is on. Kubo never refuses data because of
	// it, but collects garbage above 90 % of it. What is left of it is the
	// cluster's free space metric, by which pins are allocated. If empty, the
	// value in Kubo's own configuration holds.
	StorageMax string `key:"storage_max" default:"80%"`
	// EnableGC lets Kubo remove what is not pinned once 90 % of StorageMax are
	// used. Without it, unpinned content stays on disk for ever.
	EnableGC bool `key:"enable_gc" default:"true"`
	// GCInterval is Kubo's Datastore.GCPeriod: how often it compares the used
	// space with StorageMax.
	GCInterval time.Duration `key:"gc_interval" default:"1h"`
	// Telemetry allows Kubo's own telemetry to its makers. If false, the node
	// runs with IPFS_TELEMETRY=off.
	Telemetry bool `key:"telemetry"`
	// StartTimeout is how long a started Kubo may take until its RPC responds
	// before it is stopped and started again. Raise it if a very large repo
	// needs longer. 0s waits for ever.
	StartTimeout time.Duration `key:"start_timeout" default:"10m"`
	// StopTimeout is how long Kubo may take to stop before it is killed.
	StopTimeout time.Duration `key:"stop_timeout" default:"30s"`
	// RestartDelayMin is the wait before Kubo is started again after its first
	// failure. The wait doubles with every failure.
	RestartDelayMin time.Duration `key:"restart_delay_min" default:"1s"`
	// RestartDelayMax is the longest wait before Kubo is started again.
	RestartDelayMax time.Duration `key:"restart_delay_max" default:"1m"`
	// StableAfter is how long Kubo must have been running for its next failure
	// to count as the first.
	StableAfter time.Duration `key:"stable_after" default:"5m"`
	// UnresponsiveTimeout is how long the RPC of a running Kubo may not respond
	// before Kubo is stopped and started again. 0s never does this.
	UnresponsiveTimeout time.Duration `key:"unresponsive_timeout" default:"2m"`
	// Environment is added to the environment of Kubo, for instance
	// {"GOLOG_LOG_LEVEL": "info"}.
	Environment map[string]string `key:"environment,omitempty,secret" default:"{}"`

	// unknown are the members of the file that are no keys, kept for ToJSON.
	unknown jsonobject.Object
}

// ConfigKey returns "managed".
func (cfg *Config) ConfigKey() string { return configKey }

// RepoDir returns the absolute path of the Kubo repo.
func (cfg *Config) RepoDir() string { return cfg.absolute(cfg.RepoPath) }

// absolute resolves a path of the section against the folder of service.json.
func (cfg *Config) absolute(path string) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join(cfg.BaseDir, path)
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

func (cfg *Config) clone() *Config {
	c := *cfg
	c.Saver = config.Saver{BaseDir: cfg.BaseDir}
	c.SwarmAddresses = slices.Clone(cfg.SwarmAddresses)
	c.Environment = maps.Clone(cfg.Environment)
	return &c
}
