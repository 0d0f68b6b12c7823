package pinsvcapi

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/mux"
)

// endpoint is one row of the table of routes.
type endpoint struct {
	// name is the route in logs and metrics.
	name         string
	method, path string
	policy       policy
	handle       func(*API, *request, *http.Request) (response, error)
}

// endpoints is the table. GET stands for HEAD too, and every path has
// OPTIONS.
func endpoints() []endpoint {
	read := policy{scope: scopePinsRead, cost: costMemory, credentials: true}
	list := policy{scope: scopePinsRead, cost: costMemory, credentials: true, readiness: waitReady, prepare: (*API).preparePage}
	write := policy{scope: scopePinsWrite, cost: costWrite, credentials: true, body: pinBody()}
	remove := policy{scope: scopePinsDelete, cost: costWrite, credentials: true}
	token := policy{scope: scopeTokensWrite, cost: costMemory, credentials: true, body: noBody()}
	open := policy{scope: scopeNone, cost: costNone}
	always := policy{scope: scopeNone, cost: costNone, readiness: anyTime}
	return []endpoint{
		{"list_pins", http.MethodGet, "/pins", list, (*API).listPins},
		{"add_pin", http.MethodPost, "/pins", write, (*API).addPin},
		{"get_pin", http.MethodGet, "/pins/{requestid}", read, (*API).getPin},
		{"replace_pin", http.MethodPost, "/pins/{requestid}", write, (*API).replacePin},
		{"delete_pin", http.MethodDelete, "/pins/{requestid}", remove, (*API).deletePin},
		{"issue_token", http.MethodPost, "/token", token, (*API).issueToken},
		{"health", http.MethodGet, "/health", always, (*API).showHealth},
		{"ready", http.MethodGet, "/ready", open, (*API).showReady},
		{"openapi", http.MethodGet, "/openapi.yaml", open, (*API).showOpenAPI},
		{"root", http.MethodGet, "/", always, (*API).showRoot},
		{"webui", http.MethodGet, "/webui", always, (*API).showRoot},
	}
}

// routes finds the endpoint of a request. The middleware needs it before any
// handler runs (labels, span name, policy), so mux only matches and never
// serves; serving, it would also redirect an unclean path with a 301, which
// turns a POST into a GET and, for //host/, leads to another host.
type routes struct {
	base  string // base_path
	mux   *mux.Router
	paths map[string]*pathEntry // by path template
}

// pathEntry is the methods of one path.
type pathEntry struct {
	methods map[string]endpoint
	allow   []string // the methods, sorted
}

func newRoutes(base string, table []endpoint) *routes {
	rs := &routes{base: base, mux: mux.NewRouter(), paths: make(map[string]*pathEntry)}
	for _, e := range table {
		entry := rs.paths[e.path]
		if entry == nil {
			entry = &pathEntry{methods: make(map[string]endpoint), allow: []string{http.MethodOptions}}
			rs.paths[e.path] = entry
			rs.mux.Path(e.path).Name(e.path)
		}
		entry.add(e.method, e)
		if e.method == http.MethodGet {
			entry.add(http.MethodHead, e)
		}
	}
	return rs
}

func (p *pathEntry) add(method string, e endpoint) {
	p.methods[method] = e
	p.allow = append(p.allow, method)
	slices.Sort(p.allow)
}

// routeMatch is the result of looking a request up.
type routeMatch struct {
	// endpoint has no handler when the path or the method is unknown.
	endpoint endpoint
	// allow are the methods of the path, sorted, and not to be changed; nil
	// for an unknown path.
	allow []string
	vars  map[string]string
	// outside: the path is not under base_path.
	outside bool
}

// label is the route in logs and metrics, from a closed set.
func (m *routeMatch) label() string {
	switch {
	case m.endpoint.handle != nil:
		return m.endpoint.name
	case m.allow != nil:
		return "other_method"
	default:
		return "unknown"
	}
}

// find returns the route of a request. Slashes that repeat or end the path do not count,
// because clients join base URLs and paths in several ways.
//
// An escaped slash (%2f) is a part of a segment, and no segment of the table and
// no request ID has one.
func (rs *routes) find(r *http.Request, viaProxy bool) routeMatch {
	if strings.Contains(strings.ToLower(r.URL.RawPath), "%2f") {
		return routeMatch{}
	}
	path, ok := rs.relative(r, viaProxy)
	if !ok {
		return routeMatch{outside: true}
	}
	clean := *r.URL
	clean.Path, clean.RawPath = path, ""
	var match mux.RouteMatch
	if !rs.mux.Match(&http.Request{Method: r.Method, URL: &clean, Host: r.Host}, &match) {
		return routeMatch{}
	}
	entry := rs.paths[match.Route.GetName()]
	return routeMatch{endpoint: entry.methods[r.Method], allow: entry.allow, vars: match.Vars}
}

// relative returns the path of a request below base_path, or false outside of
// it. A trusted proxy may strip the prefix if it states it in X-Forwarded-Prefix.
func (rs *routes) relative(r *http.Request, viaProxy bool) (string, bool) {
	path := cleanPath(r.URL.Path)
	if rs.base == "" {
		return path, true
	}
	if below, ok := strings.CutPrefix(path, rs.base); ok && (below == "" || below[0] == '/') {
		return cleanPath(below), true
	}
	if viaProxy && cleanPath(r.Header.Get("X-Forwarded-Prefix")) == rs.base {
		return path, true
	}
	return "", false
}

// cleanPath leaves "." and ".." alone: no path of the table has them, and a
// request ID of that name is simply unknown.
func cleanPath(path string) string {
	if path == "/" || strings.HasPrefix(path, "/") && !strings.HasSuffix(path, "/") && !strings.Contains(path, "//") {
		return path
	}
	var segments []string
	for segment := range strings.SplitSeq(path, "/") {
		if segment != "" {
			segments = append(segments, segment)
		}
	}
	return "/" + strings.Join(segments, "/")
}
