// Package keylock has locks by key, whose waiting ends with a context.
package keylock

import (
	"context"
	"slices"
	"sync"
)

// Locks are locks by key. A lock exists while somebody holds it or waits for it, so
// that a lock that is held for long holds up nobody else. The zero value is ready for
// use.
type Locks struct {
	mu   sync.Mutex
	keys map[string]*lock
}

// lock is full while it is held.
type lock struct {
	held  chan struct{}
	users int // that hold it or wait for it
}

// Lock takes the locks of all keys and returns the function that releases them.
// They are taken in one order, so callers with the same keys in different orders
// do not block each other for ever. The error is that of the context, which ends only
// a wait: free locks are taken all the same.
func (l *Locks) Lock(ctx context.Context, keys ...string) (unlock func(), err error) {
	if len(keys) > 1 {
		keys = slices.Clone(keys)
		slices.Sort(keys)
		keys = slices.Compact(keys)
	}
	taken := 0
	unlock = func() {
		for _, key := range keys[:taken] {
			l.release(key, true)
		}
	}
	for _, key := range keys {
		k := l.use(key)
		if !k.take(ctx) {
			l.release(key, false)
			unlock()
			return nil, ctx.Err()
		}
		taken++
	}
	return unlock, nil
}

// TryLock is Lock for locks that are free: it does not wait, and reports whether it took them.
func (l *Locks) TryLock(keys ...string) (unlock func(), ok bool) {
	unlock, err := l.Lock(endedContext{}, keys...)
	return unlock, err == nil
}

// endedContext is a context that has ended.
type endedContext struct{ context.Context }

func (endedContext) Done() <-chan struct{} { return ended }
func (endedContext) Err() error            { return context.Canceled }

// ended is closed.
var ended = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// take reports whether it took the lock before the context ended.
func (k *lock) take(ctx context.Context) bool {
	select {
	case k.held <- struct{}{}:
		return true
	default:
	}
	select {
	case k.held <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// use returns the lock of a key, which stays until release.
func (l *Locks) use(key string) *lock {
	l.mu.Lock()
	defer l.mu.Unlock()
	k, ok := l.keys[key]
	if !ok {
		if l.keys == nil {
			l.keys = make(map[string]*lock)
		}
		k = &lock{held: make(chan struct{}, 1)}
		l.keys[key] = k
	}
	k.users++
	return k
}

func (l *Locks) release(key string, held bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.keys[key]
	if held {
		<-k.held
	}
	if k.users--; k.users == 0 {
		delete(l.keys, key)
	}
}
