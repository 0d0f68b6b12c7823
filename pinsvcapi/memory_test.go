package pinsvcapi

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
)

func TestMemory_OneOwnerHasHalf(t *testing.T) {
	m := newMemory(100)
	first := m.try("a", 40)
	if first == nil || m.try("a", 11) != nil {
		t.Fatal("the share of an owner is not half")
	}
	whole := m.try("b", 1000) // Counts as a share.
	if whole == nil || m.try("c", 11) != nil || m.try("c", 10) == nil {
		t.Error("100 bytes are not what all owners have")
	}
	if first.resize(51) {
		t.Error("a lease grew beyond what is free")
	}
	if !first.resize(10) || m.try("c", 30) == nil {
		t.Error("a lease that shrank keeps its bytes")
	}
}

// Who waits for the share of its owner does not hold up others, and what is large does not hold
// up what is small.
func TestMemory_WaitersLetOthersPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(100)
		first := m.try("a", 50)
		var second *lease
		go func() { second, _ = m.wait(t.Context(), "a", 20) }()
		synctest.Wait()
		if other, err := m.wait(t.Context(), "b", 40); err != nil || other == nil {
			t.Fatal("another owner waits")
		}
		if m.try("c", 10) == nil {
			t.Error("a small one has no place beside one that waits")
		}
		first.resize(40) // The share of the owner is free for 10.
		synctest.Wait()
		if second != nil {
			t.Error("20 bytes were given where 10 are free")
		}
		first.release()
		synctest.Wait()
		if second == nil {
			t.Error("what is free was not given to the one that waits")
		}
	})
}

func TestMemory_ManyGoroutines(t *testing.T) {
	m := newMemory(1000)
	var wg sync.WaitGroup
	for g := range 50 {
		wg.Go(func() {
			for range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				if rand.IntN(3) == 0 {
					cancel()
				}
				held, err := m.wait(ctx, fmt.Sprint(g%5), int64(1+rand.IntN(300)))
				if err == nil {
					held.resize(int64(rand.IntN(300)))
					held.release()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if m.used != 0 || len(m.byOwner) != 0 || len(m.waiting) != 0 {
		t.Errorf("%d bytes, %v and %d waiters are left", m.used, m.byOwner, len(m.waiting))
	}
}
