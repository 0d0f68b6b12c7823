package kubo

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/config"
)

var _ config.ComponentConfig = (*Config)(nil)

func defaults(t *testing.T) *Config {
	t.Helper()
	cfg := &Config{}
	if err := cfg.Default(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestLoadJSON_OmittedKeysKeepTheirDefaults(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{`{}`, `{"profile": "default"}`, `{"profile": null, "gc_interval": "60m"}`} {
		cfg := &Config{}
		if err := cfg.LoadJSON([]byte(raw)); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
		if !reflect.DeepEqual(cfg, defaults(t)) {
			t.Errorf("%s: %+v", raw, cfg)
		}
	}
}

func TestDefault_IsValid(t *testing.T) {
	t.Parallel()
	if err := defaults(t).Validate(); err != nil {
		t.Error(err)
	}
}

func TestToJSON_LoadsAsItWas(t *testing.T) {
	t.Parallel()
	cfg := &Config{
		RepoPath: "/data/kubo", BinaryPath: "bin/ipfs", Profile: ProfilePrivate,
		SwarmAddresses: []string{"/ip4/127.0.0.1/tcp/0"}, StorageMax: "3TB", EnableGC: false,
		GCInterval: time.Minute, Telemetry: true, StartTimeout: 0, StopTimeout: time.Second,
		RestartDelayMin: time.Millisecond, RestartDelayMax: time.Hour, StableAfter: time.Hour,
		UnresponsiveTimeout: 0, Environment: map[string]string{"A": "b=c"},
	}
	raw, err := cfg.ToJSON()
	if err != nil {
		t.Fatal(err)
	}
	loaded := &Config{}
	if err := loaded.LoadJSON(raw); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(loaded, cfg) {
		t.Errorf("loaded %+v, saved %+v", loaded, cfg)
	}
	if unknown := loaded.UnknownKeys(); len(unknown) > 0 {
		t.Errorf("our own keys are unknown: %q", unknown)
	}
}

func TestLoadJSON_ReportsEveryFaultByKey(t *testing.T) {
	t.Parallel()
	cfg := &Config{}
	err := cfg.LoadJSON([]byte(`{
		"repo_path": "", "binary_path": 7, "profile": "public", "swarm_addresses": ["/ip4/nowhere", "x"],
		"storage_max": "much", "enable_gc": "yes", "gc_interval": "0s", "start_timeout": "-1s",
		"stop_timeout": "soon", "restart_delay_min": "2m", "restart_delay_max": "1m", "stable_after": "-1h",
		"unresponsive_timeout": "-1s", "environment": {"A=B": "c"}, "telemetry": []
	}`))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"managed.repo_path: must not be empty",
		"managed.binary_path: must be text in quotes",
		`managed.profile: "public" is neither`,
		`managed.swarm_addresses: "/ip4/nowhere"`,
		`managed.swarm_addresses: "x"`,
		`managed.storage_max: "much"`,
		"managed.enable_gc: must be true or false",
		"managed.gc_interval: must be more than zero",
		"managed.start_timeout: must not be negative",
		"managed.stop_timeout: must be a duration such as 30s",
		"managed.restart_delay_max: must not be less",
		"managed.stable_after: must be more than zero",
		"managed.unresponsive_timeout: must not be negative",
		`managed.environment: "A=B"`,
		"managed.telemetry: must be true or false",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
}

func TestLoadJSON_RefusesWhatIsNoObject(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{``, `[]`, `"x"`, `{`} {
		if err := new(Config).LoadJSON([]byte(raw)); err == nil {
			t.Errorf("%q loads", raw)
		}
	}
}

func TestUnknownKeys_AreNamedNotRefused(t *testing.T) {
	t.Parallel()
	cfg := &Config{}
	if err := cfg.LoadJSON([]byte(`{"storagemax": "1GB", "Profile": "private", "repo_path": "x"}`)); err != nil {
		t.Fatal(err)
	}
	if got, want := cfg.UnknownKeys(), []string{"Profile", "storagemax"}; !reflect.DeepEqual(got, want) {
		t.Errorf("unknown keys %q, want %q", got, want)
	}
}

func TestApplyEnvVars_OverridesTheFile(t *testing.T) {
	for name, value := range map[string]string{
		"REPOPATH": "elsewhere", "PROFILE": "private", "STORAGEMAX": "50%", "ENABLEGC": "false",
		"GCINTERVAL": "5m", "SWARMADDRESSES": "/ip4/127.0.0.1/tcp/1,/ip4/127.0.0.1/tcp/2", "ENVIRONMENT": "A:b",
	} {
		t.Setenv("CLUSTER_MANAGED_"+name, value)
	}
	cfg := &Config{}
	if err := cfg.LoadJSON([]byte(`{"stop_timeout": "7s", "repo_path": "here"}`)); err != nil {
		t.Fatal(err)
	}
	if err := cfg.ApplyEnvVars(); err != nil {
		t.Fatal(err)
	}
	want := defaults(t)
	want.RepoPath, want.Profile, want.StorageMax, want.EnableGC = "elsewhere", "private", "50%", false
	want.GCInterval, want.StopTimeout = 5*time.Minute, 7*time.Second
	want.SwarmAddresses = []string{"/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/2"}
	want.Environment = map[string]string{"A": "b"}
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("got %+v, want %+v", cfg, want)
	}
}

func TestApplyEnvVars_ReadsEveryFormOfTheEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "environment")
	if err := os.WriteFile(file, []byte("A:b,c\nLIBP2P_FORCE_PNET: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]map[string]string{
		"":                         {},
		"GOLOG_LOG_LEVEL:info":     {"GOLOG_LOG_LEVEL": "info"},
		"A:b, C:d":                 {"A": "b", "C": "d"},
		"A:b,dht=debug\nC:d":       {"A": "b,dht=debug", "C": "d"},
		`{"A": "error,dht:debug"}`: {"A": "error,dht:debug"},
	} {
		t.Run(text, func(t *testing.T) {
			t.Setenv("CLUSTER_MANAGED_ENVIRONMENT", text)
			cfg := defaults(t)
			if err := cfg.ApplyEnvVars(); err != nil || !maps.Equal(cfg.Environment, want) {
				t.Errorf("%v, %v, want %v", cfg.Environment, err, want)
			}
		})
	}
	t.Run("ambiguous", func(t *testing.T) {
		t.Setenv("CLUSTER_MANAGED_ENVIRONMENT", "GOLOG_LOG_LEVEL:error,dht:s3cr3t")
		err := defaults(t).ApplyEnvVars()
		if err == nil || strings.Contains(err.Error(), "s3cr3t") ||
			!strings.HasPrefix(err.Error(), "managed.environment: environment variable CLUSTER_MANAGED_ENVIRONMENT: has a comma") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("file", func(t *testing.T) {
		t.Setenv("CLUSTER_MANAGED_ENVIRONMENT_FILE", file)
		err := defaults(t).ApplyEnvVars()
		if err == nil || !strings.Contains(err.Error(), "CLUSTER_MANAGED_ENVIRONMENT_FILE: has blanks around a value") {
			t.Errorf("got %v", err)
		}
	})
}

func TestApplyEnvVars_EmptyTextEmptiesTheKey(t *testing.T) {
	t.Setenv("CLUSTER_MANAGED_STORAGEMAX", "")
	t.Setenv("CLUSTER_MANAGED_SWARMADDRESSES", "")
	cfg := &Config{}
	if err := cfg.LoadJSON([]byte(`{"swarm_addresses": "/ip4/127.0.0.1/tcp/1"}`)); err != nil {
		t.Fatal(err)
	}
	if err := cfg.ApplyEnvVars(); err != nil || cfg.StorageMax != "" || len(cfg.SwarmAddresses) != 0 {
		t.Errorf("%+v, %v", cfg, err)
	}
}

func TestApplyEnvVars_NamesEveryFault(t *testing.T) {
	for name, value := range map[string]string{"GCINTERVAL": "", "ENABLEGC": "yes", "SWARMADDRESSES": "/ip4/127.0.0.1/tcp/1,", "ENVIRONMENT": "A"} {
		t.Setenv("CLUSTER_MANAGED_"+name, value)
	}
	cfg := defaults(t)
	err := cfg.ApplyEnvVars()
	for _, want := range []string{
		"managed.gc_interval: environment variable CLUSTER_MANAGED_GCINTERVAL: must be a duration",
		"managed.enable_gc: environment variable CLUSTER_MANAGED_ENABLEGC: must be true or false",
		"managed.swarm_addresses: environment variable CLUSTER_MANAGED_SWARMADDRESSES: has an empty item",
		"managed.environment: environment variable CLUSTER_MANAGED_ENVIRONMENT: must be name:value pairs",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
	if !reflect.DeepEqual(cfg, defaults(t)) {
		t.Errorf("changed to %+v", cfg)
	}
}

func TestToJSON_KeepsUnknownKeys(t *testing.T) {
	t.Parallel()
	cfg := &Config{}
	if err := cfg.LoadJSON([]byte(`{"storagemax": "s3cr3t", "future": [1]}`)); err != nil {
		t.Fatal(err)
	}
	raw, err := cfg.ToJSON()
	if err != nil || !strings.Contains(string(raw), `"storagemax": "s3cr3t"`) || !strings.Contains(string(raw), `"future": [`) {
		t.Errorf("%v in %s", err, raw)
	}
	raw, err = cfg.ToDisplayJSON()
	if err != nil || strings.Contains(string(raw), "s3cr3t") {
		t.Errorf("%v in %s", err, raw)
	}
}

func TestEnvNames_HasTheFilesOfSecrets(t *testing.T) {
	t.Parallel()
	names := new(Config).EnvNames()
	for _, want := range []string{"CLUSTER_MANAGED_REPOPATH", "CLUSTER_MANAGED_UNRESPONSIVETIMEOUT", "CLUSTER_MANAGED_ENVIRONMENT", "CLUSTER_MANAGED_ENVIRONMENT_FILE"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is missing in %v", want, names)
		}
	}
	if slices.Contains(names, "CLUSTER_MANAGED_REPOPATH_FILE") {
		t.Error("repo_path is no secret")
	}
}

func TestToDisplayJSON_MasksTheEnvironment(t *testing.T) {
	t.Parallel()
	cfg := defaults(t)
	cfg.Environment["TOKEN"] = "secret"
	raw, err := cfg.ToDisplayJSON()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), "secret") || !strings.Contains(string(raw), `"repo_path": "ipfs"`) {
		t.Errorf("displayed as %s", raw)
	}
}

