package docs

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kubo"
	"github.com/pinsvc/ipfs-cluster-pinsvc/config"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi"
	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// written returns the service.json that "init" writes, as a map from dotted
// keys to values.
func written(t *testing.T, env []string, args ...string) map[string]any {
	t.Helper()
	folder := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, harness.Service(t), append([]string{"--config", folder, "init"}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	raw, err := os.ReadFile(filepath.Join(folder, "service.json"))
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := json.Unmarshal(raw, &tree); err != nil {
		t.Fatal(err)
	}
	flat := make(map[string]any)
	flatten("", tree, flat)
	return flat
}

func flatten(prefix string, tree, flat map[string]any) {
	for key, value := range tree {
		flat[prefix+key] = value
		if inner, ok := value.(map[string]any); ok {
			flatten(prefix+key+".", inner, flat)
		}
	}
}

func TestConfigurationKeysExist(t *testing.T) {
	known := written(t, nil)
	maps.Copy(known, written(t, nil, "--consensus", "raft"))
	for _, key := range kubo.Keys() {
		known["ipfs_connector.managed."+key.Name] = nil
	}
	for _, key := range config.Keys() {
		known["api.pinsvcapi."+key.Name] = nil
	}
	keyPattern := regexp.MustCompile(`^[a-z_]+(\.[a-z0-9_*]+)+$`)
	seen := 0
	for path, doc := range documents(t) {
		for _, span := range doc.spans {
			section, _, _ := strings.Cut(span, ".")
			if _, isSection := known[section]; !isSection || !keyPattern.MatchString(span) {
				continue
			}
			seen++
			if _, ok := known[span]; !ok {
				t.Errorf("%s: service.json has no key %s", path, span)
			}
		}
		for _, b := range doc.blocks {
			if b.language == "json" {
				checkExcerpt(t, path, b.text, known)
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d keys were recognised", seen)
	}
}

// checkExcerpt looks up the outer keys of a piece of service.json.
func checkExcerpt(t *testing.T, path, text string, known map[string]any) {
	t.Helper()
	var excerpt map[string]any
	if err := json.Unmarshal([]byte("{"+text+"}"), &excerpt); err != nil {
		t.Errorf("%s: not a piece of JSON: %v\n%s", path, err, text)
	}
	for key := range excerpt {
		ends := func(name string) bool { return strings.HasSuffix(name, "."+key) }
		if !slices.ContainsFunc(slices.Collect(maps.Keys(known)), ends) {
			t.Errorf("%s: service.json has no key %s", path, key)
		}
	}
}

func TestPortsAreTheDefaults(t *testing.T) {
	defaults := written(t, nil)
	rows := regexp.MustCompile("(?m)^\\| ([0-9.]+):(\\d+) \\|.*\\| `([a-z_.]+)` \\|$").
		FindAllStringSubmatch(readFile(t, "README.md"), -1)
	for _, row := range rows {
		want := "/ip4/" + row[1] + "/tcp/" + row[2]
		if addrs, _ := json.Marshal(defaults[row[3]]); !strings.Contains(string(addrs), `"`+want+`"`) {
			t.Errorf("README.md says %s, %s is %s", want, row[3], addrs)
		}
	}
	if len(rows) < 4 {
		t.Errorf("only %d ports were recognised", len(rows))
	}
}

func TestEnvironmentVariablesWork(t *testing.T) {
	secret := strings.Repeat("ab", 32)
	const rpc = "/ip4/127.0.0.1/tcp/15001"
	// Those of the cluster's own sections are tried.
	tried := map[string]struct{ value, key string }{
		"CLUSTER_SECRET":                    {secret, "cluster.secret"},
		"CLUSTER_IPFSHTTP_NODEMULTIADDRESS": {rpc, "ipfs_connector.ipfshttp.node_multiaddress"},
	}
	known := make(map[string]bool)
	var env []string
	for name, try := range tried {
		known[name] = true
		env = append(env, name+"="+try.value)
	}
	got := written(t, env)
	for name, try := range tried {
		if got[try.key] != try.value {
			t.Errorf("with %s=%s %s is %v", name, try.value, try.key, got[try.key])
		}
	}
	for _, name := range slices.Concat(new(config.Config).EnvNames(), new(kubo.Config).EnvNames()) {
		known[name] = true
	}
	for _, match := range regexp.MustCompile(`\[\$([A-Z_]+)\]`).FindAllStringSubmatch(help(t), -1) {
		known[match[1]] = true
	}
	named := regexp.MustCompile(`\b(?:IPFS_)?CLUSTER_[A-Z0-9_]*[A-Z0-9]\b`)
	for path, doc := range documents(t) {
		for _, name := range named.FindAllString(doc.text, -1) {
			if !known[name] {
				t.Errorf("%s: nothing reads %s", path, name)
			}
		}
	}
}

// names collects the names of metrics that are registered.
type names struct {
	*prometheus.Registry
	all map[string]bool
}

func (n names) Register(c prometheus.Collector) error {
	descs := make(chan *prometheus.Desc, 16)
	c.Describe(descs)
	close(descs)
	for desc := range descs {
		n.all[regexp.MustCompile(`fqName: "([^"]*)"`).FindStringSubmatch(desc.String())[1]] = true
	}
	return n.Registry.Register(c)
}

func TestMetricsExist(t *testing.T) {
	cfg := &config.Config{}
	if err := cfg.LoadJSON([]byte(`{"http_listen_multiaddress": "/ip4/127.0.0.1/tcp/0"}`)); err != nil {
		t.Fatal(err)
	}
	registered := names{prometheus.NewRegistry(), map[string]bool{}}
	api, err := pinsvcapi.NewAPI(t.Context(), cfg, pinsvcapi.Options{Registerer: registered})
	if err != nil {
		t.Fatal(err)
	}
	if err := api.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	named := make(map[string]bool)
	for path, doc := range documents(t) {
		for _, span := range doc.spans {
			if !regexp.MustCompile(`^pinsvcapi_[a-z_]+$`).MatchString(span) {
				continue
			}
			named[span] = true
			if !registered.all[span] {
				t.Errorf("%s: there is no metric %s", path, span)
			}
		}
	}
	for name := range registered.all {
		if !named[name] {
			t.Errorf("README.md does not name the metric %s", name)
		}
	}
}
