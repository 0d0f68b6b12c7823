package clusterrpc

import (
	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/statesync"
)

// Event announces a change of the shared state.
type Event = statesync.Event

// EventSource announces changes of the shared state, whoever made them. A
// watch.Tracker is one. Without a source, changes by others are seen when the whole
// state is read, which is done more often then.
type EventSource interface {
	// Subscribe has f called with every event from now on until cancel is called. f is
	// called with a lock of the source held: it must return at once and must not call
	// the source.
	Subscribe(f func(Event)) (cancel func())
}

// RecordEvent is the event of a record that was written.
func RecordEvent(rec api.Pin) Event {
	return Event{CID: rec.Cid.Cid, Form: pinrecord.Form(rec)}
}

// RemovalEvent is the event of a record that was removed.
func RemovalEvent(key api.Cid) Event { return Event{CID: key.Cid, Removed: true} }
