package pinsvcapi

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// pending returns how many connections clients are making to the listener: what it has answered
// the first packet of, and not seen the last packet of the handshake. Then it looks whether
// any waits to be accepted. Connections to a Unix socket are made at once. What the kernel
// keeps in SYN cookies, during a flood, is not known.
func pending(l deadliner) (halfOpen int, waiting bool, err error) {
	if addr, ok := l.Addr().(*net.TCPAddr); ok {
		if halfOpen, err = halfOpenTo(addr.Port); err != nil {
			return 0, false, err
		}
	}
	waiting, err = acceptable(l)
	return halfOpen, waiting, err
}

// halfOpenTo counts the half-open connections to a port in the kernel's tables.
func halfOpenTo(port int) (n int, err error) {
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		in, err := os.Open(table)
		if errors.Is(err, os.ErrNotExist) && strings.HasSuffix(table, "6") {
			continue // The kernel has no IPv6.
		}
		if err != nil {
			return 0, err
		}
		more, err := countHalfOpen(bufio.NewScanner(in), port)
		logFault("closing "+table, in.Close())
		if err != nil {
			return 0, fmt.Errorf("%s: %w", table, err)
		}
		n += more
	}
	return n, nil
}

// countHalfOpen reads lines such as "0: 0100007F:1F90 0100007F:A1B2 03 ...", which are the
// number of the line, the local address, the remote one and the state.
func countHalfOpen(lines *bufio.Scanner, port int) (n int, err error) {
	const synReceived = "03"
	suffix := fmt.Sprintf(":%04X", port)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > 3 && fields[3] == synReceived && strings.HasSuffix(fields[1], suffix) {
			n++
		}
	}
	return n, lines.Err()
}

// acceptable reports whether a connection waits to be accepted.
func acceptable(l deadliner) (bool, error) {
	conn, ok := l.(syscall.Conn)
	if !ok {
		return false, errors.ErrUnsupported
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return false, err
	}
	n, failed := 0, error(nil)
	err = raw.Control(func(fd uintptr) {
		n, failed = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	})
	return n > 0, errors.Join(err, failed)
}
