package delegates

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

const (
	// cacheAge is how long delegates are returned without a check of the addresses.
	cacheAge = 5 * time.Second
	// maxCached bounds the placements in the cache.
	maxCached = 4096
)

// Delegates of pins with one placement. They are shared: read-only.
type Delegates struct {
	List []string
	// Raw is the list in its JSON form.
	Raw pinsvc.RawJSON
}

// Cache has the delegates of placements. It is safe for concurrent use.
type Cache struct {
	now     func() time.Time
	entries *lru.Cache[uint32, cached]
}

type cached struct {
	Delegates
	until time.Time
}

// NewCache returns an empty cache.
func NewCache(now func() time.Time) *Cache {
	entries, err := lru.New[uint32, cached](maxCached)
	if err != nil {
		panic(err) // Only a size below 1 fails.
	}
	return &Cache{now, entries}
}

// Get returns the delegates of a placement if they are fresh.
func (c *Cache) Get(placement uint32) (Delegates, bool) {
	e, ok := c.entries.Get(placement)
	return e.Delegates, ok && c.now().Before(e.until)
}

// Put stores the delegates of a placement and returns them.
func (c *Cache) Put(placement uint32, list []string) Delegates {
	d := NewDelegates(list)
	c.entries.Add(placement, cached{d, c.now().Add(cacheAge)})
	return d
}

// Purge drops everything.
func (c *Cache) Purge() { c.entries.Purge() }

// NewDelegates renders a list.
func NewDelegates(list []string) Delegates { return Delegates{list, pinsvc.RawStrings(list)} }

// Len is the number of placements in the cache.
func (c *Cache) Len() int { return c.entries.Len() }
