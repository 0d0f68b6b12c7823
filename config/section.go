package config

import (
	"github.com/multiformats/go-multiaddr"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/sectionconfig"
)

// Fault is one mistake in the section. It never holds a secret.
type Fault = sectionconfig.Fault

// section describes how the Config is read and written.
func section() sectionconfig.Section[Config] {
	return sectionconfig.Section[Config]{
		Name: "api." + configKey, EnvPrefix: "CLUSTER_PINSVCAPI_", Lenient: true,
		Types: []sectionconfig.Type{
			sectionconfig.AddressList(parseAddr, multiaddr.Multiaddr.String),
			sectionconfig.Text(parseID, formatID),
			sectionconfig.Text(parsePrivateKey, formatPrivateKey),
			sectionconfig.List("networks", parseNetwork, formatNetwork),
		},
		Adjust: func(c *Config, given func(key string) bool) {
			c.TLS = nil // The one of an embedder does not outlive a file.
			c.replaceUpstreamCORS(given)
		},
		Derive:   func(c *Config, f *sectionconfig.Faults) { c.derive(f) },
		Validate: func(c *Config, f *sectionconfig.Faults) { c.validate(f) },
	}
}

// Default sets every key to its default and forgets unknown keys. It never
// fails and reads no environment variable.
func (c *Config) Default() error {
	section().SetDefaults(c)
	c.TLS, c.unknown = nil, nil
	return nil
}

// LoadJSON reads the section as written in service.json. Keys that are left
// out or null get their defaults; unknown ones are logged and kept. Files are
// found below the folder given to SetBaseDir.
//
// It returns all faults at once, joined, each of type *Fault, and then leaves
// the keys of the Config as they were. Environment variables override the
// file, so if the file alone is not valid, it is validated together with them:
// a password may come from the environment only.
func (c *Config) LoadJSON(raw []byte) error {
	unknown, err := section().Load(c, raw)
	c.unknown = unknown
	c.warnUnknown()
	if err == nil && !section().EnvIsSet() { // Else ApplyEnvVars warns of the result.
		c.warn()
	}
	return err
}

// Validate returns all that is wrong with the Config, joined, each of type
// *Fault, or nil.
func (c *Config) Validate() error { return section().Check(c) }

// UnknownKeys returns the names of the members of the section last read that
// are no keys, sorted; also when LoadJSON failed.
func (c *Config) UnknownKeys() []string { return sectionconfig.Names(c.unknown) }

// ToJSON writes the section with all keys, its secrets, and the unknown keys
// of the file that it was loaded from.
func (c *Config) ToJSON() ([]byte, error) { return section().Encode(c, c.unknown) }
