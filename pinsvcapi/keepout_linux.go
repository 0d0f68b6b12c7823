package pinsvcapi

import (
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// keepOut has the listener take no new connections, and keep those in its queue. To TCP it
// does so by a filter for the SYN flag: a client tries again within a second, and is
// refused by then. A file of a Unix socket is removed, as closing would.
func keepOut(l deadliner) error {
	switch l := l.(type) {
	case *net.UnixListener:
		path := l.Addr().String()
		if len(path) == 0 || path[0] == '@' {
			return errors.New("the socket is no file")
		}
		l.SetUnlinkOnClose(false) // It may be another process's by then.
		return os.Remove(path)
	case *net.TCPListener:
		raw, err := l.SyscallConn()
		if err != nil {
			return err
		}
		var failed error
		err = raw.Control(func(fd uintptr) {
			failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, withoutSYN())
		})
		return errors.Join(err, failed)
	}
	return errors.ErrUnsupported
}

// withoutSYN drops what has the SYN flag. The filter begins at the header of TCP, whose
// byte 13 has the flags.
func withoutSYN() *unix.SockFprog {
	const flags, syn, all = 13, 0x02, 0xffffffff
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: flags},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: syn, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: all},
	}
	return &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
}
