package clusterrpc

import (
	"sync"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
)

// maxExtras bounds the records whose extras are kept, about 500 bytes each.
const maxExtras = 10_000

// extra is what the view does not keep of a record.
type extra struct {
	origins []api.Multiaddr
	expires time.Time
}

func extraOf(rec api.Pin) extra { return extra{rec.Origins, rec.ExpireAt} }

// extras keeps that of the pins asked about most: clients send origins with
// every pin and then ask for each twice a second until it is pinned.
//
// An extra is as old as the entry in the view: when that is made again, it is
// dropped, and what was read before that is not taken any more.
type extras struct {
	mu    sync.Mutex
	pins  map[cid.Cid]extra
	drops uint64
}

// get returns what is kept; mark is for put.
func (e *extras) get(key cid.Cid) (x extra, mark uint64, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	x, ok = e.pins[key]
	return x, e.drops, ok
}

// put keeps what was read after mark was taken.
func (e *extras) put(key cid.Cid, x extra, mark uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if mark != e.drops {
		return
	}
	if e.pins == nil || len(e.pins) >= maxExtras {
		e.pins = make(map[cid.Cid]extra)
	}
	e.pins[key] = x
}

// drop tells that the record may be another one.
func (e *extras) drop(key cid.Cid) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.drops++
	delete(e.pins, key)
}