func TestRepoDir_IsUnderTheFolderOfServiceJSON(t *testing.T) {
	t.Parallel()
	cfg := defaults(t)
	cfg.SetBaseDir("/srv/pins")
	if got := cfg.RepoDir(); got != filepath.FromSlash("/srv/pins/ipfs") {
		t.Errorf("repo at %s", got)
	}
	cfg.RepoPath = "/mnt/disk"
	if got := cfg.RepoDir(); got != filepath.FromSlash("/mnt/disk") {
		t.Errorf("repo at %s", got)
	}
}

func FuzzLoadJSON(f *testing.F) {
	raw, err := (&Config{}).ToJSON()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"swarm_addresses": "/ip4/127.0.0.1/tcp/0", "storage_max": "80%"}`))
	f.Add([]byte(`{"environment": {"A": null}, "profile": 1, "x": {}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		cfg := &Config{}
		if cfg.LoadJSON(raw) != nil {
			return
		}
		saved, err := cfg.ToJSON()
		if err != nil {
			t.Fatal(err)
		}
		again := &Config{}
		if err := again.LoadJSON(saved); err != nil {
			t.Fatalf("%s is saved as %s, which does not load: %v", raw, saved, err)
		}
		if twice, err := again.ToJSON(); err != nil || string(twice) != string(saved) {
			t.Fatalf("%s changes when saved: %s, then %s, %v", raw, saved, twice, err)
		}
		again.unknown, cfg.unknown = nil, nil // Written differently.
		if !reflect.DeepEqual(again, cfg) {
			t.Fatalf("%s changes when saved: %s", raw, saved)
		}
	})
}
