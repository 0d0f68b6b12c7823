package faults

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace and the thread of this process that lives in
// it. Processes that the thread starts and sockets that it opens belong to the
// namespace.
type namespace struct {
	addr  netip.Addr
	tun   *os.File
	calls chan func()
}

// tunName is the interface that leads to the other namespaces.
const tunName = "link0"

// mtu is that of the links. No packet is split by the switch.
const mtu = 9000

// dialTimeout bounds a connection within a namespace.
const dialTimeout = 5 * time.Second

// newNamespace makes a namespace that has loopback and one interface with the
// address. The packets that are sent through the interface are read from tun,
// and those that are written to tun arrive there.
func newNamespace(addr netip.Addr) (*namespace, error) {
	n := &namespace{addr: addr, calls: make(chan func())}
	made := make(chan error)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and takes the
		// processes that it started with it.
		runtime.LockOSThread()
		err := n.enter()
		made <- err
		if err != nil {
			return
		}
		for call := range n.calls {
			call()
		}
	}()
	if err := <-made; err != nil {
		return nil, fmt.Errorf("making a network namespace: %w", err)
	}
	return n, nil
}

// do runs f on the thread of the namespace. f must not wait for long.
func (n *namespace) do(f func() error) error {
	done := make(chan error, 1)
	n.calls <- func() { done <- f() }
	return <-done
}

// dial connects within the namespace.
func (n *namespace) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	return conn, n.do(func() error {
		dialer := net.Dialer{Timeout: dialTimeout}
		conn, err = dialer.DialContext(ctx, network, address)
		return err
	})
}

func (n *namespace) close() error {
	close(n.calls)
	return n.tun.Close()
}

func (n *namespace) enter() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening /dev/net/tun: %w", err)
	}
	if err := n.configure(fd); err != nil {
		_ = unix.Close(fd)
		return err
	}
	// Not before it has an interface: until then it cannot be waited for.
	n.tun = os.NewFile(uintptr(fd), "/dev/net/tun")
	return nil
}

// configure sets up lo and the tun interface.
func (n *namespace) configure(tun int) error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(socket) }()
	for _, step := range []struct {
		name    string
		fd      int
		request uint
		set     func(*unix.Ifreq) error
	}{
		{"lo", socket, unix.SIOCSIFFLAGS, flags(unix.IFF_UP | unix.IFF_RUNNING)},
		{tunName, tun, unix.TUNSETIFF, flags(unix.IFF_TUN | unix.IFF_NO_PI)},
		{tunName, socket, unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(n.addr.AsSlice()) }},
		{tunName, socket, unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 0}) }},
		{tunName, socket, unix.SIOCSIFMTU, func(r *unix.Ifreq) error { r.SetUint32(mtu); return nil }},
		{tunName, socket, unix.SIOCSIFFLAGS, flags(unix.IFF_UP | unix.IFF_RUNNING)},
	} {
		req, err := unix.NewIfreq(step.name)
		if err != nil {
			return err
		}
		if err := step.set(req); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(step.fd, step.request, req); err != nil {
			return fmt.Errorf("setting up %s (request %#x): %w", step.name, step.request, err)
		}
	}
	return nil
}

func flags(f uint16) func(*unix.Ifreq) error {
	return func(r *unix.Ifreq) error { r.SetUint16(f); return nil }
}
