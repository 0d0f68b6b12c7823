package kubo

import (
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/config"
	"github.com/kelseyhightower/envconfig"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/sectionconfig"
)

const (
	configKey    = "managed"
	envConfigKey = "cluster_managed"
)

// The two profiles of a managed node.
const (
	// ProfileDefault joins the public IPFS network with Kubo's own defaults.
	ProfileDefault = "default"
	// ProfilePrivate listens on loopback only and speaks to nobody unasked:
	// no bootstrap peers, DHT, mDNS, NAT mapping, relays or HTTP retrieval.
	ProfilePrivate = "private"
)

// Defaults of the section.
const (
	DefaultRepoPath            = "ipfs"
	DefaultStorageMax          = "80%"
	DefaultGCInterval          = time.Hour
	DefaultStartTimeout        = 10 * time.Minute
	DefaultStopTimeout         = 30 * time.Second
	DefaultRestartDelayMin     = time.Second
	DefaultRestartDelayMax     = time.Minute
	DefaultStableAfter         = 5 * time.Minute
	DefaultUnresponsiveTimeout = 2 * time.Minute
)

// Config is the key "managed" of the section ipfs_connector of service.json.
// It implements config.ComponentConfig. Every key may be left out and then
// keeps its default; every key can be overridden by an environment variable
// named CLUSTER_MANAGED_ and the key without its underscores, such as
// CLUSTER_MANAGED_REPOPATH. Durations are written as Go writes them ("90s").
//
// A Config is not safe for concurrent use. Start and Command copy what they
// need of it.
type Config struct {
	config.Saver

	// RepoPath (repo_path, default "ipfs") is the folder of the Kubo repo,
	// relative to the folder of service.json. It is made when missing.
	RepoPath string

	// BinaryPath (binary_path, default "") is the ipfs program to run,
	// relative to the folder of service.json, or a bare name to be looked
	// up in PATH. When empty: ipfs beside our own program, else in PATH.
	BinaryPath string

	// Profile (profile, default "default") is ProfileDefault or
	// ProfilePrivate. Changing it changes the repo at the next start;
	// changing it back restores what the repo had before.
	Profile string

	// SwarmAddresses (swarm_addresses, default []) is Kubo's
	// Addresses.Swarm, the multiaddresses to listen on for other IPFS
	// nodes. When empty, those in Kubo's own configuration hold (all
	// interfaces on port 4001 in a new repo, a loopback port of the
	// system's choice with the private profile), and a port that another
	// program holds is replaced by a free one, for good. Set it to keep a
	// port at any price, for instance one that a router forwards.
	SwarmAddresses []string

	// StorageMax (storage_max, default "80%") is Kubo's
	// Datastore.StorageMax: a size ("500GB"), or a share of the whole disk
	// that the repo is on. Kubo never refuses data because of it, but
	// collects garbage above 90 % of it, and the cluster's free space
	// metric, by which pins are allocated, is what is left of it. When
	// empty, the value in Kubo's own configuration holds.
	StorageMax string

	// EnableGC (enable_gc, default true) lets Kubo remove what is not
	// pinned once 90 % of StorageMax are used. Unpinned content stays on
	// disk for ever without it.
	EnableGC bool

	// GCInterval (gc_interval, default 1h) is Kubo's Datastore.GCPeriod,
	// how often it compares the used space with StorageMax.
	GCInterval time.Duration

	// Telemetry (telemetry, default false) allows Kubo's own telemetry to
	// its makers. When false, the node runs with IPFS_TELEMETRY=off.
	Telemetry bool

	// StartTimeout (start_timeout, default 10m) is how long a started Kubo
	// may take until its RPC answers before it is ended and tried anew.
	// Raise it when a very large repo needs longer. Zero waits for ever.
	StartTimeout time.Duration

	// StopTimeout (stop_timeout, default 30s) is how long Kubo may take to
	// stop before it is killed.
	StopTimeout time.Duration

	// RestartDelayMin and RestartDelayMax (restart_delay_min, default 1s;
	// restart_delay_max, default 1m) bound the wait before a Kubo that
	// ended is started again. It doubles with every failure.
	RestartDelayMin, RestartDelayMax time.Duration

	// StableAfter (stable_after, default 5m) is how long Kubo must have
	// been running for its next failure to count as the first.
	StableAfter time.Duration

	// UnresponsiveTimeout (unresponsive_timeout, default 2m) is how long
	// the RPC of a running Kubo may give no answer before Kubo is ended
	// and started again. Zero never does.
	UnresponsiveTimeout time.Duration

	// Environment (environment, default {}) is added to the environment of
	// Kubo, for instance {"GOLOG_LOG_LEVEL": "info"}.
	Environment map[string]string

	unknown []string
}

