package peer

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	ipfscluster "github.com/ipfs-cluster/ipfs-cluster"
	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"
)

// batchingConsensus makes changes when it is told to, as one with batching
// does, and notes what was made when it was shut down.
type batchingConsensus struct {
	ipfscluster.Consensus
	state.ReadOnly

	mu        sync.Mutex
	queue     []func()
	pins      map[api.Cid]api.Pin
	ended     int // requests that were over when their change was made
	looked    chan struct{}
	leftAtEnd int
	down      bool
}

func newBatchingConsensus() *batchingConsensus {
	return &batchingConsensus{pins: make(map[api.Cid]api.Pin), looked: make(chan struct{}, 1)}
}

func (c *batchingConsensus) enqueue(ctx context.Context, change func()) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, func() {
		if ctx.Err() != nil {
			c.ended++
			return
		}
		change()
	})
	return nil
}

func (c *batchingConsensus) LogPin(ctx context.Context, pin api.Pin) error {
	return c.enqueue(ctx, func() { c.pins[pin.Cid] = pin })
}

func (c *batchingConsensus) LogUnpin(ctx context.Context, pin api.Pin) error {
	return c.enqueue(ctx, func() { delete(c.pins, pin.Cid) })
}

func (c *batchingConsensus) commit() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, change := range c.queue {
		change()
	}
	c.queue = nil
}

func (c *batchingConsensus) State(context.Context) (state.ReadOnly, error) { return c, nil }

func (c *batchingConsensus) Get(_ context.Context, key api.Cid) (api.Pin, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case c.looked <- struct{}{}:
	default:
	}
	pin, ok := c.pins[key]
	if !ok {
		return api.Pin{}, state.ErrNotFound
	}
	return pin, nil
}

func (c *batchingConsensus) Shutdown(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down, c.leftAtEnd = true, len(c.queue)
	return nil
}

func batchedPin(t *testing.T, text string) api.Pin {
	t.Helper()
	sum, err := mh.Sum([]byte(text), mh.SHA2_256, -1)
	if err != nil {
		t.Fatal(err)
	}
	return api.PinCid(api.NewCid(cid.NewCidV1(cid.Raw, sum)))
}

// A request is over before the batch is made that its change is in.
func TestBatchingCRDT_ChangesOutliveTheirRequests(t *testing.T) {
	t.Parallel()
	inner := newBatchingConsensus()
	b := &batchingCRDT{Consensus: inner, maxAge: time.Hour}
	ctx, cancel := context.WithCancel(t.Context())
	if err := errors.Join(b.LogPin(ctx, batchedPin(t, "a")), b.LogUnpin(ctx, batchedPin(t, "b"))); err != nil {
		t.Fatal(err)
	}
	cancel()
	inner.commit()
	if inner.ended != 0 || len(inner.pins) != 1 {
		t.Errorf("%d changes were lost with their requests, %d pins are left of one", inner.ended, len(inner.pins))
	}
}

func TestBatchingCRDT_ShutdownCommitsTheBatch(t *testing.T) {
	t.Parallel()
	for name, last := range map[string]func(*batchingCRDT, api.Pin) error{
		"ends with a pin":    func(b *batchingCRDT, pin api.Pin) error { return b.LogPin(context.Background(), pin) },
		"ends with an unpin": func(b *batchingCRDT, pin api.Pin) error { return b.LogUnpin(context.Background(), pin) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inner := newBatchingConsensus()
			b := &batchingCRDT{Consensus: inner, maxAge: time.Minute}
			pin := batchedPin(t, name)
			other := pin
			other.Name = "before"
			inner.pins[pin.Cid] = other
			if err := errors.Join(b.LogPin(t.Context(), batchedPin(t, "first")), last(b, pin)); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- b.Shutdown(context.Background()) }()
			<-inner.looked // It waits for the change.
			if err := b.LogPin(t.Context(), pin); !errors.Is(err, errBatchClosed) {
				t.Errorf("a change while shutting down: %v", err)
			}
			inner.commit()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if inner.leftAtEnd != 0 {
				t.Errorf("it was shut down with %d changes to be made", inner.leftAtEnd)
			}
		})
	}
}

// The wait is bounded, and there is none for what was made long ago.
func TestBatchingCRDT_ShutdownDoesNotWaitForever(t *testing.T) {
	t.Parallel()
	inner := newBatchingConsensus()
	b := &batchingCRDT{Consensus: inner, maxAge: time.Millisecond}
	if err := b.LogPin(t.Context(), batchedPin(t, "never made")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Shutdown(ctx) }()
	<-inner.looked
	cancel()
	if err := <-done; err != nil || !inner.down {
		t.Errorf("shut down: %t, %v", inner.down, err)
	}

	old := newBatchingConsensus()
	b = &batchingCRDT{Consensus: old, maxAge: time.Second, last: submission{pin: batchedPin(t, "old"), at: time.Now().Add(-time.Minute)}}
	if err := b.Shutdown(t.Context()); err != nil || !old.down {
		t.Errorf("shut down: %t, %v", old.down, err)
	}
	if len(old.looked) != 0 {
		t.Error("it waits for what was made long ago")
	}
}
