package origins

import (
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multiaddr"
)

// recentUpdates is the number of updates that recentOrigins keeps. It bounds a
// window of microseconds.
const recentUpdates = 64

// recentOrigins keeps the origins of the last records of pins that were not
// being fetched. The pin tracker may have read an earlier record of such a pin
// and be about to start it.
type recentOrigins struct {
	origins map[cid.Cid][]multiaddr.Multiaddr
	order   []cid.Cid // Oldest first.
}

func (r *recentOrigins) put(c cid.Cid, origins []multiaddr.Multiaddr) {
	if r.origins == nil {
		r.origins = make(map[cid.Cid][]multiaddr.Multiaddr)
	}
	if _, ok := r.origins[c]; !ok {
		r.order = append(r.order, c)
	}
	r.origins[c] = origins
	if len(r.order) > recentUpdates {
		delete(r.origins, r.order[0])
		r.order = r.order[1:]
	}
}

// take removes the origins of a pin and returns them.
func (r *recentOrigins) take(c cid.Cid) []multiaddr.Multiaddr {
	origins, ok := r.origins[c]
	if !ok {
		return nil
	}
	delete(r.origins, c)
	for i, other := range r.order {
		if other.Equals(c) {
			r.order = append(r.order[:i:i], r.order[i+1:]...)
			break
		}
	}
	return origins
}
