package delegates

import (
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
)

func TestCache(t *testing.T) {
	var clock clusterfake.Clock
	c := NewCache(clock.Now)
	if _, ok := c.Get(1); ok {
		t.Error("an empty cache has an entry")
	}
	put := c.Put(1, []string{"/a", "/b"})
	got, ok := c.Get(1)
	if !ok || len(got.List) != 2 || got.Raw != put.Raw || got.Raw != `["/a","/b"]` {
		t.Errorf("%+v, %t", got, ok)
	}
	clock.Advance(cacheAge - 1)
	if _, ok := c.Get(1); !ok {
		t.Error("a fresh entry is not returned")
	}
	clock.Advance(1)
	if _, ok := c.Get(1); ok {
		t.Error("an old entry is returned")
	}
	c.Put(1, nil)
	c.Put(2, nil)
	c.Purge()
	for n := range uint32(3) {
		if _, ok := c.Get(n); ok {
			t.Errorf("%d is left after Purge", n)
		}
	}
	for n := range uint32(maxCached + 100) {
		c.Put(n, nil)
	}
	if n := c.entries.Len(); n != maxCached {
		t.Errorf("%d entries", n)
	}
}