type jsonConfig struct {
	RepoPath            string            `json:"repo_path"`
	BinaryPath          string            `json:"binary_path"`
	Profile             string            `json:"profile"`
	SwarmAddresses      config.Strings    `json:"swarm_addresses"`
	StorageMax          string            `json:"storage_max"`
	EnableGC            bool              `json:"enable_gc"`
	GCInterval          string            `json:"gc_interval"`
	Telemetry           bool              `json:"telemetry"`
	StartTimeout        string            `json:"start_timeout"`
	StopTimeout         string            `json:"stop_timeout"`
	RestartDelayMin     string            `json:"restart_delay_min"`
	RestartDelayMax     string            `json:"restart_delay_max"`
	StableAfter         string            `json:"stable_after"`
	UnresponsiveTimeout string            `json:"unresponsive_timeout"`
	Environment         map[string]string `json:"environment,omitempty" hidden:"true"`
}

// ConfigKey returns "managed".
func (cfg *Config) ConfigKey() string { return configKey }

// Default sets every key to its default.
func (cfg *Config) Default() error {
	*cfg = Config{
		Saver:               cfg.Saver,
		RepoPath:            DefaultRepoPath,
		Profile:             ProfileDefault,
		SwarmAddresses:      []string{},
		StorageMax:          DefaultStorageMax,
		EnableGC:            true,
		GCInterval:          DefaultGCInterval,
		StartTimeout:        DefaultStartTimeout,
		StopTimeout:         DefaultStopTimeout,
		RestartDelayMin:     DefaultRestartDelayMin,
		RestartDelayMax:     DefaultRestartDelayMax,
		StableAfter:         DefaultStableAfter,
		UnresponsiveTimeout: DefaultUnresponsiveTimeout,
		Environment:         map[string]string{},
	}
	return nil
}

// ApplyEnvVars overrides keys by environment variables named
// CLUSTER_MANAGED_*. A list is separated by commas; the pairs of
// CLUSTER_MANAGED_ENVIRONMENT are written name:value.
func (cfg *Config) ApplyEnvVars() error {
	jcfg := cfg.toJSON()
	if err := envconfig.Process(envConfigKey, jcfg); err != nil {
		return err
	}
	return cfg.applyJSON(jcfg, nil)
}

// UnknownKeys returns the keys that the last LoadJSON did not know, sorted,
// as they are written inside the section.
func (cfg *Config) UnknownKeys() []string { return append([]string(nil), cfg.unknown...) }

// EnvNames returns every environment variable that the section reads, those
// for files with secrets (see sectionconfig.LookupSecret) included.
func (*Config) EnvNames() []string {
	var names []string
	fields := reflect.TypeFor[jsonConfig]()
	for i := range fields.NumField() {
		name := strings.ToUpper(envConfigKey + "_" + fields.Field(i).Name)
		names = append(names, name)
		if fields.Field(i).Tag.Get("hidden") == "true" {
			names = append(names, name+sectionconfig.FileSuffix)
		}
	}
	return names
}

// ToJSON returns the section as it is written to service.json.
func (cfg *Config) ToJSON() ([]byte, error) {
	return config.DefaultJSONMarshal(cfg.toJSON())
}

// ToDisplayJSON is ToJSON for eyes and logs: the values of environment are
// masked, as they may be secrets.
func (cfg *Config) ToDisplayJSON() ([]byte, error) {
	return config.DisplayJSON(cfg.toJSON())
}

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
	c.SwarmAddresses = append([]string{}, cfg.SwarmAddresses...)
	c.Environment = make(map[string]string, len(cfg.Environment))
	for name, value := range cfg.Environment {
		c.Environment[name] = value
	}
	return &c
}
