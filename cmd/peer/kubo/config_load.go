package kubo

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/multiformats/go-multiaddr"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/sectionconfig"
)

// section describes how the Config is read and written.
func section() sectionconfig.Section[Config] {
	return sectionconfig.Section[Config]{
		Name: configKey, EnvPrefix: "CLUSTER_MANAGED_",
		Validate: func(cfg *Config, f *sectionconfig.Faults) { cfg.validate(f) },
	}
}

// Keys returns every key of the section, in the order of the file.
func Keys() []sectionconfig.Key { return section().Keys() }

// EnvNames returns every environment variable that the section reads, those
// for files with secrets included.
func (*Config) EnvNames() []string { return section().EnvNames() }

// Default sets every key to its default and forgets unknown keys.
func (cfg *Config) Default() error {
	section().SetDefaults(cfg)
	cfg.unknown = nil
	return nil
}

// LoadJSON reads the section. Keys that are left out or null get their
// defaults. The error joins every fault found, each naming its key, and then the
// keys are as they were. Keys that are not known are no fault, see UnknownKeys.
// If the file alone is not valid, it is validated together with the environment
// variables.
func (cfg *Config) LoadJSON(raw []byte) error {
	unknown, err := section().Load(cfg, raw)
	cfg.unknown = unknown
	return err
}

// ApplyEnvVars overrides keys by environment variables named
// CLUSTER_MANAGED_*. A list is separated by commas. The pairs of
// CLUSTER_MANAGED_ENVIRONMENT are written name:value, one a line or separated
// by a comma and a blank. Both may be JSON as in the file. The variable
// CLUSTER_MANAGED_ENVIRONMENT_FILE is the path of a file with the pairs, one a
// line, or JSON.
func (cfg *Config) ApplyEnvVars() error {
	_, err := section().ApplyEnv(cfg)
	return err
}

// UnknownKeys returns the keys that the last LoadJSON did not know, sorted,
// as they are written inside the section.
func (cfg *Config) UnknownKeys() []string { return sectionconfig.Names(cfg.unknown) }

// ToJSON returns the section as it is written to service.json, with its
// secrets and the keys that are not known.
func (cfg *Config) ToJSON() ([]byte, error) { return section().Encode(cfg, cfg.unknown) }

// ToDisplayJSON is ToJSON for people and logs: the values of environment and
// of keys that are not known are masked, as they may be secrets.
func (cfg *Config) ToDisplayJSON() ([]byte, error) { return section().Display(cfg, cfg.unknown) }

// Validate returns every fault of the section, joined, each naming its key.
// Faults that only the machine shows, such as a missing program, are reported
// by Node while it tries.
func (cfg *Config) Validate() error { return section().Check(cfg) }

func (cfg *Config) validate(f *sectionconfig.Faults) {
	if cfg.RepoPath == "" {
		f.Add("repo_path", "must not be empty")
	}
	if cfg.Profile != ProfileDefault && cfg.Profile != ProfilePrivate {
		f.Add("profile", "%q is neither %q nor %q", cfg.Profile, ProfileDefault, ProfilePrivate)
	}
	for _, addr := range cfg.SwarmAddresses {
		if _, err := multiaddr.NewMultiaddr(addr); err != nil {
			f.Add("swarm_addresses", "%q: %v", addr, err)
		}
	}
	if _, err := parseStorageMax(cfg.StorageMax); err != nil {
		f.Add("storage_max", "%v", err)
	}
	cfg.validateDurations(f)
	for _, name := range slices.Sorted(maps.Keys(cfg.Environment)) {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			f.Add("environment", "%q cannot be the name of a variable", name)
		}
	}
}

func (cfg *Config) validateDurations(f *sectionconfig.Faults) {
	for _, positive := range []struct {
		key   string
		value time.Duration
	}{
		{"gc_interval", cfg.GCInterval},
		{"stop_timeout", cfg.StopTimeout},
		{"restart_delay_min", cfg.RestartDelayMin},
		{"stable_after", cfg.StableAfter},
	} {
		if positive.value <= 0 {
			f.Add(positive.key, "must be more than zero")
		}
	}
	if cfg.RestartDelayMax < cfg.RestartDelayMin {
		f.Add("restart_delay_max", "must not be less than restart_delay_min")
	}
	if cfg.StartTimeout < 0 {
		f.Add("start_timeout", "must not be negative")
	}
	if cfg.UnresponsiveTimeout < 0 {
		f.Add("unresponsive_timeout", "must not be negative")
	}
}
