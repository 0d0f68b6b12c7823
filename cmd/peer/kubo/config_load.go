package kubo

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/multiformats/go-multiaddr"
)

// LoadJSON reads the section. Keys that are left out get their defaults. The
// error joins every fault found, each naming its key; keys that are not known
// are no fault, see UnknownKeys.
func (cfg *Config) LoadJSON(raw []byte) error {
	if err := cfg.Default(); err != nil {
		return err
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(raw, &given); err != nil {
		return fmt.Errorf("%s: not a JSON object: %w", configKey, err)
	}
	jcfg := cfg.toJSON()
	faults := decodeFields(jcfg, given)
	cfg.unknown = slices.Sorted(maps.Keys(given))
	return cfg.applyJSON(jcfg, faults)
}

// decodeFields decodes each given value into the field of that key, so that
// one bad value does not hide the next, and removes from given what it used.
func decodeFields(jcfg *jsonConfig, given map[string]json.RawMessage) []error {
	var faults []error
	fields := reflect.ValueOf(jcfg).Elem()
	for i := range fields.NumField() {
		key, _, _ := strings.Cut(fields.Type().Field(i).Tag.Get("json"), ",")
		raw, ok := given[key]
		if !ok {
			continue
		}
		delete(given, key)
		if err := json.Unmarshal(raw, fields.Field(i).Addr().Interface()); err != nil {
			faults = append(faults, keyError(key, err))
		}
	}
	return faults
}

func keyError(key string, err error) error {
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &mismatch) {
		err = fmt.Errorf("expected a %s, not a %s", mismatch.Type, mismatch.Value)
	}
	return fmt.Errorf("%s.%s: %w", configKey, key, err)
}

// applyJSON takes over all of jcfg and reports the faults of both.
func (cfg *Config) applyJSON(jcfg *jsonConfig, faults []error) error {
	cfg.RepoPath = jcfg.RepoPath
	cfg.BinaryPath = jcfg.BinaryPath
	cfg.Profile = jcfg.Profile
	cfg.SwarmAddresses = append([]string{}, jcfg.SwarmAddresses...)
	cfg.StorageMax = jcfg.StorageMax
	cfg.EnableGC = jcfg.EnableGC
	cfg.Telemetry = jcfg.Telemetry
	cfg.Environment = maps.Clone(jcfg.Environment)
	for _, d := range []struct {
		key, text string
		dst       *time.Duration
	}{
		{"gc_interval", jcfg.GCInterval, &cfg.GCInterval},
		{"start_timeout", jcfg.StartTimeout, &cfg.StartTimeout},
		{"stop_timeout", jcfg.StopTimeout, &cfg.StopTimeout},
		{"restart_delay_min", jcfg.RestartDelayMin, &cfg.RestartDelayMin},
		{"restart_delay_max", jcfg.RestartDelayMax, &cfg.RestartDelayMax},
		{"stable_after", jcfg.StableAfter, &cfg.StableAfter},
		{"unresponsive_timeout", jcfg.UnresponsiveTimeout, &cfg.UnresponsiveTimeout},
	} {
		value, err := time.ParseDuration(d.text)
		if err != nil {
			faults = append(faults, keyError(d.key, fmt.Errorf("%q is not a duration such as \"90s\"", d.text)))
			continue
		}
		*d.dst = value
	}
	return errors.Join(append(faults, cfg.Validate())...)
}

func (cfg *Config) toJSON() *jsonConfig {
	return &jsonConfig{
		RepoPath:            cfg.RepoPath,
		BinaryPath:          cfg.BinaryPath,
		Profile:             cfg.Profile,
		SwarmAddresses:      append([]string{}, cfg.SwarmAddresses...),
		StorageMax:          cfg.StorageMax,
		EnableGC:            cfg.EnableGC,
		GCInterval:          cfg.GCInterval.String(),
		Telemetry:           cfg.Telemetry,
		StartTimeout:        cfg.StartTimeout.String(),
		StopTimeout:         cfg.StopTimeout.String(),
		RestartDelayMin:     cfg.RestartDelayMin.String(),
		RestartDelayMax:     cfg.RestartDelayMax.String(),
		StableAfter:         cfg.StableAfter.String(),
		UnresponsiveTimeout: cfg.UnresponsiveTimeout.String(),
		Environment:         maps.Clone(cfg.Environment),
	}
}

// Validate reports every fault of the section, each naming its key. What can
// only be seen on the machine, such as a missing program, is not looked at:
// Node reports it while it tries.
func (cfg *Config) Validate() error {
	var faults []error
	fault := func(key, format string, args ...any) {
		faults = append(faults, keyError(key, fmt.Errorf(format, args...)))
	}
	if cfg.RepoPath == "" {
		fault("repo_path", "must not be empty")
	}
	if cfg.Profile != ProfileDefault && cfg.Profile != ProfilePrivate {
		fault("profile", "%q is neither %q nor %q", cfg.Profile, ProfileDefault, ProfilePrivate)
	}
	for _, addr := range cfg.SwarmAddresses {
		if _, err := multiaddr.NewMultiaddr(addr); err != nil {
			fault("swarm_addresses", "%q: %v", addr, err)
		}
	}
	if _, err := parseStorageMax(cfg.StorageMax); err != nil {
		fault("storage_max", "%v", err)
	}
	for key, value := range map[string]time.Duration{
		"gc_interval": cfg.GCInterval, "stop_timeout": cfg.StopTimeout,
		"restart_delay_min": cfg.RestartDelayMin, "stable_after": cfg.StableAfter,
	} {
		if value <= 0 {
			fault(key, "must be more than zero")
		}
	}
	if cfg.RestartDelayMax < cfg.RestartDelayMin {
		fault("restart_delay_max", "must not be less than restart_delay_min")
	}
	if cfg.StartTimeout < 0 {
		fault("start_timeout", "must not be negative")
	}
	if cfg.UnresponsiveTimeout < 0 {
		fault("unresponsive_timeout", "must not be negative")
	}
	for name := range cfg.Environment {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			fault("environment", "%q cannot be the name of a variable", name)
		}
	}
	sort.Slice(faults, func(i, j int) bool { return faults[i].Error() < faults[j].Error() })
	return errors.Join(faults...)
}
