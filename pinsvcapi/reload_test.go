package pinsvcapi

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/multiformats/go-multiaddr"

	"github.com/pinsvc/ipfs-cluster-pinsvc/config"
	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// changed is the configuration of the service with another value somewhere.
func (s *service) changed(change func(*config.Config)) *config.Config {
	next := *s.api.cfg
	change(&next)
	return &next
}

func users(pairs ...string) map[string]string {
	m := make(map[string]string)
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

func TestReload_Users(t *testing.T) {
	s := start(t)
	token := s.token()
	g := newGate(s)
	status := s.inBackground() // As testUser, whose password changes.
	<-g.entered
	err := s.api.Reload(s.changed(func(cfg *config.Config) { cfg.BasicAuthCredentials = users(testUser, "new", "carol", "pw") }))
	if err != nil {
		t.Fatal(err)
	}
	close(g.open)
	if got := <-status; got != http.StatusOK {
		t.Errorf("the request that was under way got %d", got)
	}
	s.do(http.MethodGet, "/pins", "").is(http.StatusUnauthorized)
	s.do(http.MethodGet, "/pins", "", bearer(token)).is(http.StatusUnauthorized)
	s.do(http.MethodGet, "/pins", "", as("bob", "hunter2")).is(http.StatusUnauthorized)
	s.do(http.MethodGet, "/pins", "", as(testUser, "new")).is(http.StatusOK)
	s.do(http.MethodGet, "/pins", "", bearer(s.token(as("carol", "pw")))).is(http.StatusOK)
}

func TestReload_InvalidUsersChangeNothingAndOtherGroupsAreApplied(t *testing.T) {
	for name, credentials := range map[string]map[string]string{
		"none": {}, "an empty password": users(testUser, "new", "x", ""), "an empty name": users("", "x"),
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			path := filepath.Join(t.TempDir(), "access.log")
			err := s.api.Reload(s.changed(func(cfg *config.Config) {
				cfg.BasicAuthCredentials = credentials
				cfg.HTTPLogFile = path
			}))
			if err == nil || !strings.Contains(err.Error(), "api.pinsvcapi.basic_auth_credentials") {
				t.Errorf("Reload returns %v", err)
			}
			s.do(http.MethodGet, "/pins", "").is(http.StatusOK)
			s.shutdown(context.Background())
			if got, raw := events(t, path); len(got) != 1 {
				t.Errorf("events:\n%s", raw)
			}
			if got := counts(t, s.metrics)["reloads_total failed"]; got != 1 {
				t.Errorf("%v failed reloads", got)
			}
		})
	}
}

// The listeners stay those of the start, whatever the new section says of them.
func TestReload_UsersStayOnANetwork(t *testing.T) {
	s := start(t, func(set *setup) { set.cfg.HTTPListenAddr = addrs(t, "/ip4/0.0.0.0/tcp/0") })
	_, port, _ := strings.Cut(s.api.HTTPAddresses()[0], "]:")
	s.url = "http://127.0.0.1:" + port
	err := s.api.Reload(s.changed(func(cfg *config.Config) {
		cfg.BasicAuthCredentials = nil
		cfg.HTTPListenAddr = addrs(t, "/ip4/127.0.0.1/tcp/0")
	}))
	if err == nil || !strings.Contains(err.Error(), "allow_unauthenticated") {
		t.Errorf("Reload returns %v", err)
	}
	if s.api.users.Load().auth == nil {
		t.Error("the users are gone")
	}
}

func TestReload_UsersStayOnAHostOnANetwork(t *testing.T) {
	h := newHost(t)
	s := start(t, func(set *setup) { set.opts.Host = h })
	if err := h.Network().Listen(addrs(t, "/ip4/0.0.0.0/tcp/0")[0]); err != nil {
		t.Fatal(err)
	}
	exposed := slices.ContainsFunc(h.Addrs(), func(addr multiaddr.Multiaddr) bool {
		return !strings.HasPrefix(addr.String(), "/ip4/127.")
	})
	err := s.api.Reload(s.changed(func(cfg *config.Config) { cfg.BasicAuthCredentials = nil }))
	if (err != nil) != exposed {
		t.Errorf("the host is at %v, and Reload returns %v", h.Addrs(), err)
	}
}

