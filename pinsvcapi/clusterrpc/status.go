package clusterrpc

import (
	"fmt"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// standing is what one peer contributes to the status of a pin.
type standing uint8

const (
	// standingUnknown is a peer that nothing is known of: it did not answer,
	// and nothing that it said before is remembered.
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
	// standingWaits is a peer that failed because its IPFS node is away: it
	// will try again.
	standingWaits
	// standingGaveUp is a peer that tried and failed.
	standingGaveUp
)

// report is the standing of one peer and, where it failed, why.
type report struct {
	standing standing
	reason   string
}

// reportOf reads what a tracker says of a pin that its peer should hold.
func reportOf(info api.PinInfo) report {
	switch info.Status {
	case api.TrackerStatusPinned:
		return report{standing: standingHolds}
	case api.TrackerStatusPinning:
		return report{standing: standingWorking}
	case api.TrackerStatusUnexpectedlyUnpinned:
		return report{standing: standingLost}
	case api.TrackerStatusPinError:
		if causeOf(info.Error) == causeIPFSAway {
			return report{standing: standingWaits}
		}
		return report{standingGaveUp, reasonOf(info.Error)}
	case api.TrackerStatusClusterError, api.TrackerStatusUndefined, api.TrackerStatusSharded:
		// The tracker could not ask its IPFS node or its state.
		return report{standing: standingUnknown}
	default:
		// Unpinned and remote are the answers of a peer that has not seen
		// the pin or its allocation; an unpin under way is overtaken.
		return report{standing: standingQueued}
	}
}

// verdict is the one status of a pin (D5) and what is known beside it.
type verdict struct {
	status pinsvc.Status
	// held of the should peers that should hold the pin do so.
	held, should int
	// reason is why it failed or what it waits for; empty when nothing is
	// known.
	reason string
}

// info is what the client's human is told; nil when there is nothing to say.
func (v verdict) info() map[string]string {
	info := make(map[string]string, 2)
	if v.should > 0 {
		info["replicas"] = fmt.Sprintf("%d/%d", v.held, v.should)
	}
	if v.reason != "" {
		info["status_details"] = v.reason
	}
	if len(info) == 0 {
		return nil
	}
	return info
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

// judge makes one status of what the peers that should hold the pin report
// (D5). Peers that are not in should do not count, whatever they report; a
// peer without a report is unknown.
func judge(need int, should []peer.ID, reports map[peer.ID]report) verdict {
	v := verdict{should: len(should)}
	var working, gaveUp int
	var failure, waiting string
	for _, p := range should {
		r := reports[p]
		switch r.standing {
		case standingHolds:
			v.held++
		case standingWorking:
			working++
		case standingLost:
			working++
			waiting = firstOf(waiting, "the IPFS node of a peer lost the content, which is fetched again")
		case standingGaveUp:
			gaveUp++
			failure = firstOf(failure, r.reason, "the peer that should hold the pin failed for an unknown reason")
		case standingWaits:
			waiting = firstOf(waiting, "waiting for the IPFS node of a peer that should hold the pin")
		}
	}
	switch {
	case v.held >= need:
		v.status = pinsvc.StatusPinned
	case gaveUp > 0 && len(should)-gaveUp < need:
		v.status, v.reason = pinsvc.StatusFailed, failure
	case working > 0 || v.held > 0:
		v.status, v.reason = pinsvc.StatusPinning, waiting
	default:
		v.status, v.reason = pinsvc.StatusQueued, waiting
	}
	return v
}

// whole is the status of sharded content: that of its parts. It is failed
// when a part is, pinned when all are, and pinning once any is more than
// queued.
func whole(parts []verdict) verdict {
	total := verdict{status: pinsvc.StatusQueued}
	pinned, begun := 0, false
	for _, part := range parts {
		switch part.status {
		case pinsvc.StatusFailed:
			return verdict{status: pinsvc.StatusFailed, reason: "a part of the sharded content failed: " + part.reason}
		case pinsvc.StatusPinned:
			pinned++
			begun = true
		case pinsvc.StatusPinning:
			begun = true
		}
		total.reason = firstOf(total.reason, part.reason)
	}
	switch {
	case len(parts) > 0 && pinned == len(parts):
		return verdict{status: pinsvc.StatusPinned}
	case begun:
		total.status = pinsvc.StatusPinning
	}
	return total
}

// firstOf returns the first text that says something.
func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
