package peer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sort"
	"strings"
	"sync"

	"github.com/ipfs-cluster/ipfs-cluster/cmdutils"
	clusterconfig "github.com/ipfs-cluster/ipfs-cluster/config"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kubo"
	"github.com/pinsvc/ipfs-cluster-pinsvc/config"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/jsonobject"
)

// Configuration is the content of service.json, identity.json and the
// environment. Upstream's config manager holds it, with two components of ours:
// api.pinsvcapi (instead of upstream's) and ipfs_connector.managed.
type Configuration struct {
	Files Files
	// Helper gives access to the cluster's own sections. Its
	// Configs().Pinsvcapi is upstream's section, which is not used.
	Helper *cmdutils.ConfigHelper
	// Pinsvcapi is the section api.pinsvcapi.
	Pinsvcapi *config.Config
	// Managed is the section ipfs_connector.managed: the Kubo node that the
	// peer runs itself. Without it, ipfs_connector.ipfshttp has the address of
	// the IPFS node. With both, the node is the managed one and
	// node_multiaddress of ipfshttp is not used.
	Managed *kubo.Config

	consensus ConsensusKind // The sections that exist; "" leaves it to the file.
	datastore string
	loaded    bool
	files     snapshot // The state of the files when they were loaded.
	close     sync.Once
}

// NewConfiguration prepares an empty configuration. Consensus and datastore
// ("pebble", "badger", "badger3", "leveldb") choose which of these sections
// exist; "" leaves it to the file, as Load requires. It must be closed.
func NewConfiguration(files Files, consensus ConsensusKind, datastore string) *Configuration {
	c := &Configuration{
		Files:     files,
		Helper:    cmdutils.NewConfigHelper(files.Config, files.Identity, string(consensus), datastore),
		Pinsvcapi: config.NewConfig(),
		Managed:   &kubo.Config{},
		consensus: consensus,
		datastore: datastore,
	}
	// The last registration of a key wins, so upstream's pinsvcapi is never
	// loaded and its component never built.
	c.Helper.Manager().RegisterComponent(clusterconfig.API, c.Pinsvcapi)
	c.Helper.Manager().RegisterComponent(clusterconfig.IPFSConn, c.Managed)
	return c
}

// Close ends what the config manager runs in the background. It takes up to
// a second and may be called again.
func (c *Configuration) Close() {
	c.close.Do(c.Helper.Manager().Shutdown)
}

// Load reads both files and then the environment. The error has a line for
// each faulty section, with file and key.
func (c *Configuration) Load() error {
	before := stat(c.Files.Config)
	raw, err := readJSON(c.Files.Config)
	if err != nil {
		return err
	}
	if err := c.Helper.Manager().LoadJSONFromFile(c.Files.Config); err != nil {
		if faults := c.faults(raw); len(faults) > 0 {
			return errors.Join(faults...)
		}
		return fmt.Errorf("%s: %w", c.Files.Config, err)
	}
	if err := applyClusterEnvironment(c.Helper.Manager(), c.Helper.Configs()); err != nil {
		return fmt.Errorf("environment variables that override %s: %w", c.Files.Config, err)
	}
	if err := c.loadIdentity(raw); err != nil {
		return err
	}
	c.loaded = true
	c.files = watchedPathsOf(c.Files, c.Pinsvcapi).snapshot()
	c.files.files[c.Files.Config] = before
	return nil
}

func (c *Configuration) loadIdentity(raw map[string]json.RawMessage) error {
	_, err := os.Stat(c.Files.Identity)
	switch {
	case err == nil:
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("reading the peer's identity: %w", err)
	default:
		// Before 0.11 the cluster section held the identity; upstream's loader
		// still moves it, but panics when there is no section (U19 in
		// docs/upstream-faults.md).
		var old struct{ ID string }
		if json.Unmarshal(raw["cluster"], &old) != nil || old.ID == "" {
			return fmt.Errorf("%s: %w: the peer has no identity; init makes one", c.Files.Identity, fs.ErrNotExist)
		}
	}
	if err := c.Helper.LoadIdentityFromDisk(); err != nil {
		return fmt.Errorf("loading the peer's identity from %s: %w", c.Files.Identity, err)
	}
	return applyIdentityFile(c.Helper.Identity(), false)
}

// Has reports whether the file has that section; its component is then
// started.
func (c *Configuration) Has(section clusterconfig.SectionType, key string) bool {
	// The manager reports keys that are not registered as loaded.
	for _, known := range c.components() {
		if known.section == section && known.config.ConfigKey() == key {
			return c.Helper.Manager().IsLoadedFromJSON(section, key)
		}
	}
	return false
}

