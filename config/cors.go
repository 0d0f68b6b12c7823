package config

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rs/cors"
)

// replaceUpstreamCORS sets the CORS keys to their defaults if the file has
// them all, with exactly the values that "ipfs-cluster-service init" writes.
// No operator chose these values, and they fail every preflight request for
// Authorization or POST.
func (c *Config) replaceUpstreamCORS(given func(key string) bool) {
	for _, key := range Keys() {
		if strings.HasPrefix(key.Name, "cors_") && !given(key.Name) {
			return
		}
	}
	if !c.hasUpstreamCORS() {
		return
	}
	var defaults Config
	section().SetDefaults(&defaults)
	c.CORSAllowedOrigins = defaults.CORSAllowedOrigins
	c.CORSAllowedMethods = defaults.CORSAllowedMethods
	c.CORSAllowedHeaders = defaults.CORSAllowedHeaders
	c.CORSExposedHeaders = defaults.CORSExposedHeaders
	c.CORSAllowCredentials = defaults.CORSAllowCredentials
	c.CORSMaxAge = defaults.CORSMaxAge
}

func (c *Config) hasUpstreamCORS() bool {
	return slices.Equal(c.CORSAllowedOrigins, []string{"*"}) &&
		slices.Equal(c.CORSAllowedMethods, []string{http.MethodGet}) &&
		len(c.CORSAllowedHeaders) == 0 &&
		slices.Equal(c.CORSExposedHeaders, []string{"Content-Type", "X-Stream-Output", "X-Chunked-Output", "X-Content-Length"}) &&
		c.CORSAllowCredentials &&
		c.CORSMaxAge == 0
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

// CORSOptions returns the options of the CORS keys. While any origin is allowed,
// they are limited:
//
//   - Pages may not use credentials that the browser stores
//     (CORSAllowCredentials); they send a token of their own.
//   - While no users are configured, pages may only read. Otherwise every page
//     that an operator visits could delete the pins of a service on loopback.
//
// Pages of named origins have no such limits. A section with exactly the CORS
// keys that ipfs-cluster 1.1.x writes by default is read as one without them; to
// allow nothing but GET, leave one of them out or change any value.
func (c *Config) CORSOptions() cors.Options {
	methods := slices.Clone(c.CORSAllowedMethods)
	if c.anyOrigin() && c.BasicAuthCredentials == nil {
		methods = readingMethods(methods)
	}
	return cors.Options{
		AllowedOrigins:   slices.Clone(c.CORSAllowedOrigins),
		AllowedMethods:   methods,
		AllowedHeaders:   slices.Clone(c.CORSAllowedHeaders),
		ExposedHeaders:   slices.Clone(c.CORSExposedHeaders),
		AllowCredentials: c.CORSAllowCredentials && !c.anyOrigin(),
		MaxAge:           int(c.CORSMaxAge / time.Second),
	}
}

// readingMethods keeps the methods that change nothing. It never returns an
// empty list, which would stand for methods that write too.
func readingMethods(methods []string) []string {
	reading := slices.DeleteFunc(methods, func(m string) bool {
		return m != http.MethodGet && m != http.MethodHead && m != http.MethodOptions
	})
	if len(reading) == 0 {
		return []string{http.MethodGet, http.MethodHead}
	}
	return reading
}
