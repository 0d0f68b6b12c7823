package groupcommit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever fails, each key ends as its last write left it: a write that returned nil is made, one
// that may still take effect may be, and one with another error is not. Each key is written by one
// client, so that its history is a sequence.
func TestCommitter_Model(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		failing := rapid.SampledFrom([]int{0, 5, 30}).Draw(rt, "percent of commits that fail")
		clients := rapid.IntRange(1, 12).Draw(rt, "clients")
		watch := rapid.SampledFrom([]func(context.Context) (context.Context, Effects){watchFake, watchSilent}).Draw(rt, "effects")
		group := rapid.SampledFrom([]int{1, 3, 256}).Draw(rt, "group")
		f := newFake()
		random := rand.New(rand.NewPCG(seed, 1)) // f's lock guards it.
		f.next = func() fault {
			if random.IntN(100) >= failing {
				return faultNone
			}
			return fault(1 + random.IntN(3))
		}
		c := New(Config{
			State: f, Watch: watch, MaxGroup: group, RetryMin: 10 * time.Microsecond, RetryMax: 100 * time.Microsecond,
		})
		possible := make([][]string, clients) // the names that a key may have in the end
		var wg sync.WaitGroup
		for n := range clients {
			wg.Go(func() { possible[n] = client(c, f, n, rand.New(rand.NewPCG(seed, uint64(n+2)))) })
		}
		wg.Wait()
		f.set(func() { f.next = func() fault { return faultNone } })
		if err := c.Close(context.Background()); err != nil {
			rt.Fatal(err)
		}
		for n, names := range possible {
			got, found := f.name(keyOf(n)), false
			for _, name := range names {
				found = found || name == got
			}
			if !found {
				rt.Errorf("key %d ends as %q, its writes allow %q", n, got, names)
			}
			if f.orphans[keyOf(n).String()] {
				rt.Errorf("the value of key %d is at this peer alone", n)
			}
		}
		for _, commit := range f.commits {
			seen := make(map[string]int)
			for i, key := range commit {
				// A removal and an addition of one write stand side by side.
				if at, twice := seen[key]; twice && at != i-1 && failing == 0 {
					rt.Errorf("a key stands twice in the commit %v", commit)
				}
				seen[key] = i
			}
		}
	})
}

// client writes one key and returns what it may be in the end.
func client(c *Committer, f *fake, key int, random *rand.Rand) []string {
	possible := []string{""}
	for n := range 20 {
		if random.IntN(10) == 0 {
			f.set(func() { f.lagging[keyOf(key).String()] = true })
		}
		ctx, cancel := context.Background(), context.CancelFunc(func() {})
		if random.IntN(5) == 0 {
			ctx, cancel = context.WithTimeout(ctx, time.Duration(random.IntN(300))*time.Microsecond)
		}
		name, err := "", error(nil)
		if random.IntN(3) == 0 {
			err = c.Unpin(ctx, keyOf(key))
		} else {
			name = fmt.Sprint("version ", n)
			err = c.Pin(ctx, pinOf(key, name))
		}
		cancel()
		switch {
		case err == nil:
			possible = []string{name}
		case errors.Is(err, ErrUncertain):
			possible = append(possible, name)
		}
	}
	return possible
}
