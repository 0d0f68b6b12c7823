package kubo

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// endpoint is a listening port. Its network is that of net.Listen:
// tcp4, tcp6, udp4 or udp6.
type endpoint struct {
	network, ip string
	port        int
}

// parseEndpoint reads the start of a listening multiaddress, such as
// /ip4/0.0.0.0/udp/4001/quic-v1; it is false for other kinds, which have no
// port.
func parseEndpoint(addr string) (endpoint, bool) {
	segments := strings.Split(addr, "/")
	if len(segments) < 5 {
		return endpoint{}, false
	}
	family, known := map[string]string{"ip4": "4", "ip6": "6"}[segments[1]]
	port, err := strconv.Atoi(segments[4])
	if !known || err != nil || (segments[3] != "tcp" && segments[3] != "udp") {
		return endpoint{}, false
	}
	return endpoint{segments[3] + family, segments[2], port}, true
}

// taken reports whether another program holds the endpoint. The test listens
// without SO_REUSEPORT: with it, as libp2p listens, a second node of the same
// user would share the port silently and get half of the connections.
func (e endpoint) taken() bool {
	if e.port == 0 {
		return false
	}
	address := net.JoinHostPort(e.ip, strconv.Itoa(e.port))
	var err error
	if strings.HasPrefix(e.network, "tcp") {
		var l net.Listener
		if l, err = net.Listen(e.network, address); err == nil {
			err = l.Close()
		}
	} else {
		var c net.PacketConn
		if c, err = net.ListenPacket(e.network, address); err == nil {
			err = c.Close()
		}
	}
	return isAddressInUse(err)
}

func isAddressInUse(err error) bool {
	const wsaeaddrinuse = syscall.Errno(10048)
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return false
	}
	return errno == syscall.EADDRINUSE || runtime.GOOS == "windows" && errno == wsaeaddrinuse
}

// takenPorts returns the ports of addrs that another program holds.
func takenPorts(addrs []string) map[int]bool {
	ports := map[int]bool{}
	tried := map[endpoint]bool{}
	for _, addr := range addrs {
		e, ok := parseEndpoint(addr)
		if !ok || tried[e] {
			continue
		}
		tried[e] = true
		if e.taken() {
			ports[e.port] = true
		}
	}
	return ports
}

// The range is below the ephemeral ports, which an outgoing connection could
// hold at the next start.
const (
	firstPort = 10_000
	lastPort  = 32_000
)

// movePorts returns addrs with each of the taken ports replaced by a free one,
// the same for TCP and UDP.
func movePorts(addrs []string, taken map[int]bool) ([]string, error) {
	for port := range taken {
		moved, ok := movePort(addrs, port)
		if !ok {
			return nil, fmt.Errorf("no free port was found in place of %d, which another program holds", port)
		}
		addrs = moved
	}
	return addrs, nil
}

func movePort(addrs []string, from int) ([]string, bool) {
	const tries = 100
	for range tries {
		to := firstPort + rand.IntN(lastPort-firstPort)
		if hasPort(addrs, to) {
			continue
		}
		if moved := withPort(addrs, from, to); !takenPorts(moved)[to] {
			return moved, true
		}
	}
	return nil, false
}

func hasPort(addrs []string, port int) bool {
	return slices.ContainsFunc(addrs, func(addr string) bool {
		e, ok := parseEndpoint(addr)
		return ok && e.port == port
	})
}

// withPort returns addrs with port from replaced by port to.
func withPort(addrs []string, from, to int) []string {
	moved := append([]string{}, addrs...)
	for i, addr := range moved {
		if e, ok := parseEndpoint(addr); ok && e.port == from {
			segments := strings.Split(addr, "/")
			segments[4] = strconv.Itoa(to)
			moved[i] = strings.Join(segments, "/")
		}
	}
	return moved
}
