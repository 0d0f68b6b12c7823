// Package taskgroup has groups of goroutines that end together.
package taskgroup

import (
	"context"
	"sync"
)

// Group runs goroutines until it is closed. It is safe for concurrent use.
type Group struct {
	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

// New returns an empty group.
func New() *Group {
	g := &Group{}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	return g
}

// Go runs f in a goroutine, with a context that ends with Close. It reports
// whether it did: a closed group runs nothing.
func (g *Group) Go(f func(ctx context.Context)) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.wg.Go(func() { f(g.ctx) })
	return true
}

// Close ends the context of all goroutines and waits for them. It may be called
// again.
func (g *Group) Close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.cancel()
	g.wg.Wait()
}
