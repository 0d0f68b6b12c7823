package config

import (
	"slices"
	"strings"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/sectionconfig"
)

// basePathProblem describes what is wrong with a base path, or returns "".
// Characters that URLs encode are refused: proxies differ in the form that they
// pass on.
func basePathProblem(path string) string {
	if path == "" {
		return ""
	}
	rest, found := strings.CutPrefix(path, "/")
	if !found {
		return "does not begin with a slash; write a path such as /psa"
	}
	for segment := range strings.SplitSeq(rest, "/") {
		switch {
		case segment == "":
			return "has an empty segment (//, or a slash at its end)"
		case segment == "." || segment == "..":
			return "has a segment . or .."
		case strings.ContainsAny(segment, "?#"):
			return "has a query or a fragment; write a path such as /psa"
		case strings.ContainsFunc(segment, func(r rune) bool { return !isPathCharacter(r) }):
			return "has a character other than letters, digits and -._~"
		}
	}
	return ""
}

// isPathCharacter reports whether URLs never encode r (RFC 3986, unreserved).
func isPathCharacter(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-._~", r)
}

// validateProxy checks the keys for a service behind a proxy.
func (c *Config) validateProxy(f *sectionconfig.Faults) {
	for i, prefix := range c.TrustedProxies {
		switch addr := prefix.Addr(); {
		case !prefix.IsValid():
			f.Add("trusted_proxies", "holds an empty network")
		case addr.Is4In6():
			f.Add("trusted_proxies", "%s is an IPv4 address in IPv6 form: write it in IPv4 form", prefix)
		case prefix != prefix.Masked():
			f.Add("trusted_proxies", "%s is an address within a network: write %s or %s", prefix, addr, prefix.Masked())
		case slices.Contains(c.TrustedProxies[:i], prefix):
			f.Add("trusted_proxies", "%s is listed twice", formatNetwork(prefix))
		}
	}
	if problem := basePathProblem(c.BasePath); problem != "" && !f.Has("base_path") {
		f.Add("base_path", "%q %s", c.BasePath, problem)
	}
}
