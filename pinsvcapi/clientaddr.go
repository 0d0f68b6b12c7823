package pinsvcapi

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// clientAddress is where a request comes from.
type clientAddress struct {
	// ip is invalid for clients that have none: those of a Unix socket and of
	// libp2p.
	ip netip.Addr
	// other is what such a client has instead: "unix", or its peer ID.
	other string
}

func (c clientAddress) String() string {
	if c.ip.IsValid() {
		return c.ip.String()
	}
	return c.other
}

// customerBits is the length of the IPv6 network that one customer of a provider
// gets at most as a rule (RIPE 690): it has all of its addresses to choose from.
const customerBits = 56

// limitKey is the client in tables of limits.
func (c clientAddress) limitKey() string {
	if c.ip.Is6() {
		if network, err := c.ip.WithZone("").Prefix(customerBits); err == nil {
			return network.String()
		}
	}
	return c.String()
}

// limitKeys are the entries that a client has in tables of limits.
type limitKeys struct {
	client string
	// shared is the connection's own address when client comes from a header that
	// may be forged, "" otherwise.
	shared string
}

// limitKeysOf are the keys of a request. A proxy on this machine that
// trusted_proxies does not name makes all its clients one: they are distinguished by
// the address that was forwarded last, so that one of them cannot use up the limit
// of the others. A remote client can forge that address if the proxy passes the
// header on unchanged, so the connection has a wider limit of its own.
func limitKeysOf(r *http.Request, client clientAddress, viaProxy bool) limitKeys {
	if !viaProxy && (client.ip.IsLoopback() || client.other == unixClient) {
		if ip, ok := forwardedFor(r.Header, nil); ok {
			return limitKeys{client: "local proxy, " + (clientAddress{ip: ip}).limitKey(), shared: client.limitKey()}
		}
	}
	return limitKeys{client: client.limitKey()}
}

// clientOf returns the address of the client behind the trusted proxies, and
// whether the connection comes from one of them.
//
// A connection over a Unix socket is local, so it counts as one from
// 127.0.0.1. One over libp2p comes from a peer and never from a proxy.
func clientOf(r *http.Request, trusted []netip.Prefix) (client clientAddress, viaProxy bool) {
	client = connectedClient(r)
	proxy := client.ip
	if client.other == unixClient {
		proxy = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if !isTrusted(proxy, trusted) {
		return client, false
	}
	if ip, ok := forwardedFor(r.Header, trusted); ok {
		return clientAddress{ip: ip}, true
	}
	return client, true
}

const unixClient = "unix"

// connectedClient is the other end of the connection.
func connectedClient(r *http.Request) clientAddress {
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && local.Network() == "unix" {
		return clientAddress{other: unixClient}
	}
	if addr, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		return clientAddress{ip: addr.Addr().Unmap()}
	}
	return clientAddress{other: r.RemoteAddr} // A peer ID.
}

func isTrusted(ip netip.Addr, trusted []netip.Prefix) bool {
	return slices.ContainsFunc(trusted, func(network netip.Prefix) bool { return network.Contains(ip.WithZone("")) })
}

// forwardedFor reads the client's address from the headers of a trusted proxy.
//
// A proxy writes X-Forwarded-For or Forwarded (RFC 7239) and passes the other
// one on as the client sent it. When both are there and differ, one of them
// may be forged and none is used.
func forwardedFor(h http.Header, trusted []netip.Prefix) (netip.Addr, bool) {
	byX, okX := lastUntrusted(xForwardedFor(h), trusted)
	byF, okF := lastUntrusted(forwardedNodes(h), trusted)
	switch {
	case okX && okF:
		return byX, byX == byF
	case okX:
		return byX, len(h.Values("Forwarded")) == 0
	default:
		return byF, okF && len(h.Values("X-Forwarded-For")) == 0
	}
}

// lastUntrusted walks from the right, where the nearest proxy has written, to
// the first address that is no trusted proxy. What is left of that address the
// client may have forged. An entry that is no address ends the walk; then the
// last address before it is the best that is known.
func lastUntrusted(nodes []string, trusted []netip.Prefix) (client netip.Addr, ok bool) {
	for _, node := range slices.Backward(nodes) {
		ip, err := parseNode(node)
		if err != nil {
			break
		}
		client, ok = ip, true
		if !isTrusted(ip, trusted) {
			break
		}
	}
	return client, ok
}

// parseNode reads an address with or without a port, IPv6 in brackets or not.
func parseNode(node string) (netip.Addr, error) {
	node = strings.TrimSpace(node)
	if addr, err := netip.ParseAddrPort(node); err == nil {
		return addr.Addr().Unmap(), nil
	}
	if inner, ok := strings.CutPrefix(node, "["); ok {
		node = strings.TrimSuffix(inner, "]")
	}
	ip, err := netip.ParseAddr(node)
	return ip.Unmap(), err
}

func xForwardedFor(h http.Header) []string {
	return splitList(h.Values("X-Forwarded-For"))
}

// forwardedNodes are the for parameters of Forwarded, one per hop. A hop
// without one is an empty text, which is no address.
func forwardedNodes(h http.Header) []string {
	var nodes []string
	for _, hop := range splitList(h.Values("Forwarded")) {
		node := ""
		for pair := range strings.SplitSeq(hop, ";") {
			if name, value, _ := strings.Cut(pair, "="); strings.EqualFold(strings.TrimSpace(name), "for") {
				node = strings.Trim(strings.TrimSpace(value), `"`)
			}
		}
		nodes = append(nodes, node)
	}
	return nodes
}

// splitList joins the values of a header, each a list with commas. Commas in
// quoted texts are not expected: addresses have none.
func splitList(values []string) []string {
	if len(values) == 0 {
		return nil
	}
	return strings.Split(strings.Join(values, ","), ",")
}
