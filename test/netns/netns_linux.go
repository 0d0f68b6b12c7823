package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// isolated runs the command in a network and a mount namespace of its own, so that
// tests may mount small disks. Others than root need a user namespace around them, in
// which they keep their own user ID.
func isolated(argv []string) (int, error) {
	if os.Getenv(innerEnv) != "" {
		return inner(argv)
	}
	// Of this process, only this thread moves; the command is started by it.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
		return outer(argv)
	}
	if err := errors.Join(raiseLoopback(), hideMounts()); err != nil {
		return 1, err
	}
	return run(exec.Command(argv[0], argv[1:]...))
}

// innerEnv marks the second run of this program, which is in the namespaces.
const innerEnv = "NETNS_INNER"

// outer runs this program again in a user and a network namespace, since a
// process with several threads cannot move into a user namespace itself.
func outer(argv []string) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	cmd := exec.Command(self, argv...)
	cmd.Env = append(os.Environ(), innerEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}},
		AmbientCaps: []uintptr{unix.CAP_NET_ADMIN, unix.CAP_SYS_ADMIN},
	}
	code, err := run(cmd)
	if err != nil {
		return 1, fmt.Errorf("%w (%v)", errUnavailable, err)
	}
	return code, nil
}

// inner raises loopback, gives up the capability that this took, keeps the one to
// mount disks and becomes the command.
func inner(argv []string) (int, error) {
	if err := errors.Join(raiseLoopback(), hideMounts()); err != nil {
		return 1, err
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_LOWER, unix.CAP_NET_ADMIN, 0, 0); err != nil {
		return 1, fmt.Errorf("dropping capabilities: %w", err)
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return 1, err
	}
	if err := os.Unsetenv(innerEnv); err != nil {
		return 1, err
	}
	return 1, syscall.Exec(path, argv, os.Environ())
}

// hideMounts keeps what is mounted in this namespace out of the others.
func hideMounts() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("a mount namespace of its own: %w", err)
	}
	return nil
}

// raiseLoopback sets the lo interface up, as `ip link set lo up` does.
func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("a socket to configure lo with: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req); err != nil {
		return fmt.Errorf("reading the flags of lo: %w", err)
	}
	req.SetUint16(req.Uint16() | unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("raising lo: %w", err)
	}
	return nil
}
