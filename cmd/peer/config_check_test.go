package peer

import (
	"slices"
	"strings"
	"testing"
)

// Every fault of a section is told, each once and under its key, and nothing
// is called missing that is there.
func TestCheck_ReportsEachFaultOnce(t *testing.T) {
	files := upstreamFiles(t, "crdt", "pebble",
		with("api", "pinsvcapi", map[string]any{"read_timeout": "soon", "max_header_bytes": 1}),
	)
	found := Check(files)
	for _, key := range []string{"read_timeout", "max_header_bytes"} {
		named := func(fault string) bool {
			return strings.Contains(fault, files.Config+": api.pinsvcapi."+key+": ")
		}
		if n := len(slices.DeleteFunc(slices.Clone(found.Faults), func(f string) bool { return !named(f) })); n != 1 {
			t.Errorf("%s is told %d times in %q", key, n, found.Faults)
		}
	}
	if len(found.Faults) != 2 {
		t.Errorf("faults: %q", found.Faults)
	}
}

func TestCheck_MissesTheEnginesBesideOtherFaults(t *testing.T) {
	files := upstreamFiles(t, "crdt", "pebble",
		with("api", "pinsvcapi", map[string]any{"max_header_bytes": 1}), without([2]string{"datastore", "pebble"}))
	found := Check(files)
	if len(found.Faults) != 2 || !strings.Contains(found.Faults[1], "exactly one of datastore.pebble") {
		t.Errorf("faults: %q", found.Faults)
	}
}

// Addresses that exclude each other need no listening to be found.
func TestCheck_FindsOverlappingListeners(t *testing.T) {
	const key = "http_listen_multiaddress"
	for name, change := range map[string]func(map[string]map[string]any){
		"in one key": with("api", "pinsvcapi", map[string]any{key: []string{"/ip4/0.0.0.0/tcp/9097", "/ip4/127.0.0.1/tcp/9097"}, "allow_unauthenticated": true}),
		"in two keys": func(sections map[string]map[string]any) {
			sections["api"]["restapi"].(map[string]any)[key] = "/ip4/0.0.0.0/tcp/9097"
			sections["api"]["pinsvcapi"].(map[string]any)[key] = "/ip4/127.0.0.1/tcp/9097"
		},
	} {
		t.Run(name, func(t *testing.T) {
			found := Check(upstreamFiles(t, "crdt", "pebble", change))
			if len(found.Faults) != 1 || !strings.Contains(found.Faults[0], "has 0.0.0.0:9097, which is the same port") ||
				!strings.Contains(found.Faults[0], "correct api.pinsvcapi."+key) {
				t.Errorf("faults: %q", found.Faults)
			}
		})
	}
	// No port is opened, and port 0 is a free one each.
	both := map[string]any{key: []string{"/ip4/0.0.0.0/tcp/0", "/ip4/127.0.0.1/tcp/0"}, "allow_unauthenticated": true}
	if found := Check(upstreamFiles(t, "crdt", "pebble", with("api", "pinsvcapi", both))); len(found.Faults) != 0 {
		t.Errorf("faults: %q", found.Faults)
	}
}

// Misspelt keys do not pass in silence at a start.
func TestUnknownAtStart(t *testing.T) {
	files := upstreamFiles(t, "crdt", "pebble",
		with("ipfs_connector", "managed", map[string]any{"profile": "private", "storage_maximum": "1GB"}),
		with("api", "pinsvc", map[string]any{}), with("pinning", "x", map[string]any{}))
	got := loaded(t, files).unknownAtStart()
	if want := []string{"api.pinsvc", "pinning", "ipfs_connector.managed.storage_maximum"}; !slices.Equal(got, want) {
		t.Errorf("unknown = %q, want %q", got, want)
	}
}
