package pinsvcapi

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/mux"
)

// endpoint is one row of the table of routes.
type endpoint struct {
	// name is what logs and metrics call it.
	name         string
	method, path string
	// open endpoints need no credentials.
	open bool
	// always: answered even before the peer is ready.
	always bool
	// patient: may wait for a moment until the peer is ready.
	patient bool
	handle  func(*API, *exchange, *http.Request) (answer, error)
}

// endpoints is the table. GET stands for HEAD too, and every path answers
// OPTIONS.
func endpoints() []endpoint {
	return []endpoint{
		{name: "list_pins", method: http.MethodGet, path: "/pins", patient: true, handle: (*API).listPins},
		{name: "add_pin", method: http.MethodPost, path: "/pins", handle: (*API).addPin},
		{name: "get_pin", method: http.MethodGet, path: "/pins/{requestid}", handle: (*API).getPin},
		{name: "replace_pin", method: http.MethodPost, path: "/pins/{requestid}", handle: (*API).replacePin},
		{name: "delete_pin", method: http.MethodDelete, path: "/pins/{requestid}", handle: (*API).deletePin},
		{name: "issue_token", method: http.MethodPost, path: "/token", handle: (*API).issueToken},
		{name: "health", method: http.MethodGet, path: "/health", open: true, always: true, handle: (*API).showHealth},
		{name: "ready", method: http.MethodGet, path: "/ready", open: true, handle: (*API).showReady},
		{name: "openapi", method: http.MethodGet, path: "/openapi.yaml", open: true, handle: (*API).showOpenAPI},
	}
}

// routes finds the endpoint of a request. It is only asked, and never serves:
// mux would answer an unclean path with a 301, which turns a POST into a GET
// and, for //host/, sends the client to another host.
type routes struct {
	paths *mux.Router
	at    map[string]*place // by path template
}

// place is what there is at one path.
type place struct {
	methods map[string]endpoint
	allow   []string // the methods, sorted
}

func newRoutes() *routes {
	rs := &routes{paths: mux.NewRouter(), at: make(map[string]*place)}
	for _, e := range endpoints() {
		if rs.at[e.path] == nil {
			rs.at[e.path] = &place{methods: make(map[string]endpoint), allow: []string{http.MethodOptions}}
			rs.paths.Path(e.path).Name(e.path)
		}
		rs.at[e.path].add(e.method, e)
		if e.method == http.MethodGet {
			rs.at[e.path].add(http.MethodHead, e)
		}
	}
	return rs
}

func (p *place) add(method string, e endpoint) {
	p.methods[method] = e
	p.allow = append(p.allow, method)
	slices.Sort(p.allow)
}

// found is what a request is for.
type found struct {
	// endpoint has no handler when the path or the method is none of ours.
	endpoint endpoint
	// allow are the methods of the path, sorted, and not to be changed; nil
	// for an unknown path.
	allow []string
	vars  map[string]string
}

// find looks a request up. Slashes that repeat or end the path do not count
// (clients join base URLs and paths as they like).
func (rs *routes) find(r *http.Request) found {
	clean := *r.URL
	clean.Path, clean.RawPath = cleanPath(r.URL.Path), ""
	var match mux.RouteMatch
	if !rs.paths.Match(&http.Request{Method: r.Method, URL: &clean, Host: r.Host}, &match) {
		return found{}
	}
	at := rs.at[match.Route.GetName()]
	return found{endpoint: at.methods[r.Method], allow: at.allow, vars: match.Vars}
}

// cleanPath leaves "." and ".." alone: they are no paths of ours, and a
// request ID that is called so is simply unknown.
func cleanPath(path string) string {
	if strings.HasPrefix(path, "/") && !strings.HasSuffix(path, "/") && !strings.Contains(path, "//") {
		return path
	}
	var parts []string
	for part := range strings.SplitSeq(path, "/") {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return "/" + strings.Join(parts, "/")
}
