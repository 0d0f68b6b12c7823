package pinsvcapi

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// checkHost refuses requests with a foreign Host header while there are no
// users. Such a service listens on loopback only, but a page in a browser on
// the same machine reaches it under a name of its own that it lets resolve to
// 127.0.0.1 (DNS rebinding); CORS does not apply to that, because for the
// browser the page and the service are one site.
//
// Connections over Unix sockets and libp2p are exempt: browsers have neither.
func (api *API) checkHost(rq *request, r *http.Request) error {
	if rq.users.auth != nil || api.cfg.AllowUnauthenticated {
		return nil
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok || isOwnHost(r.Host, local) {
		return nil
	}
	return pinsvc.Errorf(pinsvc.KindForbidden, "the Host header %q is not an address of this computer, and a service without users "+
		"is for programs on this computer only: use http://%s, or set basic_auth_credentials (users), or "+
		"allow_unauthenticated if a proxy in front decides who may call", clip(r.Host), local)
}

// isOwnHost is true for loopback addresses, localhost and the address of the
// connection, with any port. Programs that speak HTTP/1.0 send no Host;
// browsers always do.
func isOwnHost(host string, local *net.TCPAddr) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.Trim(name, "[]"), ".")
	if name == "" || strings.EqualFold(name, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(name)
	if err != nil {
		return false
	}
	return ip.Unmap().IsLoopback() || ip.Unmap() == local.AddrPort().Addr().Unmap()
}
