package pinsvcapi

import (
	"context"
	"sync"
)

// memory bounds what requests of one class hold, in bytes. One owner, which is a user, or
// the address of a client where there are no users, may have half of it. Who waits holds
// nothing, and those that wait for the share of their owner let others pass.
type memory struct {
	limit, share int64

	mu      sync.Mutex
	used    int64
	byOwner map[string]int64
	waiting []*lease // in the order in which they came
}

// lease is the memory that one request holds. It belongs to the goroutine of the request.
type lease struct {
	of      *memory
	owner   string
	bytes   int64
	granted chan struct{} // closed when a lease that waits is granted
}

func newMemory(limit int64) *memory {
	return &memory{limit: limit, share: limit / 2, byOwner: make(map[string]int64)}
}

// try takes n bytes if they are free now, else it returns nil. More than a share counts as
// one.
func (m *memory) try(owner string, n int64) *lease {
	l := &lease{of: m, owner: owner, bytes: min(n, m.share)}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.fits(l.owner, l.bytes) {
		return nil
	}
	m.take(l.owner, l.bytes)
	return l
}

// wait is try that waits until the context ends.
func (m *memory) wait(ctx context.Context, owner string, n int64) (*lease, error) {
	l := &lease{of: m, owner: owner, bytes: min(n, m.share), granted: make(chan struct{})}
	m.mu.Lock()
	if m.fits(l.owner, l.bytes) {
		m.take(l.owner, l.bytes)
		m.mu.Unlock()
		return l, nil
	}
	m.waiting = append(m.waiting, l)
	m.mu.Unlock()
	select {
	case <-l.granted:
		return l, nil
	case <-ctx.Done():
		if m.giveUp(l) {
			return nil, ctx.Err()
		}
		return l, nil // It was granted this moment.
	}
}

// giveUp takes a lease out of those that wait; false: it waits no more.
func (m *memory) giveUp(l *lease) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, other := range m.waiting {
		if other == l {
			m.waiting = append(m.waiting[:i], m.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// resize makes the lease one of n bytes; false: there is no room to grow.
func (l *lease) resize(n int64) bool {
	m := l.of
	n = min(n, m.share)
	m.mu.Lock()
	defer m.mu.Unlock()
	if n > l.bytes && !m.fits(l.owner, n-l.bytes) {
		return false
	}
	m.take(l.owner, n-l.bytes)
	l.bytes = n
	m.grant()
	return true
}

// release gives everything back. A nil lease has nothing.
func (l *lease) release() {
	if l != nil {
		l.resize(0)
	}
}

// fits needs the lock, as what follows does.
func (m *memory) fits(owner string, n int64) bool {
	return m.used+n <= m.limit && m.byOwner[owner]+n <= m.share
}

func (m *memory) take(owner string, n int64) {
	m.used += n
	if m.byOwner[owner] += n; m.byOwner[owner] == 0 {
		delete(m.byOwner, owner)
	}
}

// grant gives what is free to those that wait.
func (m *memory) grant() {
	kept := m.waiting[:0]
	for _, l := range m.waiting {
		if !m.fits(l.owner, l.bytes) {
			kept = append(kept, l)
			continue
		}
		m.take(l.owner, l.bytes)
		close(l.granted)
	}
	clear(m.waiting[len(kept):])
	m.waiting = kept
}
