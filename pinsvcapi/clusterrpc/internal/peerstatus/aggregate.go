package peerstatus

import (
	"fmt"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// Active are the statuses of pins that are not settled yet.
const Active = pinsvc.StatusSet(1<<pinsvc.StatusQueued | 1<<pinsvc.StatusPinning)

// Keys of info that this package renders.
const (
	infoReplicas = "replicas"
	// InfoDetails is one sentence on what is wrong with a pin.
	InfoDetails = "status_details"
)

// Summary is the one status of a pin, made from a placement and a vector.
// Summaries are shared: they are read-only.
type Summary struct {
	Status pinsvc.Status
	// Holders is how many peers should hold the pin, and Pinned how many of
	// them confirmed it and are not away.
	Pinned, Holders int
	// Failing reports whether the failure table may have details of the pin.
	Failing bool
	// Info are the pairs of info, nil when there are none, and RawInfo is
	// their JSON form.
	Info    map[string]string
	RawInfo pinsvc.RawJSON

	away string // names the holders that are away
}

func (s *Summary) render() {
	if s.Holders > 0 {
		s.Info = map[string]string{infoReplicas: fmt.Sprintf("%d/%d", s.Pinned, s.Holders)}
	}
	if s.away != "" {
		s.Info[InfoDetails] = s.away
	}
	s.RawInfo = pinsvc.RawPairs(s.Info)
}

// HoldersOf are the peers that should hold the pin of a record: its allocations,
// or every member when it is pinned everywhere.
func HoldersOf(rec api.Pin, members []peer.ID) []peer.ID {
	if Everywhere(rec) {
		return members
	}
	return rec.Allocations
}

// Everywhere reports whether every member should hold the pin of a record. The
// index of a sharded DAG and sharded roots have no allocations either.
func Everywhere(rec api.Pin) bool {
	return rec.IsPinEverywhere() || rec.Type == api.MetaType || rec.Type == api.ClusterDAGType && len(rec.Allocations) == 0
}

// RequiredReplicas is how many of the holders have to confirm a pin for it to be
// pinned (D5).
func RequiredReplicas(rec api.Pin) int {
	if Everywhere(rec) {
		return 1
	}
	return max(1, min(rec.ReplicationFactorMin, len(rec.Allocations)))
}

// counts are the holders of a pin, counted by what their state means.
// away are those of pinned that are no replica any more.
type counts struct{ holders, pinned, away, pinning, failed, failing int }

func (c *counts) add(s State) {
	c.holders++
	switch s {
	case Pinned, Rewritten:
		c.pinned++
	case Pinning:
		c.pinning++
	case Lost, Retrying:
		c.pinning++
		c.failing++
	case Failed:
		c.failed++
		c.failing++
	case Waiting:
		c.failing++
	}
}

// status is the rule of D5: pinned when enough holders confirmed it, failed when
// so many gave up that enough cannot be reached, pinning when any fetches or
// holds it, else queued.
func (c counts) status(required int) pinsvc.Status {
	switch {
	case c.pinned >= required:
		return pinsvc.StatusPinned
	case c.failed > 0 && c.holders-c.failed < required:
		return pinsvc.StatusFailed
	case c.pinning > 0 || c.pinned > 0:
		return pinsvc.StatusPinning
	default:
		return pinsvc.StatusQueued
	}
}

func (c counts) summary(required int) Summary {
	return Summary{Status: c.status(required), Pinned: c.pinned - c.away, Holders: c.holders, Failing: c.failing > 0}
}

// Count aggregates the reports of single peers for a record that is not in the
// view, such as a shard. Nothing is remembered of those, so the tracker's own
// count of attempts decides whether a peer has failed.
type Count struct{ counts counts }

// Add counts one holder. failed reports whether the holder has no attempts left.
func (c *Count) Add(r Report, maxAttempts int) (failed bool) {
	s := r.state()
	if s == Retrying && r.Attempts >= maxAttempts {
		s = Failed
	}
	c.counts.add(s)
	return s == Failed
}

// AddUnknown counts a holder that did not report.
func (c *Count) AddUnknown() { c.counts.add(Unknown) }

// Status is the status of the record.
func (c *Count) Status(rec api.Pin) pinsvc.Status { return c.counts.status(RequiredReplicas(rec)) }

// AggregateShards is the status of sharded content, made from those of its
// shards: failed when one is, pinned when all are, and pinning once any is more
// than queued.
func AggregateShards(shards []pinsvc.Status) pinsvc.Status {
	pinned, begun := 0, false
	for _, shard := range shards {
		switch shard {
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
	case len(shards) > 0 && pinned == len(shards):
		return pinsvc.StatusPinned
	case begun:
		return pinsvc.StatusPinning
	}
	return pinsvc.StatusQueued
}

// rootState stores the status of sharded content as the one state of its root;
// rootSummary reads it.
func rootState(s pinsvc.Status) State {
	switch s {
	case pinsvc.StatusPinned:
		return Pinned
	case pinsvc.StatusFailed:
		return Failed
	case pinsvc.StatusPinning:
		return Pinning
	default:
		return Queued
	}
}

func rootSummary(s State) Summary {
	switch s {
	case Pinned, Rewritten:
		return Summary{Status: pinsvc.StatusPinned}
	case Failed:
		return Summary{Status: pinsvc.StatusFailed, Failing: true}
	case Pinning:
		return Summary{Status: pinsvc.StatusPinning}
	default:
		return Summary{Status: pinsvc.StatusQueued}
	}
}