// HasPinsvcapi reports whether the Pinning Service API is served.
func (c *Configuration) HasPinsvcapi() bool {
	return c.Has(clusterconfig.API, c.Pinsvcapi.ConfigKey())
}

// HasManaged reports whether the peer runs a Kubo node of its own.
func (c *Configuration) HasManaged() bool {
	return c.Has(clusterconfig.IPFSConn, c.Managed.ConfigKey())
}

// Engines returns the configured consensus and, for CRDT, the datastore. The
// error names the keys to choose from when it is not exactly one of each.
func (c *Configuration) Engines() (consensus ConsensusKind, datastore string, err error) {
	consensus = ConsensusKind(c.Helper.GetConsensus())
	if consensus == "" {
		return "", "", c.noConsensus()
	}
	if consensus == ConsensusRaft {
		return consensus, "", nil // Its state is in memory, its log in the Raft folder.
	}
	datastore = c.Helper.GetDatastore()
	if datastore == "" {
		return "", "", c.noDatastore()
	}
	return consensus, datastore, nil
}

func (c *Configuration) noConsensus() error {
	return fmt.Errorf("%s: exactly one of consensus.crdt and consensus.raft must be configured", c.Files.Config)
}

func (c *Configuration) noDatastore() error {
	return fmt.Errorf("%s: exactly one of datastore.pebble, datastore.badger3, datastore.badger "+
		"and datastore.leveldb must be configured", c.Files.Config)
}

// Unknown lists the sections and components of the file that nothing reads, as
// "section" or "section.key", sorted. Keys within components are not checked.
func (c *Configuration) Unknown() ([]string, error) {
	raw, err := readJSON(c.Files.Config)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{"source": true, "cluster": true}
	for _, comp := range c.components() {
		known[comp.name()] = true
		known[sectionName(comp.section)] = true
	}
	var unknown []string
	for section, body := range raw {
		if !known[section] {
			unknown = append(unknown, section)
			continue
		}
		var entries map[string]json.RawMessage
		if section == "source" || section == "cluster" || json.Unmarshal(body, &entries) != nil {
			continue
		}
		for key := range entries {
			if name := section + "." + key; !known[name] {
				unknown = append(unknown, name)
			}
		}
	}
	sort.Strings(unknown)
	return unknown, nil
}

// faults loads every section of the file by itself, so that each error names its
// section: the manager stops at the first error and does not name it (U19 in
// docs/upstream-faults.md).
func (c *Configuration) faults(raw map[string]json.RawMessage) []error {
	var faults []error
	sections := make(map[string]map[string]json.RawMessage)
	for _, comp := range c.components() {
		section := sectionName(comp.section)
		body := raw[section]
		if comp.section != clusterconfig.Cluster {
			if _, seen := sections[section]; !seen {
				var entries map[string]json.RawMessage
				if body != nil {
					if err := json.Unmarshal(body, &entries); err != nil {
						faults = append(faults, fmt.Errorf("%s: %s: %w", c.Files.Config, section, err))
					}
				}
				sections[section] = entries
			}
			body = sections[section][comp.config.ConfigKey()]
		}
		if body == nil || bytes.Equal(body, []byte("null")) {
			continue
		}
		comp.config.SetBaseDir(c.Files.Folder())
		faults = append(faults, c.named(comp.name(), comp.config.LoadJSON(body))...)
	}
	return faults
}

// named puts the file and the section before each fault, unless the fault names
// the section itself.
func (c *Configuration) named(section string, err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var faults []error
		for _, e := range joined.Unwrap() {
			faults = append(faults, c.named(section, e)...)
		}
		return faults
	}
	if strings.HasPrefix(err.Error(), section+".") || strings.HasPrefix(err.Error(), section+":") {
		return []error{fmt.Errorf("%s: %w", c.Files.Config, err)}
	}
	return []error{fmt.Errorf("%s: %s: %w", c.Files.Config, section, err)}
}

// readJSON returns the members of the object in a file.
func readJSON(path string) (map[string]json.RawMessage, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: there is no configuration yet; init makes one", err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	object, err := jsonobject.Parse(content)
	if syntax, ok := errors.AsType[*jsonobject.SyntaxError](err); ok {
		return nil, fmt.Errorf("%s, line %d: not JSON: %w", path, syntax.Line, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: not a JSON object: %w", path, err)
	}
	members := make(map[string]json.RawMessage, len(object))
	for _, member := range object { // Of a repeated name upstream reads the last.
		members[member.Name] = member.Value
	}
	return members, nil
}
