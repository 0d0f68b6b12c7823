package pinsvc

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"

	"github.com/ipfs/go-cid"
)

// maxNamedCID bounds the CIDs that an error repeats in full.
const maxNamedCID = 128

// notCID explains a text that is no CID: users paste paths and URLs.
func notCID(s string, err error) error {
	address, ok := parseContentAddress(s)
	switch {
	case ok && address.mutable:
		return fmt.Errorf("%s is an IPNS name, which can point to other content later; "+
			"resolve it first with `ipfs resolve -r /ipns/<name>`, and send the CID that it points to", quote(s))
	case ok && address.below:
		return fmt.Errorf("%s is a path below a CID; resolve it first with `ipfs resolve -r /ipfs/<path>`, "+
			"and send the CID that it points to", quote(s))
	case ok && len(address.root) <= maxNamedCID:
		return fmt.Errorf("%s is a path or an address; send its CID alone: %s", quote(s), address.root)
	case ok:
		return fmt.Errorf("%s is a path or an address; send its CID alone", quote(s))
	case strings.HasPrefix(s, "12D3KooW") || strings.HasPrefix(s, "16Uiu2HA"):
		return fmt.Errorf("%s is a peer ID and no CID; if content is published under it, "+
			"resolve it first with `ipfs name resolve`, and send the CID that it points to", quote(s))
	case isDomain(s):
		return fmt.Errorf("%s is not a CID; if it is a domain name that points to content (DNSLink), "+
			"resolve it first with `ipfs resolve -r /ipns/<name>`, and send the CID that it points to", quote(s))
	case strings.Contains(s, "/"):
		return fmt.Errorf("%s is a path or an address; send the CID of the content", quote(s))
	default:
		return fmt.Errorf("%s is not a CID: %w", quote(s), err)
	}
}

// contentAddress is what a path or a URL points to.
type contentAddress struct {
	// root is the text of the CID; empty if mutable.
	root string
	// below reports whether a path goes on below the root.
	below bool
	// mutable reports whether the address begins with an IPNS or DNSLink name.
	mutable bool
}

// parseContentAddress reads paths (/ipfs/CID/a, ipfs/CID, CID/a, CID?a, CID#a),
// native URLs (ipfs://CID/a, ipns://name) and the URLs of gateways, with the CID
// in the path or in the name of the host, with or without https://.
func parseContentAddress(s string) (contentAddress, bool) {
	for _, scheme := range []string{"ipfs:", "ipns:", "dweb:", "web3:"} {
		if len(s) > len(scheme) && strings.EqualFold(s[:len(scheme)], scheme) {
			rest := strings.TrimLeft(s[len(scheme):], "/")
			if address, ok := parsePath(rest); ok { // dweb:/ipfs/CID, ipfs://ipfs/CID
				return address, true
			}
			return parsePath(strings.ToLower(scheme[:4]) + "/" + rest)
		}
	}
	if strings.Contains(s, "://") {
		return parseGatewayURL(s)
	}
	path := strings.TrimLeft(s, "/")
	if address, ok := parsePath(path); ok {
		return address, true
	}
	if address, ok := parsePath("ipfs/" + path); ok {
		return address, true
	}
	return parseGatewayURL("https://" + path)
}

// parseGatewayURL reads the URL of a gateway.
func parseGatewayURL(s string) (contentAddress, bool) {
	u, err := url.Parse(s)
	if err != nil {
		return contentAddress{}, false
	}
	if address, ok := parsePath(strings.TrimLeft(u.EscapedPath(), "/")); ok {
		return address, true
	}
	label, host, _ := strings.Cut(u.Hostname(), ".")
	if kind, _, ok := strings.Cut(host, "."); ok && (kind == "ipfs" || kind == "ipns") {
		return parsePath(kind + "/" + label + u.EscapedPath())
	}
	return contentAddress{}, false
}

// parsePath reads a path without the slash before it.
func parsePath(path string) (contentAddress, bool) {
	kind, rest, _ := strings.Cut(path, "/")
	rest, _, _ = strings.Cut(rest, "?")
	rest, _, _ = strings.Cut(rest, "#")
	root, below, _ := strings.Cut(rest, "/")
	if root == "" {
		return contentAddress{}, false
	}
	switch kind {
	case "ipns":
		return contentAddress{mutable: true}, true
	case "ipfs", "ipld":
		c, err := cid.Decode(root)
		if err != nil {
			return contentAddress{}, false
		}
		if c.Prefix().Codec == cid.Libp2pKey {
			return contentAddress{mutable: true}, true
		}
		return contentAddress{root: root, below: strings.Trim(below, "/") != ""}, true
	default:
		return contentAddress{}, false
	}
}

// isDomain reports whether the text begins with the name of a host, such as
// docs.ipfs.tech, which may be followed by a port and a path.
func isDomain(s string) bool {
	if strings.Contains(s, "://") {
		return false
	}
	u, err := url.Parse("https://" + s)
	if err != nil || u.User != nil {
		return false
	}
	labels := strings.Split(strings.TrimSuffix(u.Hostname(), "."), ".")
	for _, label := range labels {
		if label == "" || strings.ContainsFunc(label, func(r rune) bool { return !isLabelRune(r) }) {
			return false
		}
	}
	top := labels[len(labels)-1]
	return len(labels) > 1 && len(top) > 1 && (top[0] < '0' || top[0] > '9')
}

// isLabelRune is true for letters, those of other languages too, digits and the
// hyphen and the underline of names.
func isLabelRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_'
}
