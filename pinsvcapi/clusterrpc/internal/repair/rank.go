// Package repair does what has to be done for pins without a request: it has peers
// retry what failed, what their IPFS node lost and what waited for it, and writes back
// reserved metadata that other tools removed.
//
// Of the peers that could do it, the one closest to the pin does it (rendezvous
// hashing); the others follow, each after a time, in case it does not.
package repair

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
)

// slotTime is how long a peer leaves a repair to each peer that is closer to the pin.
const slotTime = 30 * time.Second

// Rank is how many of the peers, as far as they are reachable, are closer to a pin than
// self. A peer that is not among them comes after them all.
func Rank(key cid.Cid, self peer.ID, peers []peer.ID, unreachable func(peer.ID) bool) int {
	if !slices.Contains(peers, self) {
		return len(peers)
	}
	rank := 0
	own := distance(key, self)
	for _, p := range peers {
		if d := distance(key, p); p != self && bytes.Compare(d[:], own[:]) < 0 && !unreachable(p) {
			rank++
		}
	}
	return rank
}

// distance is between a pin and a peer, the same on every peer.
func distance(key cid.Cid, p peer.ID) [sha256.Size]byte {
	d, other := sha256.Sum256(key.Bytes()), sha256.Sum256([]byte(p))
	for i := range d {
		d[i] ^= other[i]
	}
	return d
}
