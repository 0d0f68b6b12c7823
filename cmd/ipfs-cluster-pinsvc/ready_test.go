package main

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer"
	"github.com/pinsvc/ipfs-cluster-pinsvc/config"
)

func TestEndpointURL(t *testing.T) {
	t.Parallel()
	plain := &config.Config{}
	secure := &config.Config{TLS: &tls.Config{Certificates: []tls.Certificate{
		{Leaf: &x509.Certificate{DNSNames: []string{"*.example.net", "pins.example.net"}}},
	}}}
	based := &config.Config{BasePath: "/api/v1"}
	nameless := &config.Config{TLS: &tls.Config{Certificates: []tls.Certificate{{Leaf: &x509.Certificate{}}}}}
	for _, c := range []struct {
		cfg   *config.Config
		addrs []string
		want  string
	}{
		{plain, nil, ""},
		{plain, []string{"/run/pinsvc.sock"}, ""},
		{plain, []string{"127.0.0.1:9097"}, "http://127.0.0.1:9097"},
		{plain, []string{"/run/pinsvc.sock", "127.0.0.1:9097", "127.0.0.1:9098"}, "http://127.0.0.1:9097"},
		{plain, []string{"0.0.0.0:9097"}, "http://127.0.0.1:9097"},
		{plain, []string{"[::]:9097"}, "http://127.0.0.1:9097"},
		{plain, []string{"[::ffff:10.0.0.1]:9097"}, "http://10.0.0.1:9097"},
		{plain, []string{"[fd00::1]:9097"}, "http://[fd00::1]:9097"},
		{based, []string{"127.0.0.1:9097"}, "http://127.0.0.1:9097/api/v1"},
		{based, nil, ""},
		{secure, []string{"0.0.0.0:443"}, "https://pins.example.net:443"},
		{nameless, []string{net.JoinHostPort("127.0.0.1", "443")}, "https://127.0.0.1:443"},
	} {
		if got := endpointURL(c.cfg, c.addrs); got != c.want {
			t.Errorf("%v: %q, want %q", c.addrs, got, c.want)
		}
	}
}

func TestReadyText(t *testing.T) {
	t.Parallel()
	const secret = "hush-hush"
	for _, c := range []struct {
		name     string
		users    map[string]string
		added    []peer.NewUser
		addr     string
		has, not []string
	}{
		{"no users", nil, nil, "127.0.0.1:1", []string{"has no users", "service add pinsvc http://127.0.0.1:1 none\n"}, []string{"curl", "token --user", "password"}},
		{"a user of before", map[string]string{"bob": secret}, nil, "127.0.0.1:1",
			[]string{"curl -X POST -u bob http://127.0.0.1:1/token", "password of bob is in", "service.json", "token --user bob\n", "--service=bob"}, []string{secret}},
		{"the first of two", map[string]string{"bob": secret, "al": secret}, nil, "127.0.0.1:1",
			[]string{"-u al ", "token --user al)\"", "password of al, bob is in"}, []string{"-u bob", secret}},
		{"new ones", map[string]string{"bob": secret, "al": secret}, []peer.NewUser{{Name: "bob"}, {Name: "al"}}, "127.0.0.1:1",
			[]string{"-u bob ", "token --user bob)\""}, []string{secret}},
		{"a name for quoting", map[string]string{"o'neil": secret}, nil, "127.0.0.1:1",
			[]string{`-u 'o'\''neil' `, `token --user 'o'\''neil')"`, "service add pinsvc "}, nil},
		{"an odd service name", map[string]string{"bob@example.net": secret}, nil, "127.0.0.1:1", []string{"-u bob@example.net", "service add pinsvc "}, nil},
		{"no TCP", map[string]string{"bob": secret}, nil, "", []string{"not served over TCP", "service.json"}, []string{"curl"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newProgram(strings.NewReader(""), newBuffer(), newBuffer())
			p.files = peer.FilesIn("/nowhere at all")
			cfg := peer.NewConfiguration(p.files, "", "")
			go cfg.Close()
			cfg.Pinsvcapi.BasicAuthCredentials = c.users
			d := &daemonRun{program: p, cfg: cfg, newUsers: c.added}
			text, err := d.readyText([]string{c.addr})
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.has {
				if !strings.Contains(text, want) {
					t.Errorf("want %q in\n%s", want, text)
				}
			}
			for _, unwanted := range c.not {
				if strings.Contains(text, unwanted) {
					t.Errorf("%q in\n%s", unwanted, text)
				}
			}
		})
	}
}

// The commands work as they are when the API is served below a path.
func TestReadyText_HasTheBasePath(t *testing.T) {
	t.Parallel()
	p := newProgram(strings.NewReader(""), newBuffer(), newBuffer())
	p.files = peer.FilesIn("/nowhere at all")
	cfg := peer.NewConfiguration(p.files, "", "")
	go cfg.Close()
	cfg.Pinsvcapi.BasicAuthCredentials = map[string]string{"bob": "x"}
	cfg.Pinsvcapi.BasePath = "/api/v1"
	text, err := (&daemonRun{program: p, cfg: cfg}).readyText([]string{"127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"API is at http://127.0.0.1:1/api/v1\n", "-u bob http://127.0.0.1:1/api/v1/token\n", "service add bob http://127.0.0.1:1/api/v1 ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("want %q in\n%s", want, text)
		}
	}
}
