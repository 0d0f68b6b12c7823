package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	upstream "github.com/ipfs-cluster/ipfs-cluster/api/pinsvcapi"
	clusterconfig "github.com/ipfs-cluster/ipfs-cluster/config"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/jsonobject"
)

var update = flag.Bool("update", false, "write the files that tests compare with")

// golden compares got with a file of testdata, or writes it with -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is out of date; run: go test ./config -update\ngot:\n%s", path, got)
	}
}

// upstreamConfig returns the section of ipfs-cluster itself, with its
// defaults.
func upstreamConfig(t *testing.T) *upstream.Config {
	t.Helper()
	c := upstream.NewConfig()
	if err := c.Default(); err != nil {
		t.Fatal(err)
	}
	return c
}

// written returns the members that a section writes to the file.
func written(t *testing.T, c clusterconfig.ComponentConfig) map[string]string {
	t.Helper()
	raw, err := c.ToJSON()
	if err != nil {
		t.Fatal(err)
	}
	members, err := jsonobject.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	byName := make(map[string]string, len(members))
	for _, m := range members {
		var compact bytes.Buffer
		if err := json.Compact(&compact, m.Value); err != nil {
			t.Fatal(err)
		}
		byName[m.Name] = compact.String()
	}
	return byName
}

func TestUpstream_SectionLoadsAsTheDefaults(t *testing.T) {
	raw, err := upstreamConfig(t).ToJSON()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/good/ipfs_cluster_1_1_6.json", string(raw)+"\n")
	c := load(t, string(raw))
	mustEqual(t, c, defaults(t))
	if len(c.UnknownKeys()) > 0 {
		t.Errorf("unknown keys: %v", c.UnknownKeys())
	}
}

func TestUpstream_DefaultsAreOursButForCORS(t *testing.T) {
	theirs, ours := written(t, upstreamConfig(t)), written(t, defaults(t))
	for name, value := range theirs {
		if !strings.HasPrefix(name, "cors_") && ours[name] != value {
			t.Errorf("%s is %s by default, upstream %s", name, ours[name], value)
		}
	}
	for _, k := range Keys() {
		_, known := theirs[k.Name]
		optional := strings.HasPrefix(k.Name, "ssl_") || strings.HasPrefix(k.Name, "libp2p_") ||
			k.Name == "id" || k.Name == "private_key"
		if known || optional {
			known = true
		}
		if known == k.Added {
			t.Errorf("%s: added is %v", k.Name, k.Added)
		}
	}
}

