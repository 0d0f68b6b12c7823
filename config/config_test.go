package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multiformats/go-multiaddr"
)

// load returns the Config of a section, or fails the test.
func load(t testing.TB, section string) *Config {
	t.Helper()
	c := NewConfig()
	if err := c.LoadJSON([]byte(section)); err != nil {
		t.Fatal(err)
	}
	return c
}

// defaults returns a Config with all defaults.
func defaults(t testing.TB) *Config {
	t.Helper()
	c := NewConfig()
	if err := c.Default(); err != nil {
		t.Fatal(err)
	}
	return c
}

// files returns the contents of testdata/<dir>/*.json by name.
func files(t testing.TB, dir string) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", dir, "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files in testdata/%s: %v", dir, err)
	}
	contents := make(map[string]string, len(paths))
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		contents[strings.TrimSuffix(filepath.Base(path), ".json")] = string(raw)
	}
	return contents
}

// faultsOf returns the faults that err joins.
func faultsOf(t testing.TB, err error) []*Fault {
	t.Helper()
	var fault *Fault
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		if !errors.As(err, &fault) {
			t.Fatalf("%v is no fault", err)
		}
		return []*Fault{fault}
	}
	var list []*Fault
	for _, e := range joined.Unwrap() {
		if !errors.As(e, &fault) {
			t.Fatalf("%v is no fault", e)
		}
		list = append(list, fault)
	}
	return list
}

// mustEqual compares what is written to the file.
func mustEqual(t testing.TB, got, want *Config) {
	t.Helper()
	g, err := got.ToJSON()
	if err != nil {
		t.Fatal(err)
	}
	w, err := want.ToJSON()
	if err != nil {
		t.Fatal(err)
	}
	if string(g) != string(w) {
		t.Fatalf("got %s\nwant %s", g, w)
	}
}

// texts returns addresses as they are written.
func texts(addrs []multiaddr.Multiaddr) []string {
	list := make([]string, len(addrs))
	for i, addr := range addrs {
		list[i] = addr.String()
	}
	return list
}

func TestDefault_ServesOnLoopbackWithBoundedReads(t *testing.T) {
	c := defaults(t)
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if got := texts(c.HTTPListenAddr); !slices.Equal(got, []string{"/ip4/127.0.0.1/tcp/9097"}) {
		t.Errorf("listens on %v", got)
	}
	if c.ReadHeaderTimeout != 5*time.Second || c.BodyReadTimeout != 30*time.Second ||
		c.MaxHeaderBytes != 4096 || c.MaxBodyBytes != 1<<20 {
		t.Errorf("reads are not bounded as documented: %v", c)
	}
	if c.BasicAuthCredentials != nil || c.AllowUnauthenticated || c.TLS != nil {
		t.Errorf("unexpected defaults: %v", c)
	}
}

func TestLoadJSON_OmittedKeysKeepTheirDefaults(t *testing.T) {
	for _, name := range []string{"empty", "null", "nulls", "empties"} {
		t.Run(name, func(t *testing.T) {
			mustEqual(t, load(t, files(t, "good")[name]), defaults(t))
		})
	}
}

func TestLoadJSON_ForgetsWhatWasLoadedBefore(t *testing.T) {
	c := load(t, files(t, "good")["every_key"])
	c.SetBaseDir("/somewhere")
	c.Tracing = true
	if err := c.LoadJSON([]byte(`{"headers": {"A": ["b"]}}`)); err != nil {
		t.Fatal(err)
	}
	mustEqual(t, c, load(t, `{"headers": {"A": ["b"]}}`))
	if c.BaseDir != "/somewhere" || !c.Tracing {
		t.Error("what is no key has changed")
	}
	if err := c.Default(); err != nil {
		t.Fatal(err)
	}
	mustEqual(t, c, defaults(t))
}

func TestLoadJSON_GoodFilesLoadAndSurviveASave(t *testing.T) {
	for name, section := range files(t, "good") {
		t.Run(name, func(t *testing.T) {
			c := load(t, section)
			if err := c.Validate(); err != nil {
				t.Fatal(err)
			}
			saved, err := c.ToJSON()
			if err != nil {
				t.Fatal(err)
			}
			mustEqual(t, load(t, string(saved)), c)
		})
	}
}

func TestLoadJSON_EveryKeyReachesItsField(t *testing.T) {
	c := load(t, files(t, "good")["every_key"])
	got, want := reflect.ValueOf(*c), reflect.ValueOf(*defaults(t))
	for i := range got.NumField() {
		field := got.Type().Field(i)
		switch field.Name {
		case "Saver", "TLS", "PathSSLCertFile", "PathSSLKeyFile", "Tracing", "unknown":
			continue // Not set by that file.
		case "AllowUnauthenticated":
			continue // Its own test: with users it says nothing.
		}
		if reflect.DeepEqual(got.Field(i).Interface(), want.Field(i).Interface()) {
			t.Errorf("%s still has its default", field.Name)
		}
	}
}

func TestLoadJSON_LetterCaseOfKeysDoesNotMatter(t *testing.T) {
	c := load(t, files(t, "good")["letter_case"])
	if got := texts(c.HTTPListenAddr); !slices.Equal(got, []string{"/ip4/127.0.0.1/tcp/9099"}) {
		t.Errorf("listens on %v", got)
	}
	if got := c.UnknownKeys(); len(got) > 0 {
		t.Errorf("unknown keys: %v", got)
	}
}

func TestUnknownKeys_AreNamedAndSurviveASave(t *testing.T) {
	c := load(t, files(t, "good")["unknown_keys"])
	want := []string{"basic_auth_credential", "future", "read_timout"}
	if got := c.UnknownKeys(); !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	saved, err := c.ToJSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"read_timout": "40s"`, `"alice": "s3cr3t"`, `"future": [`} {
		if !strings.Contains(string(saved), part) {
			t.Errorf("%s was lost in %s", part, saved)
		}
	}
	if err := c.LoadJSON([]byte(`{"another": 1, "read_timeout": "-1s"}`)); err == nil {
		t.Fatal("a bad section was accepted")
	}
	if got := c.UnknownKeys(); !slices.Equal(got, []string{"another"}) {
		t.Errorf("after a failed load: %v", got)
	}
}

func TestConfig_SharesNothingWithAnother(t *testing.T) {
	a, b := defaults(t), defaults(t)
	a.Headers["X"] = []string{"y"}
	a.CORSAllowedMethods[0], a.CORSAllowedOrigins[0] = "PATCH", "null"
	a.CORSAllowedHeaders[0], a.CORSExposedHeaders[0] = "X", "X"
	a.HTTPListenAddr[0] = nil
	options := b.CORSOptions()
	options.AllowedOrigins[0], options.ExposedHeaders[0], options.AllowedHeaders[0] = "null", "X", "X"
	mustEqual(t, b, defaults(t))
}

func TestHTTPLogPath_IsRelativeToTheConfigurationFolder(t *testing.T) {
	for _, tc := range []struct{ dir, file, want string }{
		{"/base", "", ""},
		{"/base", "http.log", "/base/http.log"},
		{"/base", "/var/log/http.log", "/var/log/http.log"},
		{"", "http.log", "http.log"},
	} {
		c := defaults(t)
		c.SetBaseDir(tc.dir)
		c.HTTPLogFile = tc.file
		if got := c.HTTPLogPath(); got != tc.want {
			t.Errorf("%q in %q: got %q, want %q", tc.file, tc.dir, got, tc.want)
		}
	}
}
