// Package keylock has locks by key: a fixed number of them, shared by all keys,
// whose waiting ends with a context.
package keylock

import (
	"context"
	"hash/maphash"
	"slices"
)

// Locks are striped locks: two keys may share one, and one key always has the
// same. Create them with New.
type Locks struct {
	seed  maphash.Seed
	locks []chan struct{}
}

// New returns n locks.
func New(n int) *Locks {
	l := &Locks{seed: maphash.MakeSeed(), locks: make([]chan struct{}, n)}
	for i := range l.locks {
		l.locks[i] = make(chan struct{}, 1)
	}
	return l
}

// Lock takes the locks of all keys and returns the function that releases them.
// They are taken in one order, so callers with the same keys in different orders
// do not block each other for ever. The error is that of the context.
func (l *Locks) Lock(ctx context.Context, keys ...string) (unlock func(), err error) {
	var stripes []int
	for _, key := range keys {
		stripes = append(stripes, int(maphash.String(l.seed, key)%uint64(len(l.locks))))
	}
	slices.Sort(stripes)
	stripes = slices.Compact(stripes)
	taken := 0
	unlock = func() {
		for _, i := range stripes[:taken] {
			<-l.locks[i]
		}
	}
	for _, i := range stripes {
		select {
		case l.locks[i] <- struct{}{}:
			taken++
		case <-ctx.Done():
			unlock()
			return nil, ctx.Err()
		}
	}
	return unlock, nil
}
