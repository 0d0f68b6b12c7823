package kubo

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestEnvironment_WithoutReservedVariables(t *testing.T) {
	t.Parallel()
	cfg := &Config{Environment: map[string]string{"GOLOG_LOG_LEVEL": "info"}}
	got := environment([]string{
		"PATH=/bin", "IPFS_PATH=/home/me/.ipfs", "CLUSTER_SECRET=s", "IPFS_CLUSTER_PATH=/c", "NOTIFY_SOCKET=/run/x",
		"LISTEN_FDS=1", "GOLOG_FILE=/log", "IPFS_TELEMETRY=on",
	}, cfg, "/r")
	last := map[string]string{}
	for _, pair := range got {
		name, value, _ := strings.Cut(pair, "=")
		if _, twice := last[name]; twice {
			t.Errorf("%s is there twice; which one holds depends on who reads", name)
		}
		last[name] = value
	}
	want := map[string]string{"PATH": "/bin", "IPFS_PATH": "/r", "IPFS_TELEMETRY": "off", "GOLOG_LOG_LEVEL": "info"}
	if !maps.Equal(last, want) {
		t.Errorf("environment %v, want %v", last, want)
	}
	cfg.Telemetry = true
	if got := environment(nil, cfg, "/r"); slices.Contains(got, "IPFS_TELEMETRY=off") {
		t.Error("telemetry is off although it was asked for")
	}
}

func TestCommand_NeedsARepo(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	if _, err := Command(t.Context(), cfg, "id"); err == nil || !strings.Contains(err.Error(), "no IPFS repo at") {
		t.Errorf("error %v", err)
	}
}
