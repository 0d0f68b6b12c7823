package config

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestBasePath_IsWithoutTheLastSlash(t *testing.T) {
	for text, want := range map[string]string{"": "", "/": "", "/psa": "/psa", "/psa/": "/psa", "/a/b": "/a/b", "/...": "/..."} {
		c := load(t, fmt.Sprintf(`{"base_path": %q}`, text))
		if c.BasePath != want {
			t.Errorf("%q: got %q, want %q", text, c.BasePath, want)
		}
	}
}

func TestBasePath_OfAnEmbedderIsChecked(t *testing.T) {
	for _, path := range []string{"/", "/psa/", "psa", "/a//b"} {
		c := defaults(t)
		c.BasePath = path
		err := c.Validate()
		if err == nil || faultsOf(t, err)[0].Key != "base_path" {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func TestTrustedProxies_AreNetworks(t *testing.T) {
	t.Setenv("CLUSTER_PINSVCAPI_TRUSTEDPROXIES", "10.0.0.0/8, 192.0.2.1,2001:db8::1")
	t.Setenv("CLUSTER_PINSVCAPI_BASEPATH", "/psa/")
	c := defaults(t)
	if err := c.ApplyEnvVars(); err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]bool{
		"10.1.2.3": true, "11.0.0.1": false, "192.0.2.1": true, "192.0.2.2": false, "2001:db8::1": true, "2001:db8::2": false,
	} {
		trusted := false
		for _, prefix := range c.TrustedProxies {
			trusted = trusted || prefix.Contains(netip.MustParseAddr(addr))
		}
		if trusted != want {
			t.Errorf("%s: trusted is %v", addr, trusted)
		}
	}
	if c.BasePath != "/psa" {
		t.Errorf("base path %q", c.BasePath)
	}
	if text := c.String(); !strings.Contains(text, `"trusted_proxies":["10.0.0.0/8","192.0.2.1","2001:db8::1"],"base_path":"/psa"`) {
		t.Errorf("displayed as %s", text)
	}
}

func TestTrustedProxies_ThatTrustEveryClientAreLogged(t *testing.T) {
	section := files(t, "good")["behind_a_proxy"]
	text := logged(t, func() { _ = NewConfig().LoadJSON([]byte(section)) })
	for _, network := range []string{"0.0.0.0/0", "::/0"} {
		if !strings.Contains(text, "api.pinsvcapi.trusted_proxies: "+network+" trusts every client") {
			t.Errorf("%s is not named: %s", network, text)
		}
	}
}

func TestTrustedProxies_OfAnEmbedderAreChecked(t *testing.T) {
	c := defaults(t)
	c.TrustedProxies = []netip.Prefix{{}}
	if err := c.Validate(); err == nil || faultsOf(t, err)[0].Key != "trusted_proxies" {
		t.Errorf("got %v", err)
	}
}
