package peer

import (
	"net"
	"path/filepath"
	"testing"
)

func TestNotifySystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	notifySystemd(daemonReady) // No socket, nothing to do.

	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	noError(t, err)
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	for _, state := range []string{daemonReady, daemonStopping} {
		notifySystemd(state)
		message := make([]byte, 64)
		n, err := socket.Read(message)
		noError(t, err)
		if got := string(message[:n]); got != state {
			t.Errorf("systemd got %q, want %q", got, state)
		}
	}

	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	notifySystemd(daemonReady) // Logged, and no reason to stop.
}