// While there are no users, pages of any origin may only read.
func TestReload_CrossOriginFollowsTheUsers(t *testing.T) {
	s := start(t)
	preflight := func() string {
		return s.do(http.MethodOptions, "/pins", "", anonymous, header("Origin", origin), header("Access-Control-Request-Method", "POST")).
			header.Get("Access-Control-Allow-Methods")
	}
	if got := preflight(); got != "POST" {
		t.Errorf("with users: %q", got)
	}
	if err := s.api.Reload(s.changed(func(cfg *config.Config) { cfg.BasicAuthCredentials = nil })); err != nil {
		t.Fatal(err)
	}
	if got := preflight(); got != "" {
		t.Errorf("without users: %q", got)
	}
}

// pair is a certificate in two files.
type pair struct {
	cert, key string
	pool      *x509.CertPool
}

func (p pair) write(t *testing.T) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert, pool := certificate(t, key)
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{
		p.cert: {Type: "CERTIFICATE", Bytes: cert.Certificate[0]}, p.key: {Type: "EC PRIVATE KEY", Bytes: raw},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return pair{p.cert, p.key, pool}
}

// startTLS starts a service with a certificate in files.
func startTLS(t *testing.T, change ...func(*setup)) (*service, pair) {
	t.Helper()
	dir := t.TempDir()
	files := pair{cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem")}.write(t)
	s := start(t, append(change, func(set *setup) {
		set.cfg.PathSSLCertFile, set.cfg.PathSSLKeyFile = files.cert, files.key
		cert, err := set.cfg.LoadCertificate()
		if err != nil {
			t.Fatal(err)
		}
		set.cfg.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*cert}}
	})...)
	s.url = "https://" + s.api.HTTPAddresses()[0]
	s.trust(files.pool)
	return s, files
}

// trust makes new connections with these roots.
func (s *service) trust(pool *x509.CertPool) {
	s.client.CloseIdleConnections()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	s.t.Cleanup(transport.CloseIdleConnections)
	s.client.Transport = transport
}

func TestReload_CertificateFilesThatWereReplaced(t *testing.T) {
	s, files := startTLS(t)
	s.do(http.MethodGet, "/pins", "").is(http.StatusOK)
	renewed := files.write(t)
	if err := s.api.Reload(s.api.cfg); err != nil {
		t.Fatal(err)
	}
	// The connection goes on with what it has.
	reused := false
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused }})
	s.do(http.MethodGet, "/pins", "", func(r *http.Request) { *r = *r.WithContext(ctx) }).is(http.StatusOK)
	if !reused {
		t.Error("the connection was closed")
	}
	s.trust(renewed.pool)
	s.do(http.MethodGet, "/pins", "").is(http.StatusOK)
}

