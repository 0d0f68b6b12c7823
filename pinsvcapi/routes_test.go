package pinsvcapi

import (
	"net/http"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

func TestRoutes_SlashesAreServedWithoutRedirect(t *testing.T) {
	s := start(t)
	for i, path := range []string{"/pins", "//pins", "/pins/", "///pins//"} {
		st := s.do(http.MethodPost, path, body(i, "")).pinStatus(http.StatusAccepted)
		s.do(http.MethodGet, path, "").is(http.StatusOK)
		for _, sub := range []string{path + "/", path + "//"} {
			s.do(http.MethodGet, sub+st.RequestID, "").is(http.StatusOK)
			s.do(http.MethodGet, sub+st.RequestID+"/", "").is(http.StatusOK)
		}
	}
	s.do(http.MethodGet, "//health/", "").is(http.StatusOK)
}

// checkContract sees every response that has a Location.
func TestRoutes_ForeignPathsAre404AndNoRedirect(t *testing.T) {
	s := start(t)
	for _, path := range []string{"//evil.example/", "//evil.example/..", "/\\evil.example", "//evil.example/%2f..", "/pin", "/pins/a/b", "/./pins", "/pins/../pins/x/y", "/Pins", "/token/x", "/debug/pprof/", "/metrics"} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodOptions} {
			s.do(method, path, "").fails(404, "NOT_FOUND", "no such path")
		}
	}
}

// GET /pins/%2f is no GET /pins.
func TestRoutes_EscapedSlashesAreNoSlashes(t *testing.T) {
	s := start(t)
	for _, path := range []string{"/pins%2f", "/pins/%2f", "/pins/%2F", "/%2fpins", "/pins/a%2fb"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(testUser, testPassword)
		s.receive(r).fails(404, "NOT_FOUND", "no such path") // openapi.yaml cannot tell.
	}
}

func TestRoutes_OtherMethodsAre405WithAllow(t *testing.T) {
	s := start(t)
	tests := []struct{ method, path, allow string }{
		{http.MethodPut, "/pins", "GET, HEAD, OPTIONS, POST"},
		{http.MethodDelete, "/pins", "GET, HEAD, OPTIONS, POST"},
		{http.MethodPatch, "/pins/x", "DELETE, GET, HEAD, OPTIONS, POST"},
		{"BREW", "/pins/x", "DELETE, GET, HEAD, OPTIONS, POST"},
		{http.MethodGet, "/token", "OPTIONS, POST"},
		{http.MethodPost, "/health", "GET, HEAD, OPTIONS"},
		{http.MethodDelete, "/openapi.yaml", "GET, HEAD, OPTIONS"},
	}
	for _, tt := range tests {
		rep := s.do(tt.method, tt.path, "")
		rep.fails(405, "METHOD_NOT_ALLOWED", tt.allow)
		if got := rep.header.Get("Allow"); got != tt.allow {
			t.Errorf("%s %s: Allow %q, want %q", tt.method, tt.path, got, tt.allow)
		}
	}
}

func TestRoutes_OptionsListsTheMethods(t *testing.T) {
	s := start(t)
	for path, allow := range map[string]string{
		"/pins":    "GET, HEAD, OPTIONS, POST",
		"/pins/x/": "DELETE, GET, HEAD, OPTIONS, POST",
		"/token":   "OPTIONS, POST",
		"/ready":   "GET, HEAD, OPTIONS",
	} {
		rep := s.do(http.MethodOptions, path, "", anonymous).is(http.StatusNoContent)
		if got := rep.header.Get("Allow"); got != allow {
			t.Errorf("OPTIONS %s: Allow %q, want %q", path, got, allow)
		}
	}
}

func TestRoutes_HeadIsGetWithoutTheBody(t *testing.T) {
	s := start(t)
	id := s.pinID(pinsvc.Pin{CID: someCID(1)})
	for _, path := range []string{"/pins", "/pins/" + id, "/health", "/ready", "/openapi.yaml"} {
		get := s.do(http.MethodGet, path, "").is(http.StatusOK)
		head := s.do(http.MethodHead, path, "").is(http.StatusOK)
		for _, name := range []string{"Content-Type", "Content-Length"} {
			if head.header.Get(name) != get.header.Get(name) || get.header.Get(name) == "" {
				t.Errorf("HEAD %s: %s %q, GET says %q", path, name, head.header.Get(name), get.header.Get(name))
			}
		}
	}
	s.do(http.MethodHead, "/pins/unknown", "").is(http.StatusNotFound)
	s.do(http.MethodHead, "/pins", "", anonymous).is(http.StatusUnauthorized)
	s.do(http.MethodHead, "/token", "").is(http.StatusMethodNotAllowed)
}
