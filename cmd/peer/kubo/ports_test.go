package kubo

import (
	"testing"
)

func TestParseEndpoint_OfSwarmAddresses(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]endpoint{
		"/ip4/0.0.0.0/tcp/4001":                        {"tcp4", "0.0.0.0", 4001},
		"/ip6/::/udp/4001/quic-v1/webtransport":        {"udp6", "::", 4001},
		"/ip4/127.0.0.1/tcp/0":                         {"tcp4", "127.0.0.1", 0},
		"/dns4/example.org/tcp/443/wss":                {},
		"/ip4/127.0.0.1/sctp/1":                        {},
		"/unix/tmp/socket":                             {},
		"/p2p-circuit":                                 {},
		"/ip4/127.0.0.1/tcp/port-that-is-not-a-number": {},
	} {
		if got, ok := parseEndpoint(addr); got != want || ok != (want != endpoint{}) {
			t.Errorf("%s: %+v (%v), want %+v", addr, got, ok, want)
		}
	}
}
