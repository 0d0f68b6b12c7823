package config

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	"pgregory.net/rapid"
)

// drawConfig returns a Config without faults.
func drawConfig(t *rapid.T) *Config {
	limit := func(name string) time.Duration {
		return time.Duration(rapid.Int64Range(0, int64(1000*time.Hour)).Draw(t, name))
	}
	list := func(name string) []string {
		return rapid.SliceOfN(rapid.String(), 0, 4).Draw(t, name)
	}
	c := &Config{
		HTTPListenAddr: addrs(t, rapid.SliceOfNDistinct(
			rapid.SampledFrom([]string{
				"/ip4/127.0.0.1/tcp/9097", "/ip6/::1/tcp/9097", "/ip4/0.0.0.0/tcp/80",
				"/dns4/pins.example/tcp/443", "/unix/run/pinsvc.sock",
			}), 1, 4, rapid.ID[string]).Draw(t, "listen")...),
		Libp2pListenAddr:     addrs(t),
		ReadTimeout:          limit("read"),
		ReadHeaderTimeout:    limit("header"),
		WriteTimeout:         limit("write"),
		IdleTimeout:          limit("idle"),
		MaxHeaderBytes:       rapid.IntRange(MinMaxHeaderBytes, 1<<30).Draw(t, "header bytes"),
		BasicAuthCredentials: drawCredentials(t),
		HTTPLogFile:          rapid.String().Draw(t, "log"),
		Headers: rapid.MapOf(rapid.StringMatching(`[A-Za-z-]{1,20}`),
			rapid.SliceOfN(rapid.StringMatching(`[ -~]{0,20}`), 0, 3)).Draw(t, "headers"),
		CORSAllowedOrigins:    list("origins"),
		CORSAllowedMethods:    list("methods"),
		CORSAllowedHeaders:    list("allowed headers"),
		CORSExposedHeaders:    list("exposed headers"),
		CORSAllowCredentials:  rapid.Bool().Draw(t, "credentials"),
		CORSMaxAge:            limit("age"),
		AllowUnauthenticated:  true,
		MaxBodyBytes:          rapid.Int64Min(MinMaxBodyBytes).Draw(t, "body bytes"),
		BodyReadTimeout:       limit("body"),
		MaxConnections:        rapid.IntMin(MinConcurrency).Draw(t, "connections"),
		MaxConcurrentRequests: rapid.IntMin(MinConcurrency).Draw(t, "requests"),
		ShutdownTimeout:       limit("shutdown"),
		RefusePrivateOrigins:  rapid.Bool().Draw(t, "refuse"),
		MaxPinAttempts:        rapid.IntMin(1).Draw(t, "attempts"),
		StatusSweepInterval:   MinStatusSweep + limit("sweep")/2,
		StatusMaxAge:          limit("age"),
		ReconcileInterval:     MinReconcile + limit("reconcile")/2,
		ReplicaAwayAfter:      MinReplicaAway + limit("away")/2,
		TrustedProxies: rapid.SliceOfNDistinct(rapid.SampledFrom([]netip.Prefix{
			netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32"),
			netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("::1/128"),
		}), 0, 4, rapid.ID[netip.Prefix]).Draw(t, "proxies"),
		BasePath:      rapid.SampledFrom([]string{"", "/psa", "/a/b"}).Draw(t, "base path"),
		WaitForCommit: rapid.Bool().Draw(t, "wait for commit"),
	}
	if rapid.Bool().Draw(t, "libp2p") {
		drawLibp2p(t, c)
	}
	return c
}

func addrs(t *rapid.T, texts ...string) []multiaddr.Multiaddr {
	list := []multiaddr.Multiaddr{}
	for _, text := range texts {
		addr, err := multiaddr.NewMultiaddr(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, addr)
	}
	return list
}

// drawCredentials returns nil, the service without users, at times.
func drawCredentials(t *rapid.T) map[string]string {
	filled := rapid.StringN(1, 20, -1)
	credentials := rapid.MapOfN(filled, filled, 0, 4).Draw(t, "users")
	if len(credentials) == 0 {
		return nil
	}
	return credentials
}

// byteReader makes keys that a failing run can draw again.
type byteReader byte

func (r byteReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r)
	}
	return len(p), nil
}

func drawLibp2p(t *rapid.T, c *Config) {
	key, _, err := crypto.GenerateEd25519Key(byteReader(rapid.Byte().Draw(t, "key")))
	if err != nil {
		t.Fatal(err)
	}
	if c.ID, err = peer.IDFromPrivateKey(key); err != nil {
		t.Fatal(err)
	}
	c.PrivateKey = key
	c.Libp2pListenAddr = addrs(t, "/ip4/0.0.0.0/tcp/4002", "/ip4/127.0.0.1/udp/4002/quic-v1")
}

func TestToJSON_LoadsAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawConfig(t)
		if err := want.Validate(); err != nil {
			t.Fatal(err)
		}
		raw, err := want.ToJSON()
		if err != nil {
			t.Fatal(err)
		}
		loaded := NewConfig()
		if err := loaded.LoadJSON(raw); err != nil {
			t.Fatalf("%v in %s", err, raw)
		}
		got, wanted := reflect.ValueOf(*loaded), reflect.ValueOf(*want)
		for i := range got.NumField() {
			field := got.Type().Field(i)
			if field.Tag.Get("key") == "" {
				continue
			}
			got, want := got.Field(i), wanted.Field(i)
			if got.Kind() == reflect.Slice && got.Len() == 0 && want.Len() == 0 {
				continue // No list at all and an empty one are the same to everyone.
			}
			if got, want := got.Interface(), want.Interface(); !reflect.DeepEqual(got, want) {
				t.Fatalf("%s: got %v, want %v", field.Name, got, want)
			}
		}
	})
}

func FuzzLoadJSON(f *testing.F) {
	for _, dir := range []string{"good", "bad"} {
		for _, section := range files(f, dir) {
			f.Add([]byte(section))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := NewConfig()
		if err := c.LoadJSON(raw); err != nil {
			if err.Error() == "" || len(faultsOf(t, err)) == 0 {
				t.Fatalf("a fault without words: %#v", err)
			}
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("loaded, but: %v", err)
		}
		saved, err := c.ToJSON()
		if err != nil {
			t.Fatal(err)
		}
		again := load(t, string(saved))
		mustEqual(t, again, c)
		if !slices.Equal(again.UnknownKeys(), c.UnknownKeys()) {
			t.Fatalf("unknown keys %v became %v", c.UnknownKeys(), again.UnknownKeys())
		}
		if _, err := c.ToDisplayJSON(); err != nil {
			t.Fatal(err)
		}
	})
}
