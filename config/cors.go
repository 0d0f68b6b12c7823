package config

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rs/cors"
)

// setDefaultCORS lets a page use every route with Authorization.
func (s *section) setDefaultCORS() {
	s.CORSAllowedOrigins = []string{"*"}
	s.CORSAllowedMethods = corsMethods()
	s.CORSAllowedHeaders = []string{"Accept", "Authorization", "Content-Type", "X-Requested-With"}
	s.CORSExposedHeaders = append(upstreamExposedHeaders(), "Retry-After", "WWW-Authenticate")
	s.CORSAllowCredentials = false
	s.CORSMaxAge = 0
}

func upstreamExposedHeaders() []string {
	return []string{"Content-Type", "X-Stream-Output", "X-Chunked-Output", "X-Content-Length"}
}

// corsKeys is how many keys of the section start with cors_.
const corsKeys = 6

// hasUpstreamCORS reports whether the CORS keys are, all of them, those that
// "ipfs-cluster-service init" writes. Nobody chose them, and they fail every
// preflight with Authorization or POST.
func (s *section) hasUpstreamCORS() bool {
	return slices.Equal(s.CORSAllowedOrigins, []string{"*"}) &&
		slices.Equal(s.CORSAllowedMethods, []string{http.MethodGet}) &&
		len(s.CORSAllowedHeaders) == 0 &&
		slices.Equal(s.CORSExposedHeaders, upstreamExposedHeaders()) &&
		s.CORSAllowCredentials &&
		s.CORSMaxAge == 0
}

// anyOrigin reports whether pages of every origin may call.
func (c *Config) anyOrigin() bool {
	return len(c.CORSAllowedOrigins) == 0 || slices.ContainsFunc(c.CORSAllowedOrigins, matchesAnyHost)
}

// matchesAnyHost is true for "*" and for patterns such as "https://*".
func matchesAnyHost(origin string) bool {
	before, after, pattern := strings.Cut(origin, "*")
	return pattern && after == "" &&
		(strings.HasPrefix("https://", before) || strings.HasPrefix("http://", before))
}

// CORSOptions returns what the CORS keys ask for, as far as it is safe while
// any origin is allowed:
//
//   - Pages may not use what the browser remembers of the user
//     (CORSAllowCredentials): they send a token of their own.
//   - While no credentials are configured they may only read. Else every page
//     that an operator visits could delete the pins of a service on loopback.
//
// Pages of origins that are named have no such limits. A section with exactly
// the CORS keys that ipfs-cluster 1.1.x writes by default was read as one
// without them; to really allow nothing but GET, leave one of them out or write
// any other value.
func (c *Config) CORSOptions() cors.Options {
	methods := cloneList(c.CORSAllowedMethods)
	if c.anyOrigin() && c.BasicAuthCredentials == nil {
		methods = readingMethods(methods)
	}
	return cors.Options{
		AllowedOrigins:   cloneList(c.CORSAllowedOrigins),
		AllowedMethods:   methods,
		AllowedHeaders:   cloneList(c.CORSAllowedHeaders),
		ExposedHeaders:   cloneList(c.CORSExposedHeaders),
		AllowCredentials: c.CORSAllowCredentials && !c.anyOrigin(),
		MaxAge:           int(c.CORSMaxAge / time.Second),
	}
}

// readingMethods never returns an empty list, which would stand for methods
// that write too.
func readingMethods(methods []string) []string {
	reading := slices.DeleteFunc(methods, func(m string) bool {
		return m != http.MethodGet && m != http.MethodHead && m != http.MethodOptions
	})
	if len(reading) == 0 {
		return []string{http.MethodGet, http.MethodHead}
	}
	return reading
}
