package origins

import (
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
)

// limits bound the work of a dialler. They are not configurable: what the
// origins of a pin need does not depend on the installation.
type limits struct {
	// grace is the time before the first dial of a pin. A pin whose content is
	// there already ends sooner and dials nobody.
	grace time.Duration
	// timeout bounds a dial. Relays and hole punching need several seconds.
	timeout time.Duration
	// retry is the delay before an unreachable node is dialled again.
	retry backoff.Policy
	// check is the delay before a connected node is dialled again, which
	// opens a lost connection and does nothing otherwise.
	check backoff.Policy
	// gap is the shortest time between two dials of a node.
	gap time.Duration
	// dials and dialsPerPin bound the dials in progress.
	dials, dialsPerPin int
	// nodes and addrs bound the nodes of a pin and the addresses of a node.
	// The service stores at most 20 origins, other tools any number.
	nodes, addrs int
}

func defaultLimits() limits {
	const jitter = 0.2
	return limits{
		grace:       100 * time.Millisecond,
		timeout:     15 * time.Second,
		retry:       backoff.Policy{Min: time.Second, Max: 30 * time.Second, Jitter: jitter},
		check:       backoff.Policy{Min: 10 * time.Second, Max: 10 * time.Second, Jitter: jitter},
		gap:         time.Second,
		dials:       128,
		dialsPerPin: 32,
		nodes:       64,
		addrs:       32,
	}
}