func TestReload_InvalidCertificateKeepsTheOldOne(t *testing.T) {
	tests := []struct {
		name, key string
		damage    func(t *testing.T, files pair)
	}{
		{"no file", "ssl_cert_file", func(t *testing.T, files pair) { remove(t, files.cert) }},
		{"no key", "ssl_key_file", func(t *testing.T, files pair) { remove(t, files.key) }},
		{"another key", "ssl_key_file", func(t *testing.T, files pair) {
			pair{cert: filepath.Join(t.TempDir(), "x"), key: files.key}.write(t)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, files := startTLS(t)
			tt.damage(t, files)
			err := s.api.Reload(s.changed(func(cfg *config.Config) { cfg.BasicAuthCredentials = users("carol", "pw") }))
			if err == nil || !strings.Contains(err.Error(), "api.pinsvcapi.ssl_") || !strings.Contains(err.Error(), tt.key) {
				t.Errorf("Reload returns %v", err)
			}
			s.do(http.MethodGet, "/pins", "", as("carol", "pw")).is(http.StatusOK)
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// logrotate renames the file and expects the daemon to make a new one.
func TestReload_LogFileThatWasRotated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	s := start(t, func(set *setup) { set.cfg.HTTPLogFile = path })
	s.do(http.MethodGet, "/pins", "").is(http.StatusOK)
	s.client.CloseIdleConnections()
	await.True(t, "the event", func() bool { got, _ := events(t, path); return len(got) == 1 })
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := s.api.Reload(s.api.cfg); err != nil {
		t.Fatal(err)
	}
	s.do(http.MethodGet, "/health", "").is(http.StatusOK)
	s.shutdown(context.Background())
	old, _ := events(t, path+".1")
	fresh, raw := events(t, path)
	if len(old) != 1 || len(fresh) != 1 || fresh[0].Route != "health" {
		t.Errorf("%d events before, and after:\n%s", len(old), raw)
	}
}

func TestReload_LogFileThatCannotBeOpenedKeepsTheOldOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	s := start(t, func(set *setup) { set.cfg.HTTPLogFile = path })
	err := s.api.Reload(s.changed(func(cfg *config.Config) { cfg.HTTPLogFile = filepath.Join(path, "none") }))
	if err == nil || !strings.Contains(err.Error(), "api.pinsvcapi.http_log_file") {
		t.Errorf("Reload returns %v", err)
	}
	s.do(http.MethodGet, "/pins", "").is(http.StatusOK)
	s.shutdown(context.Background())
	if got, raw := events(t, path); len(got) != 1 {
		t.Errorf("events:\n%s", raw)
	}
}

func TestChangedKeys_AreThoseThatNeedARestart(t *testing.T) {
	s := start(t)
	tests := []struct {
		name   string
		change func(*config.Config)
		want   []string
	}{
		{"nothing", func(*config.Config) {}, nil},
		{"what is reloaded", func(cfg *config.Config) {
			cfg.BasicAuthCredentials, cfg.HTTPLogFile = users("x", "y"), "x.log"
		}, nil},
		{"limits and CORS", func(cfg *config.Config) {
			cfg.MaxBodyBytes, cfg.CORSMaxAge = 5000, time.Minute
		}, []string{"cors_max_age", "max_body_bytes"}},
		{"where to listen", func(cfg *config.Config) { cfg.HTTPListenAddr = addrs(t, "/ip4/127.0.0.1/tcp/1") }, []string{"http_listen_multiaddress"}},
		{"the proxy", func(cfg *config.Config) {
			cfg.BasePath, cfg.TrustedProxies = "/psa", prefixes("10.0.0.0/8")
		}, []string{"base_path", "trusted_proxies"}},
		{"TLS at all", func(cfg *config.Config) {
			cfg.PathSSLCertFile, cfg.PathSSLKeyFile, cfg.TLS = "c", "k", &tls.Config{}
		}, []string{"ssl_cert_file", "ssl_key_file"}},
	}
	for _, tt := range tests {
		got, err := changedKeys(s.api.cfg, s.changed(tt.change))
		slices.Sort(got)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, %v, want %q", tt.name, got, err, tt.want)
		}
	}
}

func TestReload_ManyAtOnceUnderLoad(t *testing.T) {
	s, files := startTLS(t)
	sets := []map[string]string{users(testUser, testPassword, "a", "a"), users(testUser, testPassword, "b", "b")}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 10 {
				next := s.changed(func(cfg *config.Config) { cfg.BasicAuthCredentials = maps.Clone(sets[i%2]) })
				if err := s.api.Reload(next); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: files.pool}, DisableKeepAlives: true}
			client := &http.Client{Transport: transport}
			for range 10 {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/pins", nil)
				if err != nil {
					t.Error(err)
					return
				}
				r.SetBasicAuth(testUser, testPassword)
				resp, err := client.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					t.Errorf("%s", resp.Status)
				}
			}
		})
	}
	wg.Wait()
}

func TestReload_AfterShutdownIsAnError(t *testing.T) {
	s := start(t)
	s.shutdown(context.Background())
	if err := s.api.Reload(s.api.cfg); err == nil {
		t.Error("no error")
	}
}
