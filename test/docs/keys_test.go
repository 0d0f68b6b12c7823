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
	folder, program := t.TempDir(), harness.Service(t)
	ctx, cancel := context.WithTimeout(t.Context(), harness.CommandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, append([]string{"--config", folder, "init"}, args...)...)
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

func TestKeys_Exist(t *testing.T) {
	known := written(t, nil)
	maps.Copy(known, written(t, nil, "--consensus", "raft"))
	for _, key := range kubo.Keys() {
		known["ipfs_connector.managed."+key.Name] = nil
	}
	for _, key := range config.Keys() {
		known["api.pinsvcapi."+key.Name] = nil
	}
	keyPattern := regexp.MustCompile(`^[a-z_]+(\.[a-z0-9_*]+)+$`)
	named := make(map[string]string) // Key to the document.
	for path, doc := range documents(t) {
		for _, span := range doc.spans {
			section, _, _ := strings.Cut(span, ".")
			if _, isSection := known[section]; !isSection || !keyPattern.MatchString(span) || strings.HasSuffix(span, ".go") {
				continue
			}
			named[span] = path
		}
		for _, b := range doc.blocks {
			if b.language == "json" {
				checkExcerpt(t, path, b.text, known)
			}
		}
	}
	// Some keys are read and not written by "init".
	var others []string
	for key := range named {
		if _, ok := known[key]; !ok {
			others = append(others, key)
		}
	}
	unknown := unknownKeys(t, others)
	for key, path := range named {
		exists(t, path, "key of service.json", key, !unknown[key])
	}
	if len(named) < 20 {
		t.Errorf("only %d keys were recognised", len(named))
	}
}

// unknownKeys are those of the keys that "config check" says nothing reads.
func unknownKeys(t *testing.T, keys []string) map[string]bool {
	t.Helper()
	folder, program := t.TempDir(), harness.Service(t)
	ctx, cancel := context.WithTimeout(t.Context(), harness.CommandTimeout)
	defer cancel()
	service := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, program, append([]string{"--config", folder}, args...)...).CombinedOutput()
		return string(out), err
	}
	if out, err := service("init"); err != nil {
		t.Fatalf("init: %v\n%s", err, out)
	}
	path := filepath.Join(folder, "service.json")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := json.Unmarshal(raw, &tree); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		at := tree
		names := strings.Split(key, ".")
		for _, name := range names[:len(names)-1] {
			inner, ok := at[name].(map[string]any)
			if !ok {
				inner = make(map[string]any)
				at[name] = inner
			}
			at = inner
		}
		if last := names[len(names)-1]; at[last] == nil {
			at[last] = nil
		}
	}
	if raw, err = json.Marshal(tree); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := service("config", "check") // It fails when it finds any.
	unknown := make(map[string]bool)
	for _, key := range keys {
		unknown[key] = regexp.MustCompile(`(?m)\b` + regexp.QuoteMeta(key) + `\b`).MatchString(out)
	}
	return unknown
}

func TestKeys_UnknownOnesAreNoticed(t *testing.T) {
	unknown := unknownKeys(t, []string{"cluster.follower_mode", "cluster.follow_mode", "api.pinsvc"})
	if unknown["cluster.follower_mode"] || !unknown["cluster.follow_mode"] || !unknown["api.pinsvc"] {
		t.Errorf("unknown: %v", unknown)
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
		exists(t, path, "key of service.json", key, slices.ContainsFunc(slices.Collect(maps.Keys(known)), ends))
	}
}

func TestPorts_AreTheDefaults(t *testing.T) {
	defaults := written(t, nil)
	rows := regexp.MustCompile("(?m)^\\| ([0-9.]+):(\\d+) \\|.*\\| `([a-z_.]+)` \\|$").
		FindAllStringSubmatch(all(documents(t)), -1)
	for _, row := range rows {
		want := "/ip4/" + row[1] + "/tcp/" + row[2]
		if addrs, _ := json.Marshal(defaults[row[3]]); !strings.Contains(string(addrs), `"`+want+`"`) {
			t.Errorf("a table says %s, %s is %s", want, row[3], addrs)
		}
	}
	if len(rows) < 4 {
		t.Errorf("only %d ports were recognised", len(rows))
	}
}

