package crdtstore

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// Three replicas add, rename and delete few keys at once, hear of each other in any order,
// and are killed anywhere in between. In the end they have the same values, and each key
// the value of its elements.
func TestStore_ConvergesThroughKills(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			replicas := make([]*replica, 3)
			for i := range replicas {
				replicas[i] = start(t, newDisk(), false)
			}
			kills := 0
			for range 25 {
				for i, r := range replicas {
					for j, other := range replicas {
						if i != j {
							r.reach(other)
						}
					}
				}
				victim := -1
				if random.IntN(2) == 0 {
					victim = random.IntN(len(replicas))
					replicas[victim].disk.killAfter(random.IntN(30))
					kills++
				}
				round(random, replicas)
				if victim >= 0 {
					replicas[victim] = replicas[victim].restart()
				}
			}
			agree(t, replicas)
			for i, r := range replicas {
				// A root that was walked from another one keeps its mark until a restart.
				if marks := r.disk.marks(t); slices.ContainsFunc(marks, func(m string) bool { return strings.HasPrefix(m, openPrefix) }) {
					t.Errorf("replica %d has branches left: %q", i, marks)
				}
				for k := range keysOfRound {
					key := fmt.Sprint("key", k)
					value, _, err := r.store.best(t.Context(), key, nil)
					noError(t, err)
					if got, ok := r.values()["/"+key]; ok != (value != nil) || got != string(value) {
						t.Errorf("replica %d has %q for %s, its elements make %q", i, got, key, value)
					}
				}
			}
			for i, r := range replicas {
				before := r.values()
				replicas[i] = r.restart()
				if marks, after := replicas[i].disk.marks(t), replicas[i].values(); len(marks) > 0 || !maps.Equal(before, after) {
					t.Errorf("replica %d after a restart: marks %q, %v became %v", i, marks, before, after)
				}
			}
			agree(t, replicas)
			t.Logf("%d kills, %d values", kills, len(replicas[0].values()))
		})
	}
}

const keysOfRound = 5

// round has all replicas write and hear of each other at once. What a killed one refuses
// is not looked at.
func round(random *rand.Rand, replicas []*replica) {
	var wg sync.WaitGroup
	for i, r := range replicas {
		for range 1 + random.IntN(3) {
			key, value, del := fmt.Sprint("key", random.IntN(keysOfRound)), fmt.Sprint(i, random.Uint32()), random.IntN(3) == 0
			wg.Go(func() {
				if del {
					_ = r.delete(key)
				} else {
					_ = r.put(key, value)
				}
			})
		}
		if other := replicas[random.IntN(len(replicas))]; other != r {
			wg.Go(func() { r.hear(other.heads()) })
		}
	}
	wg.Wait()
}

// agree has replicas tell each other their heads until they have the same values.
func agree(t *testing.T, replicas []*replica) {
	t.Helper()
	for i, r := range replicas {
		for j, other := range replicas {
			if i != j {
				r.reach(other)
			}
		}
	}
	await.Success(t, "all have the same", func() error {
		for _, r := range replicas {
			for _, other := range replicas {
				if r != other {
					r.hear(other.heads())
				}
			}
		}
		for i, r := range replicas[1:] {
			if a, b := replicas[0].values(), r.values(); !maps.Equal(a, b) {
				return fmt.Errorf("0 has %v, %d has %v", a, i+1, b)
			}
		}
		for i, r := range replicas {
			if r.crdt.IsDirty(t.Context()) || r.store.Unfinished() > 0 {
				return fmt.Errorf("replica %d is dirty, %d branches", i, r.store.Unfinished())
			}
		}
		return nil
	})
}
