package clusterrpc

import (
	"fmt"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// standing is what one peer contributes to the status of a pin.
type standing uint8

const (
	// standingUnknown is a peer that nothing is known of: the pin is
	// unconfirmed there.
	standingUnknown standing = iota
	// standingQueued is a peer that has not begun, or has not heard yet.
	standingQueued
	// standingWorking is a peer that fetches the content.
	standingWorking
	// standingLost is a peer whose IPFS node had the content and lost it. It
	// will fetch it again.
	standingLost
	// standingHolds is a peer whose IPFS node has the content pinned.
	standingHolds
	// standingRewritten is a peer that held the content when the record was
	// written again. Its tracker may queue the pin, which is no news of the
	// content.
	standingRewritten
	// standingWaits is a peer that failed because its IPFS node is away or
	// stuck, or its queue full: it will try again.
	standingWaits
	// standingTrying is a peer that failed and has tries left.
	standingTrying
	// standingGaveUp is a peer that failed as often as it may. Only a
	// success or a record that is written again changes that.
	standingGaveUp
)

// answer is what a tracker said of a pin.
type answer struct {
	status   api.TrackerStatus
	text     string // of the failure
	attempts int    // that its operation has made
	written  int64  // second of the record that it speaks of; zero: not told
	since    time.Time
}

func answerOf(info api.PinInfo) answer {
	a := answer{status: info.Status, text: info.Error, attempts: info.AttemptCount, since: info.TS}
	if !info.Created.IsZero() {
		a.written = info.Created.Unix()
	}
	return a
}

// atWork reports whether the tracker means to pin, or does.
func (a answer) atWork() bool {
	return a.status == api.TrackerStatusPinQueued || a.status == api.TrackerStatusPinning
}

// standing reads the answer of a peer that should hold the pin, without regard
// to what is known of it: a failure is its first.
func (a answer) standing() standing {
	switch a.status {
	case api.TrackerStatusPinned:
		return standingHolds
	case api.TrackerStatusPinning:
		return standingWorking
	case api.TrackerStatusUnexpectedlyUnpinned:
		return standingLost
	case api.TrackerStatusPinError:
		switch causeOf(a.text) {
		case causeIPFSAway, causeTooManyPins, causeTooSlow:
			return standingWaits
		}
		if a.attempts == 0 {
			return standingUnknown // It has not tried: it failed to look.
		}
		return standingTrying
	case api.TrackerStatusClusterError, api.TrackerStatusUndefined, api.TrackerStatusSharded:
		// The tracker could not ask its IPFS node or its state.
		return standingUnknown
	default:
		// Unpinned and remote are the answers of a peer that has not seen
		// the pin or its allocation; an unpin under way is overtaken.
		return standingQueued
	}
}

// verdict is the one status of a pin (D5) and what is known beside it.
type verdict struct {
	status pinsvc.Status
	// held of the should peers that should hold the pin do so.
	held, should int
	// troubled says that there may be more to tell of single peers.
	troubled bool
	// plain is what info returns, made once. Read-only.
	plain map[string]string
	// rendered is plain as answers have it.
	rendered pinsvc.RawJSON
}

// info is what the client's human is told when there is nothing special; nil
// when there is nothing at all.
func (v verdict) info() map[string]string {
	if v.should == 0 {
		return nil
	}
	return map[string]string{"replicas": fmt.Sprintf("%d/%d", v.held, v.should)}
}

// holders are the peers that should hold a pin: its allocations, or every
// member when it is pinned everywhere.
func holders(rec api.Pin, members []peer.ID) []peer.ID {
	if everywhere(rec) {
		return members
	}
	return rec.Allocations
}

// everywhere reports whether every member should hold the pin. The direct
// pins of a sharded DAG's index and sharded roots have no allocations either.
func everywhere(rec api.Pin) bool {
	return rec.IsPinEverywhere() || rec.Type == api.MetaType || rec.Type == api.ClusterDAGType && len(rec.Allocations) == 0
}

// enough is how many of the holders make a pin pinned.
func enough(rec api.Pin) int {
	if everywhere(rec) {
		return 1
	}
	return max(1, min(rec.ReplicationFactorMin, len(rec.Allocations)))
}

// tally counts the peers that should hold a pin by their standing.
type tally struct{ should, held, working, gaveUp, troubled int }

func (t *tally) add(s standing) {
	t.should++
	switch s {
	case standingHolds, standingRewritten:
		t.held++
	case standingWorking:
		t.working++
	case standingLost, standingTrying:
		t.working++
		t.troubled++
	case standingGaveUp:
		t.gaveUp++
		t.troubled++
	case standingWaits:
		t.troubled++
	}
}

// judge makes one status of what the peers that should hold the pin report
// (D5). Nobody else may be among them.
func (t tally) judge(need int) verdict {
	v := verdict{held: t.held, should: t.should, troubled: t.troubled > 0}
	switch {
	case t.held >= need:
		v.status = pinsvc.StatusPinned
	case t.gaveUp > 0 && t.should-t.gaveUp < need:
		v.status = pinsvc.StatusFailed
	case t.working > 0 || t.held > 0:
		v.status = pinsvc.StatusPinning
	default:
		v.status = pinsvc.StatusQueued
	}
	return v
}

// whole is the status of sharded content: that of its parts. It is failed
// when a part is, pinned when all are, and pinning once any is more than
// queued.
func whole(parts []pinsvc.Status) pinsvc.Status {
	pinned, begun := 0, false
	for _, part := range parts {
		switch part {
		case pinsvc.StatusFailed:
			return pinsvc.StatusFailed
		case pinsvc.StatusPinned:
			pinned++
			begun = true
		case pinsvc.StatusPinning:
			begun = true
		}
	}
	switch {
	case len(parts) > 0 && pinned == len(parts):
		return pinsvc.StatusPinned
	case begun:
		return pinsvc.StatusPinning
	}
	return pinsvc.StatusQueued
}

// rootStanding keeps the status of sharded content as the one standing of its
// root, and rootVerdict reads it.
func rootStanding(s pinsvc.Status) standing {
	switch s {
	case pinsvc.StatusPinned:
		return standingHolds
	case pinsvc.StatusFailed:
		return standingGaveUp
	case pinsvc.StatusPinning:
		return standingWorking
	default:
		return standingQueued
	}
}

func rootVerdict(s standing) verdict {
	switch s {
	case standingHolds, standingRewritten:
		return verdict{status: pinsvc.StatusPinned}
	case standingGaveUp:
		return verdict{status: pinsvc.StatusFailed, troubled: true}
	case standingWorking:
		return verdict{status: pinsvc.StatusPinning}
	default:
		return verdict{status: pinsvc.StatusQueued}
	}
}
