package config

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestApplyEnvVars_SetsTheAddedKeys(t *testing.T) {
	t.Setenv("CLUSTER_PINSVCAPI_ALLOWUNAUTHENTICATED", "true")
	t.Setenv("CLUSTER_PINSVCAPI_HTTPLISTENMULTIADDRESS", "/ip4/0.0.0.0/tcp/9097, /ip6/::/tcp/9097")
	t.Setenv("CLUSTER_PINSVCAPI_MAXBODYBYTES", "65536")
	t.Setenv("CLUSTER_PINSVCAPI_BODYREADTIMEOUT", "1m")
	t.Setenv("CLUSTER_PINSVCAPI_SHUTDOWNTIMEOUT", "0s")
	t.Setenv("CLUSTER_PINSVCAPI_REFUSEPRIVATEORIGINS", "1")
	t.Setenv("CLUSTER_PINSVCAPI_MAXPINATTEMPTS", "7")
	t.Setenv("CLUSTER_PINSVCAPI_STATUSSWEEPINTERVAL", "1h")
	t.Setenv("CLUSTER_PINSVCAPI_RECONCILEINTERVAL", "30s")
	t.Setenv("CLUSTER_PINSVCAPI_REPLICAAWAYAFTER", "1m")
	t.Setenv("CLUSTER_PINSVCAPI_STATUSMAXAGE", "0s")
	c := defaults(t)
	if err := c.ApplyEnvVars(); err != nil {
		t.Fatal(err)
	}
	if !c.AllowUnauthenticated || len(c.HTTPListenAddr) != 2 || c.MaxBodyBytes != 65536 ||
		c.BodyReadTimeout != time.Minute || c.ShutdownTimeout != 0 || !c.RefusePrivateOrigins ||
		c.MaxPinAttempts != 7 || c.StatusSweepInterval != time.Hour || c.ReconcileInterval != 30*time.Second ||
		c.ReplicaAwayAfter != time.Minute || c.StatusMaxAge != 0 {
		t.Errorf("not applied: %v", c)
	}
}

func TestApplyEnvVars_LeavesOtherKeysAlone(t *testing.T) {
	c := load(t, files(t, "good")["every_key"])
	t.Setenv("CLUSTER_PINSVCAPI_IDLETIMEOUT", "1s")
	if err := c.ApplyEnvVars(); err != nil {
		t.Fatal(err)
	}
	want := load(t, files(t, "good")["every_key"])
	want.IdleTimeout = time.Second
	mustEqual(t, c, want)
}

func TestApplyEnvVars_PasswordsMayHoldColons(t *testing.T) {
	t.Setenv("CLUSTER_PINSVCAPI_BASICAUTHCREDENTIALS", "alice:a:b:c, bob::")
	c := defaults(t)
	if err := c.ApplyEnvVars(); err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"alice": "a:b:c", "bob": ":"}; !maps.Equal(c.BasicAuthCredentials, want) {
		t.Errorf("got %v", c.BasicAuthCredentials)
	}
}

func TestApplyEnvVars_NamesAllFaultsAndChangesNothing(t *testing.T) {
	bad := map[string]string{
		"HTTPLISTENMULTIADDRESS": "s3cr3t/tcp", "READTIMEOUT": "s3cr3t", "MAXHEADERBYTES": "s3cr3t",
		"PRIVATEKEY": "s3cr3t", "BASICAUTHCREDENTIALS": "s3cr3t,alice:s3cr3t", "HEADERS": "s3cr3t",
		"CORSALLOWCREDENTIALS": "s3cr3t", "MAXBODYBYTES": "", "ALLOWUNAUTHENTICATED": "",
	}
	for name, value := range bad {
		t.Setenv("CLUSTER_PINSVCAPI_"+name, value)
	}
	c := load(t, `{"idle_timeout": "1s"}`)
	err := c.ApplyEnvVars()
	if err == nil {
		t.Fatal("accepted")
	}
	if got := len(faultsOf(t, err)); got != len(bad) {
		t.Errorf("%d faults, want %d: %v", got, len(bad), err)
	}
	for _, k := range Keys() {
		suffix := strings.TrimPrefix(k.Env, "CLUSTER_PINSVCAPI_")
		if _, ok := bad[suffix]; ok && !strings.Contains(err.Error(), "api.pinsvcapi."+k.Name+": ") {
			t.Errorf("%s is not named: %v", k.Name, err)
		}
	}
	// Addresses are no secrets; they are the only values that are quoted.
	if strings.Count(err.Error(), "s3cr3t") != 1 {
		t.Errorf("tells a value: %v", err)
	}
	mustEqual(t, c, load(t, `{"idle_timeout": "1s"}`))
}