func TestEnvironment_VariablesAreRead(t *testing.T) {
	secret := strings.Repeat("ab", 32)
	const rpc = "/ip4/127.0.0.1/tcp/15001"
	// Those of the cluster's own sections are tried.
	tried := map[string]struct{ value, key string }{
		"CLUSTER_SECRET":                    {secret, "cluster.secret"},
		"CLUSTER_IPFSHTTP_NODEMULTIADDRESS": {rpc, "ipfs_connector.ipfshttp.node_multiaddress"},
	}
	// One with users sets a key for each of them.
	const credentials, password = "CLUSTER_RESTAPI_BASICAUTHCREDENTIALS", "a-long-password"
	known := map[string]bool{credentials: true}
	env := []string{credentials + "=alice:" + password}
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
	if key := "api.restapi.basic_auth_credentials.alice"; got[key] != password {
		t.Errorf("with %s %s is %v", credentials, key, got[key])
	}
	for _, name := range slices.Concat(new(config.Config).EnvNames(), new(kubo.Config).EnvNames()) {
		known[name] = true
	}
	for _, match := range regexp.MustCompile(`\[\$([A-Z_]+)\]`).FindAllStringSubmatch(help(t), -1) {
		known[match[1]] = true
	}
	// The secrets of the cluster's sections come from files by names that the
	// peer spells out.
	for _, text := range literals(t, "cmd/peer/") {
		if regexp.MustCompile(`^CLUSTER_[A-Z0-9_]+$`).MatchString(text) {
			known[text+"_FILE"] = true
		}
	}
	named := regexp.MustCompile(`\b(?:IPFS_)?CLUSTER_[A-Z0-9_]*[A-Z0-9]\b`)
	for path, doc := range documents(t) {
		for _, name := range named.FindAllString(doc.text, -1) {
			exists(t, path, "reader of the variable", name, known[name])
		}
	}
}

// The forms of credentials in the manual are read as the manual says.
func TestCredentials_FormsAreRead(t *testing.T) {
	const variable = "CLUSTER_PINSVCAPI_BASICAUTHCREDENTIALS"
	doc := parse(readFile(t, "docs/configuration.md"))
	section := doc.section(t, "### Credentials in the environment")
	read := func(value string) ([]string, error) {
		t.Setenv(variable, value)
		cfg := config.NewConfig()
		err := cfg.LoadJSON([]byte("{}"))
		if err == nil {
			err = cfg.ApplyEnvVars()
		}
		return slices.Sorted(maps.Keys(cfg.BasicAuthCredentials)), err
	}
	rows := regexp.MustCompile("(?m)^\\| `([^`]+:[^`]+)` \\| (.*) \\|$").FindAllStringSubmatch(section, -1)
	for _, row := range rows {
		var want []string
		for _, match := range spanPattern.FindAllStringSubmatch(row[2], -1) {
			want = append(want, match[1])
		}
		slices.Sort(want)
		if got, err := read(row[1]); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s is read as %q, %v; the manual says %q", row[1], got, err, want)
		}
	}
	refused := regexp.MustCompile("This value is refused: `([^`]+)`").FindStringSubmatch(section)
	if len(rows) < 2 || refused == nil {
		t.Fatalf("%d rows and the refused value %q were recognised", len(rows), refused)
	}
	if got, err := read(refused[1]); err == nil {
		t.Errorf("%s is read as %q", refused[1], got)
	}
}

// The manual says how each type of value is written in the environment, and names
// the variable of each secret's file.
func TestEnvironment_HasEveryTypeAndSecret(t *testing.T) {
	doc := parse(readFile(t, "docs/configuration.md"))
	types := make(map[string]bool)
	for _, row := range regexp.MustCompile(`(?m)^\| ([^|]+) \|`).FindAllStringSubmatch(doc.section(t, "## Environment variables"), -1) {
		for name := range strings.SplitSeq(regexp.MustCompile(` \(.*\)$`).ReplaceAllString(row[1], ""), ", ") {
			types[name] = true
		}
	}
	secrets := doc.section(t, "### Secrets in files")
	for _, key := range slices.Concat(config.Keys(), kubo.Keys()) {
		if !types[key.Type] {
			t.Errorf("the type of %s, %s, has no form in the environment", key.Name, key.Type)
		}
		if key.Secret && !strings.Contains(secrets, "| `"+key.EnvFile+"` |") {
			t.Errorf("the table of secrets lacks %s", key.EnvFile)
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

func TestMetrics_Exist(t *testing.T) {
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
	written := literals(t, "")
	for path, doc := range documents(t) {
		for _, span := range doc.spans {
			if !regexp.MustCompile(`^pinsvc(?:api)?_[a-z_]+$`).MatchString(span) {
				continue
			}
			named[span] = true
			exists(t, path, "metric", span, registered.all[span] || slices.Contains(written, span))
		}
	}
	all := registered.all
	for _, text := range written { // Those of the engine and of the peer.
		if regexp.MustCompile(`^pinsvc(?:api)?(?:_[a-z]+){2,}$`).MatchString(text) {
			all[text] = true
		}
	}
	for name := range all {
		if !named[name] {
			t.Errorf("no document names the metric %s", name)
		}
	}
}
