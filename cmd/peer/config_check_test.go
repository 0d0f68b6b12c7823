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