func TestApplyEnvVars_EmptyCredentialsAreAFault(t *testing.T) {
	t.Setenv("CLUSTER_PINSVCAPI_BASICAUTHCREDENTIALS", "")
	err := defaults(t).ApplyEnvVars()
	if err == nil || faultsOf(t, err)[0].Key != "basic_auth_credentials" {
		t.Errorf("got %v", err)
	}
}

func TestLoadJSON_JudgesAFaultyFileWithTheVariables(t *testing.T) {
	const section = `{"http_listen_multiaddress": "/ip4/0.0.0.0/tcp/9097"}`
	t.Setenv("CLUSTER_PINSVCAPI_BASICAUTHCREDENTIALS", "alice:s3cr3t")
	c := load(t, section)
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if c.BasicAuthCredentials["alice"] != "s3cr3t" {
		t.Error("valid without the users that it needs")
	}
	t.Setenv("CLUSTER_PINSVCAPI_READTIMEOUT", "soon")
	err := NewConfig().LoadJSON([]byte(section))
	if err == nil || faultsOf(t, err)[0].Key != "read_timeout" {
		t.Errorf("got %v", err)
	}
}

func TestLoadJSON_ReadsAValidFileWithoutTheVariables(t *testing.T) {
	t.Setenv("CLUSTER_PINSVCAPI_READTIMEOUT", "5s")
	mustEqual(t, load(t, `{}`), defaults(t))
}

const credentialsEnv = "CLUSTER_PINSVCAPI_BASICAUTHCREDENTIALS"

// applied returns the credentials of the defaults with the environment.
func applied(t *testing.T) (map[string]string, error) {
	t.Helper()
	c := defaults(t)
	err := c.ApplyEnvVars()
	return c.BasicAuthCredentials, err
}

// mustFault wants one fault of basic_auth_credentials that names the variable
// and holds no password.
func mustFault(t *testing.T, err error, variable, problem string) {
	t.Helper()
	if err == nil {
		t.Fatal("accepted")
	}
	list := faultsOf(t, err)
	if len(list) != 1 || list[0].Key != "basic_auth_credentials" ||
		!strings.Contains(err.Error(), "environment variable "+variable) || !strings.Contains(err.Error(), problem) {
		t.Errorf("want one fault %q of %s, got: %v", problem, variable, err)
	}
	if strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("shows a password: %v", err)
	}
}

