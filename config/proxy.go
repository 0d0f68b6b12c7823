package config

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
)

// parseProxies reads trusted_proxies: each text is an IP address, which stands
// for itself, or a network.
func parseProxies(texts []string, f *faults) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, text := range texts {
		prefix, err := parseNetwork(text)
		if err != nil {
			f.add("trusted_proxies", "%q is not an IP address or a network such as 10.0.0.0/8", text)
			continue
		}
		prefixes = append(prefixes, prefix)
	}
	return prefixes
}

func parseNetwork(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		return netip.ParsePrefix(text)
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	if addr.Zone() != "" {
		return netip.Prefix{}, errors.New("an address with a zone") // As ParsePrefix.
	}
	return addr.Prefix(addr.BitLen())
}

// formatProxies writes a network of one address as that address.
func formatProxies(prefixes []netip.Prefix) []string {
	texts := make([]string, len(prefixes))
	for i, prefix := range prefixes {
		texts[i] = prefix.String()
		if prefix.IsSingleIP() {
			texts[i] = prefix.Addr().String()
		}
	}
	return texts
}

// parseBasePath returns the path without its last slash: "/" is the root.
func parseBasePath(text string, f *faults) string {
	path := strings.TrimSuffix(text, "/")
	if problem := basePathProblem(path); problem != "" {
		f.add("base_path", "%q %s", text, problem)
	}
	return path
}

// basePathProblem says what is wrong with a base path, or "". Characters that
// URLs encode are refused: proxies differ in the form that they pass on.
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
func (c *Config) validateProxy(f *faults) {
	for i, prefix := range c.TrustedProxies {
		switch addr := prefix.Addr(); {
		case !prefix.IsValid():
			f.add("trusted_proxies", "holds an empty network")
		case addr.Is4In6():
			f.add("trusted_proxies", "%s is an IPv4 address in IPv6 form: write it in IPv4 form", prefix)
		case prefix != prefix.Masked():
			f.add("trusted_proxies", "%s is an address within a network: write %s or %s", prefix, addr, prefix.Masked())
		case slices.Contains(c.TrustedProxies[:i], prefix):
			f.add("trusted_proxies", "%s is listed twice", formatProxies(c.TrustedProxies[i:])[0])
		}
	}
	if problem := basePathProblem(c.BasePath); problem != "" && !f.has("base_path") {
		f.add("base_path", "%q %s", c.BasePath, problem)
	}
}

// warnEveryProxy logs that every client may name an address of its choice.
func (c *Config) warnEveryProxy() {
	for _, prefix := range c.TrustedProxies {
		if prefix.Bits() == 0 {
			logger.Warnf("api.%s.trusted_proxies: %s trusts every client: each can claim any address", configKey, prefix)
		}
	}
}