// The manual names the keys whose values may be a fault here while ipfs-cluster
// accepts them.
func TestUpstream_AcceptsWhatTheManualSays(t *testing.T) {
	accepted := make(map[string]bool)
	for name, text := range files(t, "bad") {
		if upstreamConfig(t).LoadJSON([]byte(text)) == nil {
			key, _, _ := strings.Cut(name, ".")
			accepted["api.pinsvcapi."+key] = true
		}
	}
	for _, k := range Keys() {
		if k.Added {
			delete(accepted, "api.pinsvcapi."+k.Name)
		}
	}
	const credentials = "CLUSTER_PINSVCAPI_BASICAUTHCREDENTIALS"
	t.Setenv(credentials, "alice:a,bob:b")
	accepted[credentials] = upstreamConfig(t).ApplyEnvVars() == nil && NewConfig().ApplyEnvVars() != nil

	manual, err := os.ReadFile("../docs/compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(manual), "### What is a fault here only\n")
	section, _, _ = strings.Cut(section, "\n#")
	named := make(map[string]bool)
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(section, -1) {
		named[row[1]] = true
	}
	if !maps.Equal(named, accepted) {
		t.Errorf("the manual names %v, want %v", named, accepted)
	}
}

// A file of ours must stay readable when an operator goes back.
func TestUpstream_LoadsWhatWeWrite(t *testing.T) {
	ours := load(t, files(t, "good")["every_key"])
	raw, err := ours.ToJSON()
	if err != nil {
		t.Fatal(err)
	}
	theirs := upstreamConfig(t)
	if err := theirs.LoadJSON(raw); err != nil {
		t.Fatal(err)
	}
	want := written(t, ours)
	for name, value := range written(t, theirs) {
		if want[name] != value {
			t.Errorf("%s: upstream read %s, we wrote %s", name, value, want[name])
		}
	}
}

func TestUpstream_VariablesMeanTheSame(t *testing.T) {
	dir := t.TempDir()
	writeCertificate(t, dir, "server", newRSAKey(t))
	for _, tc := range []struct{ key, env, value string }{
		{"http_listen_multiaddress", "HTTPLISTENMULTIADDRESS", "/ip4/127.0.0.1/tcp/1"},
		{"http_listen_multiaddress", "HTTPLISTENMULTIADDRESS", "/ip4/127.0.0.1/tcp/1,/ip6/::1/tcp/2"},
		{"http_listen_multiaddress", "HTTPLISTENMULTIADDRESS", ""},
		{"ssl_cert_file", "SSLCERTFILE", "server.crt"},
		{"ssl_key_file", "SSLKEYFILE", "server.key"},
		{"read_timeout", "READTIMEOUT", "7s"},
		{"read_timeout", "READTIMEOUT", ""},
		{"read_header_timeout", "READHEADERTIMEOUT", "8s"},
		{"write_timeout", "WRITETIMEOUT", "9s"},
		{"idle_timeout", "IDLETIMEOUT", "10s"},
		{"max_header_bytes", "MAXHEADERBYTES", "0x2000"},
		{"max_header_bytes", "MAXHEADERBYTES", "0"},
		{"libp2p_listen_multiaddress", "LIBP2PLISTENMULTIADDRESS", "/ip4/127.0.0.1/tcp/3"},
		{"id", "ID", "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"},
		{"private_key", "PRIVATEKEY", "CAESQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAO2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik="},
		{"basic_auth_credentials", "BASICAUTHCREDENTIALS", "alice:s3cr3t<&>"},
		{"http_log_file", "HTTPLOGFILE", "http.log"},
		{"headers", "HEADERS", "X-A:b,X-C:d"},
		{"headers", "HEADERS", ""},
		{"cors_allowed_origins", "CORSALLOWEDORIGINS", "https://a.example,https://b.example"},
		{"cors_allowed_methods", "CORSALLOWEDMETHODS", "GET,POST"},
		{"cors_allowed_headers", "CORSALLOWEDHEADERS", "Authorization"},
		{"cors_exposed_headers", "CORSEXPOSEDHEADERS", ""},
		{"cors_allow_credentials", "CORSALLOWCREDENTIALS", "T"},
		{"cors_max_age", "CORSMAXAGE", "5m"},
	} {
		t.Run(tc.key+"="+tc.value, func(t *testing.T) {
			companions := map[string][2]string{
				"ssl_cert_file": {"SSLKEYFILE", "server.key"},
				"ssl_key_file":  {"SSLCERTFILE", "server.crt"},
			}
			if other, ok := companions[tc.key]; ok {
				t.Setenv("CLUSTER_PINSVCAPI_"+other[0], other[1])
			}
			if tc.key == "id" || tc.key == "private_key" || tc.key == "libp2p_listen_multiaddress" {
				t.Setenv("CLUSTER_PINSVCAPI_LIBP2PLISTENMULTIADDRESS", "/ip4/127.0.0.1/tcp/3")
				t.Setenv("CLUSTER_PINSVCAPI_ID", "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN")
				t.Setenv("CLUSTER_PINSVCAPI_PRIVATEKEY", "CAESQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAO2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik=")
			}
			t.Setenv("CLUSTER_PINSVCAPI_"+tc.env, tc.value)
			theirs, ours := upstreamConfig(t), defaults(t)
			theirs.SetBaseDir(dir)
			ours.SetBaseDir(dir)
			if err := theirs.ApplyEnvVars(); err != nil {
				t.Fatal(err)
			}
			if err := ours.ApplyEnvVars(); err != nil {
				t.Fatal(err)
			}
			got, want := written(t, ours)[tc.key], written(t, theirs)[tc.key]
			if got != want {
				t.Errorf("got %s, upstream %s", got, want)
			}
			if tc.value != "" && tc.value != "0" && got == written(t, defaults(t))[tc.key] {
				t.Errorf("%s has no effect", tc.env)
			}
		})
	}
}

// The manager of ipfs-cluster, as the daemon uses it.
func TestUpstream_ManagerLoadsOverridesAndSaves(t *testing.T) {
	const section = `{"read_timeout": "3s", "added_by_hand": {"a": [1]}, "http_listen_multiaddress": "/ip4/0.0.0.0/tcp/9097"}`
	path := filepath.Join(t.TempDir(), "service.json")
	file := `{"cluster": {}, "api": {"pinsvcapi": ` + section + `}}`
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CLUSTER_PINSVCAPI_BASICAUTHCREDENTIALS", "alice:s3cr3t")
	manager := clusterconfig.NewManager()
	defer manager.Shutdown()
	manager.RegisterComponent(clusterconfig.API, upstream.NewConfig())
	manager.RegisterComponent(clusterconfig.Cluster, defaults(t)) // Any valid one.
	ours := NewConfig()
	manager.RegisterComponent(clusterconfig.API, ours)
	if err := manager.LoadJSONFileAndEnv(path); err != nil {
		t.Fatal(err)
	}
	if ours.BaseDir != filepath.Dir(path) || ours.BasicAuthCredentials["alice"] != "s3cr3t" {
		t.Errorf("not loaded: %v in %s", ours, ours.BaseDir)
	}
	if err := manager.SaveJSON(path); err != nil {
		t.Fatal(err)
	}
	again := NewConfig()
	manager.RegisterComponent(clusterconfig.API, again)
	if err := manager.LoadJSONFromFile(path); err != nil {
		t.Fatal(err)
	}
	mustEqual(t, again, ours)
	if got := again.UnknownKeys(); len(got) != 1 || got[0] != "added_by_hand" {
		t.Errorf("unknown keys after a save: %v", got)
	}
	display, err := manager.ToDisplayJSON()
	if err != nil || strings.Contains(string(display), "s3cr3t") {
		t.Errorf("display: %v %s", err, display)
	}
}