func TestApplyEnvVars_ReadsCredentials(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"me:pw":                             {"me": "pw"},
		` {"me":"pw, x:y", "bob":"a:b"} `:   {"me": "pw, x:y", "bob": "a:b"},
		"me:a, bob:b":                       {"me": "a", "bob": "b"},
		" me :a,  bob:b:c ":                 {"me": "a", "bob": "b:c"},
		"me:a\nbob:b,c\r\n\n":               {"me": "a", "bob": "b,c"},
		`John Smith:{"x"}`:                  {"John Smith": `{"x"}`},
		`{"me": "pw", "with,comma": " b "}`: {"me": "pw", "with,comma": " b "},
	} {
		t.Run(text, func(t *testing.T) {
			t.Setenv(credentialsEnv, text)
			if got, err := applied(t); err != nil || !maps.Equal(got, want) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

// Never a user that nobody meant.
func TestApplyEnvVars_RefusesAmbiguousCredentials(t *testing.T) {
	for text, problem := range map[string]string{
		"me:pa,ss:s3cr3t":              "a comma without a blank",
		"me:s3cr3t,s3cr3t":             "a comma without a blank",
		"me:s3cr3t,":                   "a comma without a blank",
		"me,bob:s3cr3t":                "a comma without a blank",
		"me:a\nbob:s3cr3t, eve:b":      "one pair or several",
		"me,you:s3cr3t\nbob:b":         "one pair or several",
		"me:s3cr3t, bob":               "must be name:value pairs",
		"s3cr3t":                       "must be name:value pairs",
		"me: s3cr3t":                   "blanks around a value",
		"me:s3cr3t , bob:b":            "blanks around a value",
		"me:s3cr3t, bob:b, me:c":       `has the name "me" twice`,
		"me:s3cr3t\nme:s3cr3t":         `has the name "me" twice`,
		`{"me":"s3cr3t","me":"b"}`:     `has the name "me" twice`,
		`{"me":"s3cr3t"`:               "must be an object of texts",
		`{"me":{"password":"s3cr3t"}}`: "must be an object of texts",
		`["me:s3cr3t"]`:                "begins with a bracket or a quote",
		`"me:s3cr3t"`:                  "begins with a bracket or a quote",
		`'me:s3cr3t'`:                  "begins with a bracket or a quote",
		`me:a, {"bob":"s3cr3t"}`:       "begins with a bracket or a quote",
	} {
		t.Run(text, func(t *testing.T) {
			t.Setenv(credentialsEnv, text)
			_, err := applied(t)
			mustFault(t, err, credentialsEnv, problem)
		})
	}
}

func TestApplyEnvVars_ReadsCredentialsFromAFile(t *testing.T) {
	write := func(content string) string {
		path := filepath.Join(t.TempDir(), "credentials")
		if err := os.WriteFile(path, []byte(content), 0o400); err != nil {
			t.Fatal(err)
		}
		return path
	}
	want := map[string]string{"me": "pass,word:1", "bob": "b"}
	for _, content := range []string{"me:pass,word:1\nbob:b", " {\n\"me\": \"pass,word:1\",\n\"bob\": \"b\"}\n"} {
		t.Setenv(credentialsEnv+"_FILE", write(content))
		got, err := applied(t)
		if strings.HasPrefix(content, "me") {
			mustFault(t, err, credentialsEnv+"_FILE", "one pair or several")
		} else if err != nil || !maps.Equal(got, want) {
			t.Errorf("%q: got %v, %v", content, got, err)
		}
	}
	for _, content := range []string{"me:pass,word\nbob:b:c\n", "bob:b:c\r\n\r\n me:pass,word\r\n"} {
		t.Setenv(credentialsEnv+"_FILE", write(content))
		if got, err := applied(t); err != nil || !maps.Equal(got, map[string]string{"me": "pass,word", "bob": "b:c"}) {
			t.Errorf("%q: got %v, %v", content, got, err)
		}
	}
	if paths := new(Config).SecretFiles(); !slices.Equal(paths, []string{os.Getenv(credentialsEnv + "_FILE")}) {
		t.Errorf("secrets in %v", paths)
	}
	for content, problem := range map[string]string{
		"me:s3cr3t\nme:b": `has the name "me" twice`, "s3cr3t": "must be name:value pairs", "\n": "is empty",
		"me:s3cr3t, bob:b": "one pair or several", "me:s3cr3t \nbob:b": "blanks around a value",
	} {
		t.Setenv(credentialsEnv+"_FILE", write(content))
		_, err := applied(t)
		mustFault(t, err, credentialsEnv+"_FILE", problem)
	}
	t.Setenv(credentialsEnv+"_FILE", filepath.Join(t.TempDir(), "nowhere"))
	_, err := applied(t)
	mustFault(t, err, credentialsEnv+"_FILE", "no such file")
	t.Setenv(credentialsEnv, "me:s3cr3t")
	_, err = applied(t)
	mustFault(t, err, credentialsEnv+"_FILE", "are both set")
}

// The private key is a secret too.
func TestApplyEnvVars_ReadsThePrivateKeyFromAFile(t *testing.T) {
	want := load(t, files(t, "good")["every_key"])
	text, err := formatPrivateKey(want.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CLUSTER_PINSVCAPI_PRIVATEKEY_FILE", path)
	t.Setenv("CLUSTER_PINSVCAPI_ID", want.ID.String())
	t.Setenv("CLUSTER_PINSVCAPI_LIBP2PLISTENMULTIADDRESS", "/ip4/127.0.0.1/tcp/0")
	c := defaults(t)
	if err := c.ApplyEnvVars(); err != nil || !c.PrivateKey.Equals(want.PrivateKey) {
		t.Errorf("got %v, %v", c, err)
	}
}

func TestApplyEnvVars_ReadsListsAndHeaders(t *testing.T) {
	t.Setenv("CLUSTER_PINSVCAPI_HTTPLISTENMULTIADDRESS", `["/ip4/127.0.0.1/tcp/1", "/unix/run/a b"]`)
	t.Setenv("CLUSTER_PINSVCAPI_CORSALLOWEDORIGINS", ` ["https://a.example", "https://b.example"] `)
	t.Setenv("CLUSTER_PINSVCAPI_CORSALLOWEDMETHODS", " GET , POST ")
	t.Setenv("CLUSTER_PINSVCAPI_CORSEXPOSEDHEADERS", " ")
	t.Setenv("CLUSTER_PINSVCAPI_HEADERS", "X-A: b , X-C:d:e")
	c := defaults(t)
	if err := c.ApplyEnvVars(); err != nil {
		t.Fatal(err)
	}
	if got := texts(c.HTTPListenAddr); !slices.Equal(got, []string{"/ip4/127.0.0.1/tcp/1", "/unix/run/a b"}) {
		t.Errorf("listens on %q", got)
	}
	if !slices.Equal(c.CORSAllowedOrigins, []string{"https://a.example", "https://b.example"}) ||
		!slices.Equal(c.CORSAllowedMethods, []string{"GET", "POST"}) || len(c.CORSExposedHeaders) != 0 {
		t.Errorf("not applied: %v", c)
	}
	if c.Headers["X-A"][0] != "b" || c.Headers["X-C"][0] != "d:e" {
		t.Errorf("headers %v", c.Headers)
	}
	for _, text := range []string{`{"X-A": ["b, c:d"]}`, "X-A: b, c:d\nX-E:f"} {
		t.Setenv("CLUSTER_PINSVCAPI_HEADERS", text)
		if err := c.ApplyEnvVars(); err != nil || c.Headers["X-A"][0] != "b, c:d" {
			t.Errorf("%q: %v, %v", text, c.Headers, err)
		}
	}
}

func TestApplyEnvVars_RefusesAmbiguousListsAndHeaders(t *testing.T) {
	for _, tc := range []struct{ name, key, text, problem string }{
		{"HTTPLISTENMULTIADDRESS", "http_listen_multiaddress", "/ip4/127.0.0.1/tcp/1 /ip4/127.0.0.1/tcp/2", "a blank or a quote"},
		{"HTTPLISTENMULTIADDRESS", "http_listen_multiaddress", `["/ip4/127.0.0.1/tcp/1"`, "must be an address or a list of addresses"},
		{"CORSALLOWEDORIGINS", "cors_allowed_origins", "https://a.example;https://b.example https://c.example", "a blank or a quote"},
		{"CORSALLOWEDORIGINS", "cors_allowed_origins", `"https://a.example"`, "a blank or a quote"},
		{"CORSALLOWEDMETHODS", "cors_allowed_methods", "GET,,POST", "has an empty item"},
		{"CORSALLOWEDMETHODS", "cors_allowed_methods", `["GET", 1]`, "must be a list of texts"},
		{"CORSALLOWEDHEADERS", "cors_allowed_headers", ",", "has an empty item"},
		{"TRUSTEDPROXIES", "trusted_proxies", "10.0.0.1,", "has an empty item"},
		{"HEADERS", "headers", "X-A:b,X-A:c", `has the name "X-A" twice`},
		{"HEADERS", "headers", "X-A:b,c", "must be name:value pairs"},
		{"HEADERS", "headers", `{"X-A": "b"}`, "must be an object of lists"},
		{"HEADERS", "headers", `{"X-A": ["b"], "X-A": ["c"]}`, `has the name "X-A" twice`},
		{"HEADERS", "headers", `"X-A:b"`, "begins with a bracket or a quote"},
	} {
		t.Run(tc.name+"="+tc.text, func(t *testing.T) {
			t.Setenv("CLUSTER_PINSVCAPI_"+tc.name, tc.text)
			err := defaults(t).ApplyEnvVars()
			want := "api.pinsvcapi." + tc.key + ": environment variable CLUSTER_PINSVCAPI_" + tc.name + ": "
			if err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), tc.problem) {
				t.Errorf("want %q, got: %v", tc.problem, err)
			}
		})
	}
}

func TestEnvNames_HasTheFilesOfSecrets(t *testing.T) {
	var inFiles []string
	for _, name := range new(Config).EnvNames() {
		if strings.HasSuffix(name, "_FILE") {
			inFiles = append(inFiles, strings.TrimPrefix(name, "CLUSTER_PINSVCAPI_"))
		}
	}
	if !slices.Equal(inFiles, []string{"PRIVATEKEY_FILE", "BASICAUTHCREDENTIALS_FILE"}) {
		t.Errorf("files of %v", inFiles)
	}
	if !slices.Contains(new(Config).EnvNames(), "CLUSTER_PINSVCAPI_HTTPLISTENMULTIADDRESS") {
		t.Error("a variable is missing")
	}
}
