package peer

import (
	"strings"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/cmd/peer/kubo"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Clients see the state of the managed node; only the log has the reason.
func TestNodeUnavailable(t *testing.T) {
	now := time.Now()
	addr := serverAddr(t, rpcOfID(t, firstID))
	const why = "Kubo ended: /home/me/ipfs"
	for _, test := range []struct {
		name   string
		status kubo.Status
		want   string
	}{
		{"running", runningAt(addr), ""},
		{"first start", kubo.Status{State: kubo.StateStarting, Doing: "making an IPFS repo at /home/me/ipfs"}, "the IPFS node is starting"},
		{"waiting", kubo.Status{State: kubo.StateRestarting, Err: why, NextTry: now.Add(4 * time.Second)}, "the IPFS node is restarting in 4s"},
		{"any moment", kubo.Status{State: kubo.StateRestarting, Err: why, NextTry: now.Add(10 * time.Millisecond)}, "the IPFS node is restarting in 1s"},
		{"being restarted", kubo.Status{State: kubo.StateRestarting, Err: why}, "the IPFS node is restarting"},
		{"stopping", kubo.Status{State: kubo.StateStopping}, "the IPFS node is stopping"},
	} {
		node := newScriptedNode()
		node.set(test.status)
		err := nodeUnavailable(node, now)
		got := ""
		if err != nil {
			got = pinsvc.FailureOf(err).Details
		}
		if got != test.want {
			t.Errorf("%s: details %q, want %q", test.name, got, test.want)
		}
		if test.status.Err != "" && !strings.Contains(err.Error(), why) {
			t.Errorf("%s: the log gets only %q", test.name, err)
		}
	}
}
