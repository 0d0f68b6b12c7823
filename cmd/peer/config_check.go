package peer

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	clusterconfig "github.com/ipfs-cluster/ipfs-cluster/config"
)

// Findings are the mistakes in the files and the environment of a peer.
type Findings struct {
	// Faults keep the peer from starting. Each names its file and key.
	Faults []string
	// Unknown are keys that nothing reads, as section.component.key, sorted.
	// They are most likely misspelt.
	Unknown []string
	// UnknownVariables are sentences about environment variables that nothing
	// reads, see the function of that name.
	UnknownVariables []string
}

// Check loads the configuration, the environment and the identity of a peer,
// as a start would, and continues after a fault. It reads files only: whether
// ports are free, the datastore opens and other peers can be reached shows at
// the start. A configuration from a URL is fetched.
func Check(files Files) Findings {
	c := NewConfiguration(files, "", "")
	defer c.Close()
	found := Findings{UnknownVariables: UnknownVariables()}
	err := c.Load()
	found.Faults = flatten(err)
	if err == nil {
		found.Faults = flatten(c.checkOverlaps())
	}
	raw, readErr := readJSON(files.Config)
	if readErr != nil {
		return found
	}
	if err != nil && c.Helper.Identity().ID == "" {
		// Load reads the identity last, and so not after a fault.
		for _, fault := range flatten(c.loadIdentity(raw)) {
			if !slices.Contains(found.Faults, fault) {
				found.Faults = append(found.Faults, fault)
			}
		}
	}
	if _, remote := raw["source"]; remote {
		return found // The sections are those of the source, not of this file.
	}
	if fault := c.enginesIn(raw); fault != nil {
		found.Faults = append(found.Faults, fault.Error())
	}
	found.Unknown = c.unknownKeys(raw)
	return found
}

// enginesIn is the fault that Engines would report, found in the file itself: a
// failed load has read only some of the sections.
func (c *Configuration) enginesIn(raw map[string]json.RawMessage) error {
	count := func(section string, keys ...string) (n int, last string) {
		given := members(raw[section])
		for _, key := range keys {
			if body, ok := given[key]; ok && !bytes.Equal(body, []byte("null")) {
				n, last = n+1, key
			}
		}
		return n, last
	}
	cfgs := c.Helper.Configs()
	n, consensus := count("consensus", cfgs.Crdt.ConfigKey(), cfgs.Raft.ConfigKey())
	if n != 1 {
		return c.noConsensus()
	}
	if consensus == cfgs.Raft.ConfigKey() {
		return nil
	}
	n, _ = count("datastore", cfgs.Pebble.ConfigKey(), cfgs.Badger3.ConfigKey(), cfgs.Badger.ConfigKey(), cfgs.LevelDB.ConfigKey())
	if n != 1 {
		return c.noDatastore()
	}
	return nil
}

// unknownAtStart lists the unknown keys that a start warns of: whole sections
// and components, and the keys of the managed node. The section of the Pinning
// Service API has logged its own; unknown keys of upstream's components are
// reported by Check only.
func (c *Configuration) unknownAtStart() []string {
	unknown, err := c.Unknown()
	if err != nil {
		return nil // The file was just loaded: a failure to read it again is no reason to stop.
	}
	if c.HasManaged() {
		for _, key := range c.Managed.UnknownKeys() {
			unknown = append(unknown, component{clusterconfig.IPFSConn, c.Managed}.name()+"."+key)
		}
	}
	return unknown
}

// flatten lists the errors in nested results of errors.Join.
func flatten(err error) []string {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []string{err.Error()}
	}
	var list []string
	for _, e := range joined.Unwrap() {
		list = append(list, flatten(e)...)
	}
	return list
}

// unknownKeys lists components that nothing reads, and unknown keys within the
// others.
func (c *Configuration) unknownKeys(raw map[string]json.RawMessage) []string {
	unknown, err := c.Unknown()
	if err != nil {
		return nil
	}
	for _, comp := range c.components() {
		given := members(raw[sectionName(comp.section)])
		if section, key, found := strings.Cut(comp.name(), "."); found {
			given = members(members(raw[section])[key])
		}
		if given == nil {
			continue
		}
		if ours, ok := comp.config.(interface{ UnknownKeys() []string }); ok {
			for _, key := range ours.UnknownKeys() {
				unknown = append(unknown, comp.name()+"."+key)
			}
			continue
		}
		// Upstream's components do not export their keys, but write most of
		// them with their defaults.
		if err := comp.config.Default(); err != nil {
			continue
		}
		defaults, err := comp.config.ToJSON()
		if err != nil {
			continue
		}
		unknown = append(unknown, compareKeys(comp.name(), given, members(defaults))...)
	}
	slices.Sort(unknown)
	return unknown
}

func compareKeys(prefix string, given, known map[string]json.RawMessage) []string {
	var unknown []string
	for key, value := range given {
		name := prefix + "." + key
		i := slices.IndexFunc(keysOf(known), func(k string) bool { return strings.EqualFold(k, key) })
		switch {
		case i >= 0 && !isFreeForm(key):
			if inner := members(known[keysOf(known)[i]]); inner != nil {
				unknown = append(unknown, compareKeys(name, members(value), inner)...)
			}
		case i < 0 && !slices.Contains(quietKeys(), name):
			unknown = append(unknown, name)
		}
	}
	return unknown
}

func keysOf(object map[string]json.RawMessage) []string {
	keys := make([]string, 0, len(object))
	for key := range object {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// members returns the members of a JSON object, and nil for anything else.
func members(raw json.RawMessage) map[string]json.RawMessage {
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) != nil {
		return nil
	}
	return object
}

// isFreeForm reports whether the operator chooses the members of a key.
func isFreeForm(key string) bool {
	switch strings.ToLower(key) {
	case "headers", "tags", "basic_auth_credentials":
		return true
	}
	return false
}

// quietKeys are keys that components read but do not write while they have their
// default value.
func quietKeys() []string {
	return []string{
		"cluster.id", "cluster.private_key", "cluster.follower_mode", "cluster.peerstore_file",
		"consensus.raft.data_folder", "consensus.raft.datastore_namespace",
		"consensus.raft.heartbeat_timeout", "consensus.raft.election_timeout",
		"consensus.raft.commit_timeout", "consensus.raft.max_append_entries",
		"consensus.raft.trailing_logs", "consensus.raft.snapshot_interval",
		"consensus.raft.snapshot_threshold", "consensus.raft.leader_lease_timeout",
		"consensus.crdt.batching.max_queue_size", "consensus.crdt.rebroadcast_interval",
		"consensus.crdt.peerset_metric", "consensus.crdt.datastore_namespace",
		"api.restapi.ssl_cert_file", "api.restapi.ssl_key_file",
		"api.restapi.libp2p_listen_multiaddress", "api.restapi.id", "api.restapi.private_key",
		"api.ipfsproxy.node_https", "api.ipfsproxy.extract_headers_extra",
		"api.ipfsproxy.extract_headers_path", "api.ipfsproxy.extract_headers_ttl",
		"ipfs_connector.ipfshttp.unpin_disable",
		"pin_tracker.stateless.max_pin_queue_size",
		"datastore.badger.folder", "datastore.badger3.folder",
		"datastore.leveldb.folder", "datastore.pebble.folder",
	}
}
