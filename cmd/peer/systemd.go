package peer

import "github.com/coreos/go-systemd/v22/daemon"

const (
	daemonReady    = daemon.SdNotifyReady
	daemonStopping = daemon.SdNotifyStopping
)

// notifySystemd sends a state to the service manager (sd_notify(3)) when the
// manager has set NOTIFY_SOCKET. A failure is logged: a service of Type=notify
// would otherwise wait without an explanation.
func notifySystemd(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		logger.Warnf("notifying systemd: %s", err)
	}
}
