package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/sectionconfig"
)

// Fault is one mistake in the section. It never holds a secret.
type Fault = sectionconfig.Fault

// Key describes one key of the section.
type Key = sectionconfig.Key

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

// Keys returns every key of the section, in the order of the file.
func Keys() []Key { return section().Keys() }

// EnvNames returns every environment variable that the section reads, those
// for files with secrets included.
func (*Config) EnvNames() []string { return section().EnvNames() }

// Default sets every key to its default and forgets unknown keys. It never
// fails and reads no environment variable.
func (c *Config) Default() error {
	section().SetDefaults(c)
	c.TLS, c.unknown, c.warned = nil, nil, nil
	return nil
}

// LoadJSON reads the section as written in service.json. Keys that are left
// out or null get their defaults; unknown ones are logged and kept. Files are
// found below the folder given to SetBaseDir.
//
// It returns all faults at once, joined, each of type *Fault, and then leaves
// the keys of the Config as they were. Environment variables override the
// file, so when the file alone is not valid they are applied before it is
// judged: a password may come from the environment only.
func (c *Config) LoadJSON(raw []byte) error {
	unknown, err := section().Load(c, raw)
	c.unknown, c.warned = unknown, nil
	c.warnUnknown()
	if err != nil {
		return err
	}
	c.warn()
	return nil
}

// ApplyEnvVars sets the keys whose environment variables are set (see Keys)
// and validates the result. The forms are those of ipfs-cluster, and JSON:
//
//   - Lists are separated by commas: "/ip4/127.0.0.1/tcp/1,/ip6/::1/tcp/1".
//   - Headers are name:value pairs separated by commas: "X-A:b,X-C:d".
//   - Credentials are name:password pairs, one a line, or separated by a comma
//     and a blank: "alice:secret, bob:hidden". A comma without a blank is a
//     fault: it could be a part of a password or separate two users.
//   - Lists, headers and credentials may be JSON as in the file.
//   - An empty variable leaves text, durations and addresses as they are, and
//     empties other lists and maps.
//
// A secret can be in a file instead: the variable with the suffix _FILE holds
// its path (see sectionconfig.LookupSecret). Credentials are then JSON, or one
// name:password pair a line.
//
// All faults come at once, as from LoadJSON, and then nothing is changed. They
// never quote a secret.
func (c *Config) ApplyEnvVars() error {
	changed, err := section().ApplyEnv(c)
	if err != nil {
		return err
	}
	if changed {
		c.warn()
	}
	return nil
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

func parseAddr(text string) (multiaddr.Multiaddr, error) {
	addr, err := multiaddr.NewMultiaddr(text)
	if err != nil || len(addr) == 0 {
		return nil, fmt.Errorf("%q is not a multiaddress such as /ip4/127.0.0.1/tcp/9097", text)
	}
	return addr, nil
}

func parseID(text string) (peer.ID, error) {
	id, err := peer.Decode(text)
	if err != nil {
		return "", fmt.Errorf("%q is not a peer ID", text)
	}
	return id, nil
}

func formatID(id peer.ID) (string, error) {
	if id == "" {
		return "", nil
	}
	return id.String(), nil
}

// parsePrivateKey never puts anything of the text, nor an error that might
// quote it, into an error.
func parsePrivateKey(text string) (crypto.PrivKey, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("is not base64")
	}
	key, err := crypto.UnmarshalPrivateKey(raw)
	if err != nil {
		return nil, errors.New("is not a libp2p private key")
	}
	return key, nil
}

func formatPrivateKey(key crypto.PrivKey) (string, error) {
	if key == nil {
		return "", nil
	}
	raw, err := crypto.MarshalPrivateKey(key)
	if err != nil {
		return "", errors.New("cannot be encoded")
	}
	return base64.StdEncoding.EncodeToString(raw), nil
}

// parseNetwork reads a network, or an IP address, which is a network of one.
func parseNetwork(text string) (netip.Prefix, error) {
	network, err := netip.ParsePrefix(text)
	if err == nil {
		return network, nil
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is not an IP address or a network such as 10.0.0.0/8", text)
	}
	return addr.Prefix(addr.BitLen())
}

// formatNetwork writes a network of one address as this address.
func formatNetwork(network netip.Prefix) string {
	if network.IsSingleIP() {
		return network.Addr().String()
	}
	return network.String()
}
