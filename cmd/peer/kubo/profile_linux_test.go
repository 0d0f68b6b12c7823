package kubo

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A private node has no socket that could be reached, or that reaches, beyond
// this machine.
func TestProfile_PrivateHasSocketsOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	n := startNode(t, cfg)
	status := awaitRunning(t, n)
	id := ipfs(t, cfg, "id", "-f", "<id>")
	if id == "" {
		t.Fatal("no identity")
	}
	listening := 0
	for _, s := range socketsOf(t, status.PID) {
		if !s.local.Addr().IsLoopback() || !s.remote.Addr().IsLoopback() && !s.remote.Addr().IsUnspecified() {
			t.Errorf("a %s socket is at %s, connected to %s", s.network, s.local, s.remote)
		}
		listening++
	}
	if listening < 2 { // RPC and swarm
		t.Errorf("only %d sockets were found", listening)
	}
}

type socket struct {
	network       string
	local, remote netip.AddrPort
}

// socketsOf reads the internet sockets of a process from /proc.
func socketsOf(t *testing.T, pid int) []socket {
	t.Helper()
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	var inodes []string
	for _, fd := range fds {
		// A descriptor may be closed since it was listed.
		if target, err := os.Readlink(fd); err == nil && strings.HasPrefix(target, "socket:[") {
			inodes = append(inodes, strings.Trim(target, "socket:[]"))
		}
	}
	var sockets []socket
	for _, network := range []string{"tcp", "tcp6", "udp", "udp6", "raw", "raw6"} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, network))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		lines.Scan() // the heading
		for lines.Scan() {
			fields := strings.Fields(lines.Text())
			if slices.Contains(inodes, fields[9]) {
				sockets = append(sockets, socket{network, hexAddr(t, fields[1]), hexAddr(t, fields[2])})
			}
		}
	}
	return sockets
}

// hexAddr reads an address as /proc/net writes it: words of four bytes in the
// order of the machine, here little endian, and the port.
func hexAddr(t *testing.T, text string) netip.AddrPort {
	t.Helper()
	host, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	if err != nil {
		t.Fatal(err)
	}
	for word := range slices.Chunk(raw, 4) {
		slices.Reverse(word)
	}
	addr, ok := netip.AddrFromSlice(raw)
	if !ok {
		t.Fatalf("%s is no address", text)
	}
	var number uint16
	if _, err := fmt.Sscanf(port, "%x", &number); err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(addr.Unmap(), number)
}
