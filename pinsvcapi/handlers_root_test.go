package pinsvcapi

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
)

const firefox = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

func TestShowRoot_BrowsersGetAPageAndProgramsJSON(t *testing.T) {
	// People open it first when something does not work yet.
	for name, s := range map[string]*service{"ready": start(t), "not ready": startUnready(t)} {
		for _, path := range []string{"/", "//", "/webui", "/webui/"} {
			rep := s.do(http.MethodGet, path, "", anonymous, header("Accept", firefox)).is(http.StatusOK)
			page := string(rep.body)
			if rep.header.Get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(page, "ipfs pin remote service add") ||
				!strings.Contains(page, `href="/openapi.yaml"`) || !strings.Contains(page, "1.2.3") || strings.Count(page, "<p>") != 3 {
				t.Errorf("%s %s: %s\n%s", name, path, rep.header.Get("Content-Type"), page)
			}
			if !strings.Contains(rep.header.Get("Content-Security-Policy"), "default-src 'none'") {
				t.Errorf("the page may load things: %v", rep.header)
			}
			for _, accept := range []string{"", "*/*", "application/json", "text/html;q=0", "text/html;q=0.0, */*"} {
				rep := s.do(http.MethodGet, path, "", anonymous, header("Accept", accept), header("Origin", origin))
				var info serviceInfo
				rep.decode(http.StatusOK, &info)
				if info.Version != "1.2.3" || info.OpenAPI != "/openapi.yaml" || !slices.Contains(info.Extensions, "token") {
					t.Errorf("%s %s, Accept %q: %s", name, path, accept, rep.body)
				}
				if vary := rep.header.Values("Vary"); !slices.Contains(vary, "Accept") || !slices.Contains(vary, "Origin") {
					t.Errorf("Vary %q", vary)
				}
			}
		}
	}
}

// Extensions are routes that the specification does not have.
func TestExtensions_AreRoutes(t *testing.T) {
	for _, name := range extensions() {
		if !slices.ContainsFunc(endpoints(), func(e endpoint) bool { return strings.HasPrefix(strings.TrimPrefix(e.path, "/"), name) }) {
			t.Errorf("there is no route for %s", name)
		}
	}
}

func TestBasePath_ServesTheWholeAPIUnderAPrefix(t *testing.T) {
	s := start(t, func(set *setup) { set.cfg.BasePath = "/psa" })
	root := s.url
	s.url += "/psa"
	exercise(s)
	s.token()
	for _, path := range []string{"", "/", "//"} {
		var info serviceInfo
		s.get(path, &info)
		if info.OpenAPI != "/psa/openapi.yaml" {
			t.Errorf("%q: %+v", path, info)
		}
	}
	page := string(s.raw("/", header("Accept", firefox)).body)
	if !strings.Contains(page, `href="/psa/openapi.yaml"`) || !strings.Contains(page, `href="/psa/ready"`) {
		t.Errorf("the links leave the prefix:\n%s", page)
	}
	if doc := string(s.raw("/openapi.yaml").body); !strings.Contains(doc, "\n  - url: /psa\n") {
		t.Error("openapi.yaml names another server")
	}
	s.do(http.MethodGet, "/nothing", "").fails(404, "NOT_FOUND", "/psa/openapi.yaml")
	s.url = root
	for _, path := range []string{"/", "/pins", "/health", "/openapi.yaml", "/psapins", "/psab/pins", "/webui", "/x"} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodOptions} {
			s.undescribed(method, path, anonymous).fails(404, "NOT_FOUND", "/psa (base_path)")
		}
	}
}

// A proxy that strips the prefix says so (Traefik does); nobody else may.
func TestBasePath_ProxyThatStripsThePrefix(t *testing.T) {
	trusts := start(t, func(set *setup) {
		set.cfg.BasePath, set.cfg.TrustedProxies = "/psa", prefixes("127.0.0.0/8")
	})
	trusts.do(http.MethodGet, "/pins", "", header("X-Forwarded-Prefix", "/psa")).is(http.StatusOK)
	trusts.do(http.MethodGet, "/pins", "", header("X-Forwarded-Prefix", "/psa/")).is(http.StatusOK)
	trusts.undescribed(http.MethodGet, "/pins", header("X-Forwarded-Prefix", "/other")).fails(404, "NOT_FOUND", "base_path")
	trusts.undescribed(http.MethodGet, "/pins").fails(404, "NOT_FOUND", "base_path")
	doubts := start(t, func(set *setup) { set.cfg.BasePath = "/psa" })
	doubts.undescribed(http.MethodGet, "/pins", header("X-Forwarded-Prefix", "/psa")).fails(404, "NOT_FOUND", "base_path")
}

// raw sends a GET request that openapi.yaml is not compared with.
func (s *service) raw(path string, options ...option) reply {
	return s.undescribed(http.MethodGet, path, options...)
}

func (s *service) undescribed(method, path string, options ...option) reply {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.SetBasicAuth(testUser, testPassword)
	for _, change := range options {
		change(r)
	}
	return s.receive(r)
}

func (s *service) get(path string, into any) {
	s.t.Helper()
	rep := s.raw(path).is(http.StatusOK)
	if err := json.Unmarshal(rep.body, into); err != nil {
		s.t.Fatalf("%v: %s", err, rep.body)
	}
}
