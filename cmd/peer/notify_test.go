package peer

import (
	"net"
	"path/filepath"
	"testing"
)

func TestNotify(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	noError(t, notify("READY=1")) // Nobody asked to be told.

	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	noError(t, err)
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	noError(t, notify("READY=1"))
	message := make([]byte, 64)
	n, err := socket.Read(message)
	noError(t, err)
	if got := string(message[:n]); got != "READY=1" {
		t.Errorf("systemd was told %q", got)
	}

	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	if notify("READY=1") == nil {
		t.Error("a socket that nobody listens on was taken for told")
	}
}
