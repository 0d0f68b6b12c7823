package clusterrpc

import (
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/statesync"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// pinRequest is a request to pin, as a mutation of the record that is there.
type pinRequest struct {
	key     api.Cid
	pin     pinsvc.Pin
	created time.Time
	// revision is the time of the request, if the pin is there already.
	revision time.Time
	// replaced: the pin was replaced by another, and is made anew from its record.
	replaced bool
	// replaces are the pins that this one has replaced.
	replaces []pinrecord.Replaced
	// allocations, if any, are the peers that should hold the pin; else those of the record
	// stay.
	allocations []peer.ID
	now         time.Time
}

// mutation applies the request to the record, and makes one where there is none. Replication,
// expiry and reserved metadata of an existing record stay.
func (r pinRequest) mutation() statesync.Mutation {
	return func(current statesync.Versioned) statesync.Versioned {
		rec := current.Rec
		switch {
		case !current.Found:
			rec = pinrecord.New(r.key.Cid)
		case !pinrecord.Visible(rec):
			return current // A shard, made since by another tool.
		case r.replaced, rec.ExpiredAt(r.now):
			rec.ExpireAt = time.Time{} // It was about to be removed, and is wanted again.
		}
		rec = pinrecord.WithRequest(rec, r.pin)
		pinrecord.SetReplaced(rec, r.replaces)
		if pinrecord.Unrevise(rec); !r.revision.IsZero() {
			pinrecord.Revise(rec, r.revision)
		}
		if r.allocations != nil {
			rec.Allocations = r.allocations
		}
		if !r.created.IsZero() {
			pinrecord.Stamp(rec, r.created)
		}
		return statesync.Versioned{Rec: rec, Found: true}
	}
}
