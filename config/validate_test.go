package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/multiformats/go-multiaddr"
)

// The files in testdata/bad are named <key>.<fault>.json.
func TestValidate_RefusesBadFilesByTheNameOfTheKey(t *testing.T) {
	for name, section := range files(t, "bad") {
		t.Run(name, func(t *testing.T) {
			key, _, _ := strings.Cut(name, ".")
			c := defaults(t)
			c.SetBaseDir("testdata/bad")
			err := c.LoadJSON([]byte(section))
			if err == nil {
				t.Fatal("accepted")
			}
			if list := faultsOf(t, err); len(list) != 1 || list[0].Key != key {
				t.Errorf("want one fault of %s, got: %v", key, err)
			}
			if !strings.HasPrefix(err.Error(), "api.pinsvcapi."+key+": ") {
				t.Errorf("does not name the key first: %v", err)
			}
			for _, secret := range []string{"s3cr3t", "alice:", "31337", "AAAAAAAAAA"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("tells a secret: %v", err)
				}
			}
			mustEqual(t, c, defaults(t))
		})
	}
}

func TestValidate_ReportsAllFaultsAtOnce(t *testing.T) {
	err := NewConfig().LoadJSON([]byte(`{
		"http_listen_multiaddress": ["here", "/ip4/127.0.0.1/tcp/1", "there"],
		"read_timeout": "-1s", "write_timeout": 5, "max_header_bytes": 1,
		"basic_auth_credentials": {"": ""}, "ssl_cert_file": "nowhere.pem", "ssl_key_file": "nowhere.key",
		"private_key": "?", "headers": {"a b": ["c"], "d": ["\n"]}, "cors_max_age": "-1s",
		"shutdown_timeout": "soon", "max_body_bytes": false}`))
	if err == nil {
		t.Fatal("accepted")
	}
	got := map[string]int{}
	for _, fault := range faultsOf(t, err) {
		got[fault.Key]++
	}
	want := map[string]int{
		"http_listen_multiaddress": 2, "read_timeout": 1, "write_timeout": 1, "max_header_bytes": 1,
		"basic_auth_credentials": 2, "ssl_cert_file": 1, "ssl_key_file": 1, "private_key": 1,
		"headers": 2, "cors_max_age": 1, "shutdown_timeout": 1, "max_body_bytes": 1,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v\nwant %v\n%v", got, want, err)
	}
}

func TestLoadJSON_RefusesWhatIsNoObject(t *testing.T) {
	for _, section := range []string{"", "[]", "1", `"a"`, "{", `{"a": 1} {}`, `{"a" 1}`, `{"password": s3cr3t}`} {
		err := NewConfig().LoadJSON([]byte(section))
		if err == nil || !strings.HasPrefix(err.Error(), "api.pinsvcapi: is not ") || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%q: %v", section, err)
		}
	}
}

func TestValidate_ExposureSaysWhyAndWhatToDo(t *testing.T) {
	err := NewConfig().LoadJSON([]byte(`{"http_listen_multiaddress": "/ip4/0.0.0.0/tcp/9097"}`))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, part := range []string{"no user is configured", "/ip4/0.0.0.0/tcp/9097", "basic_auth_credentials", "allow_unauthenticated"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	load(t, `{"http_listen_multiaddress": "/ip4/0.0.0.0/tcp/9097", "basic_auth_credentials": {"alice": "s3cr3t"}}`)
}

func TestValidate_ChecksWhatAnEmbedderSet(t *testing.T) {
	for key, spoil := range map[string]func(*Config){
		"http_listen_multiaddress":   func(c *Config) { c.HTTPListenAddr = []multiaddr.Multiaddr{nil} },
		"libp2p_listen_multiaddress": func(c *Config) { c.Libp2pListenAddr = []multiaddr.Multiaddr{nil} },
		"ssl_cert_file":              func(c *Config) { c.TLS = nil; c.PathSSLCertFile, c.PathSSLKeyFile = "a", "b" },
		"max_header_bytes":           func(c *Config) { c.MaxHeaderBytes = 0 },
		"max_body_bytes":             func(c *Config) { c.MaxBodyBytes = 0 },
		"max_connections":            func(c *Config) { c.MaxConnections = 0 },
		"max_concurrent_requests":    func(c *Config) { c.MaxConcurrentRequests = 0 },
		"basic_auth_credentials":     func(c *Config) { c.BasicAuthCredentials = map[string]string{} },
	} {
		t.Run(key, func(t *testing.T) {
			c := load(t, files(t, "good")["every_key"])
			spoil(c)
			err := c.Validate()
			if err == nil {
				t.Fatal("accepted")
			}
			if list := faultsOf(t, err); len(list) != 1 || list[0].Key != key {
				t.Errorf("want one fault of %s, got: %v", key, err)
			}
		})
	}
}
