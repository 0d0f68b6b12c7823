package keylock

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
)

func TestLocks_OneHolderOfAKey(t *testing.T) {
	l := new(Locks)
	counters := make(map[string]*int)
	for i := range 10 {
		counters[fmt.Sprint(i)] = new(int)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 1000 {
				key := fmt.Sprint(i % 10)
				unlock, err := l.Lock(t.Context(), key)
				if err != nil {
					t.Error(err)
					return
				}
				*counters[key]++
				unlock()
			}
		})
	}
	wg.Wait()
	for key, n := range counters {
		if *n != 800 {
			t.Errorf("key %s was held %d times", key, *n)
		}
	}
}

func TestLocks_CallersOfSeveralKeysDoNotBlockEachOtherForEver(t *testing.T) {
	l := new(Locks)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 500 {
				keys := []string{fmt.Sprint(j % 7), fmt.Sprint((i + j) % 5), fmt.Sprint(j % 7)}
				if i%2 == 0 {
					keys[0], keys[1] = keys[1], keys[0]
				}
				unlock, err := l.Lock(t.Context(), keys...)
				if err != nil {
					t.Error(err)
					return
				}
				unlock()
			}
		})
	}
	wg.Wait()
}

// Locks that were taken before the context ended are given back.
func TestLocks_WaitingEndsWithTheContext(t *testing.T) {
	l := new(Locks)
	unlock, err := l.Lock(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error)
	go func() {
		_, err := l.Lock(ctx, "b", "a")
		waited <- err
	}()
	cancel()
	if err := <-waited; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	for _, key := range []string{"a", "b"} {
		if key == "b" {
			unlock()
		}
		again, err := l.Lock(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		again()
	}
	if n := len(l.keys); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}

// A write that does not end has its lock until it does: no other key may wait for it.
func TestLocks_AHeldKeyHoldsUpNoOther(t *testing.T) {
	l := new(Locks)
	unlock, err := l.Lock(t.Context(), "held")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	for i := range 10_000 {
		other, err := l.Lock(t.Context(), fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		other()
	}
}

func TestLocks_NoKeys(t *testing.T) {
	unlock, err := new(Locks).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

// A lock that is held is not waited for, and what was taken before it is given back.
func TestLocks_TryLock(t *testing.T) {
	var l Locks
	first, ok := l.TryLock("b")
	if !ok {
		t.Fatal("a free lock was not taken")
	}
	if _, ok := l.TryLock("a", "b"); ok {
		t.Error("a lock was taken twice")
	}
	other, ok := l.TryLock("a")
	if !ok {
		t.Error("a lock that was taken in vain is still held")
	}
	other()
	first()
	if n := len(l.keys); n != 0 {
		t.Errorf("%d locks are left", n)
	}
}
