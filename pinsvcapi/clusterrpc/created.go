package clusterrpc

import (
	"hash/fnv"
	"sync"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
)

// createdLayout is how a creation time is written under keyCreated.
const createdLayout = "2006-01-02T15:04:05.000Z"

// lastSecond is the latest that is believed, in the year 9000. What a broken
// tool may write must leave room for later times of four-digit years, which
// are all that JSON can carry.
const lastSecond = 221_845_392_000

// createdOf is when a pin was made, in UTC and whole milliseconds (D2). ours
// says that the record keeps it. For pins made by other tools the second is
// that of the record, and the millisecond within it comes from a hash of the
// CID: the same on every peer, and stable until they are pinned again.
func createdOf(rec api.Pin) (created time.Time, ours bool) {
	if text, ok := ownValue(rec, keyCreated); ok {
		if t, err := time.Parse(createdLayout, text); err == nil && 0 <= t.Unix() && t.Unix() < lastSecond {
			return t.UTC(), true
		}
	}
	second := min(max(0, rec.Timestamp.Unix()), lastSecond) // Unset is the year 1.
	h := fnv.New64a()
	h.Write(rec.Cid.Bytes())
	return time.UnixMilli(second*1000 + int64(h.Sum64()%1000)).UTC(), false
}

// stamp writes a creation time into a record whose metadata is the caller's.
func stamp(rec api.Pin, created time.Time) {
	rec.Metadata[keyCreated] = withOwner(rec.Cid, created.UTC().Format(createdLayout))
}

// creation hands out creation times: each later than all that it gave out or
// saw, whatever the clock does.
type creation struct {
	now func() time.Time

	mu   sync.Mutex
	last time.Time
}

// next is now, or the millisecond after the last one when that is later.
func (c *creation) next() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.now().UTC().Truncate(time.Millisecond)
	if !t.After(c.last) {
		t = c.last.Add(time.Millisecond)
	}
	c.last = t
	return t
}

// saw tells of a creation time that the state has.
func (c *creation) saw(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.After(c.last) {
		c.last = t
	}
}
