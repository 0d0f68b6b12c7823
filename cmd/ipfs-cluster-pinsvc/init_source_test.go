package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

// A configuration that only names a URL is fetched from there.
func TestInit_FromURL(t *testing.T) {
	t.Parallel()
	original := newShell(t)
	original.must("init", "--user", "alice")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /service.json", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, original.path("service.json"))
	})
	server := httptest.NewServer(mux)
	defer server.Close()

	s := newShell(t)
	s.must("init", server.URL+"/service.json")
	if config := s.readConfig(); len(config) != 1 || config["source"] != server.URL+"/service.json" {
		t.Errorf("the configuration is %v", config)
	}
	for _, name := range []string{"identity.json", "peerstore"} {
		if len(glob(t, s.path(name))) != 1 {
			t.Errorf("there is no %s", name)
		}
	}
	s.must("token", "--user", "alice")
	s.must("config", "check")
	if out := s.must("state", "export"); out != "" {
		t.Errorf("a new peer's pinset is %q", out)
	}

	s.must("init", "-f", server.URL+"/elsewhere")
	for _, args := range []string{"config check", "state export", "daemon"} {
		if r := s.run(strings.Fields(args)...); r.code != 1 || !strings.Contains(r.out+r.errOut, "404") {
			t.Errorf("%s: exit code %d\n%s%s", args, r.code, r.out, r.errOut)
		}
	}
}

// One that other programs have linked from elsewhere stays a link.
func TestInit_FollowsALink(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.must("init")
	elsewhere := s.home + "/elsewhere.json"
	if err := os.Rename(s.path("service.json"), elsewhere); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, s.path("service.json")); err != nil {
		t.Fatal(err)
	}
	before := readText(t, elsewhere)
	s.must("init", "-f")
	if info, err := os.Lstat(s.path("service.json")); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v, %v", info, err)
	}
	if readText(t, elsewhere) == before {
		t.Error("the file behind the link was not written")
	}
}
