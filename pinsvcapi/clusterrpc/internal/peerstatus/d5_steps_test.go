package peerstatus

import (
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// A step is an event of a row: a report, a record that is written, or time.
type step func(*trackerTest)

// reports enters a report of one peer on the record as it is.
func reports(p peer.ID, status api.TrackerStatus) step {
	return func(tt *trackerTest) { tt.observe(p, status, "", 0) }
}

func confirms(p peer.ID) step   { return reports(p, api.TrackerStatusPinned) }
func fetches(p peer.ID) step    { return reports(p, api.TrackerStatusPinning) }
func queues(p peer.ID) step     { return reports(p, api.TrackerStatusPinQueued) }
func loses(p peer.ID) step      { return reports(p, api.TrackerStatusUnexpectedlyUnpinned) }
func unpinnedAt(p peer.ID) step { return reports(p, api.TrackerStatusUnpinned) }

// fails enters failed attempts of one peer, from one number to another.
func fails(p peer.ID, from, to int) step {
	return func(tt *trackerTest) {
		for attempt := from; attempt <= to; attempt++ {
			tt.observe(p, api.TrackerStatusPinError, textRefused, attempt)
		}
	}
}

// cannotTry enters an attempt that failed for lack of an IPFS node, or of room.
func cannotTry(p peer.ID, attempt int, text string) step {
	return func(tt *trackerTest) { tt.observe(p, api.TrackerStatusPinError, text, attempt) }
}

func passes(d time.Duration) step { return func(tt *trackerTest) { tt.clock.advance(d) } }

func readded(tt *trackerTest) { tt.rewrite(time.Minute) }

func renamed(tt *trackerTest) {
	tt.rec = pinrecord.WithRequest(tt.rec, pinsvc.Pin{CID: tt.key, Name: "renamed", Meta: map[string]string{"k": "v"}})
	tt.rewrite(time.Minute)
}

func madeAgain(tt *trackerTest) {
	tt.clock.advance(time.Minute)
	pinrecord.Stamp(tt.rec, tt.clock.now())
	tt.rewrite(0)
}

func allocatedAt(minimum int, peers ...peer.ID) step {
	return func(tt *trackerTest) { tt.allocate(minimum, peers...) }
}

func members(peers ...peer.ID) step { return func(tt *trackerTest) { tt.SetMembers(peers) } }

// everyone allocates the record to all members.
func everyone(tt *trackerTest) { tt.everywhere() }

// blank is a report of a peer that has not seen the record: it has no name, no
// metadata and no allocations, and says "unpinned".
func blank(p peer.ID) step {
	return func(tt *trackerTest) {
		info := pinInfo(api.TrackerStatusUnpinned, "")
		info.Cid = tt.rec.Cid
		tt.Observe(p, tt.key, ReportOf(info))
	}
}
