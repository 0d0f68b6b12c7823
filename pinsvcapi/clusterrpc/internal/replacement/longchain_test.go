package replacement

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/pinrecord"
)

// longChain is a chain of n pins in which every sixteenth of the newer half is complete. Each names
// as many before it as a request may.
func longChain(n int) (f *fixture, chain []pinrecord.Replaced) {
	f = newFixture()
	for i := range n {
		var names []pinrecord.Replaced
		for j := i - 1; j >= max(0, i-pinrecord.MaxReplaced); j-- {
			names = append(names, chain[j])
		}
		rec := made(1+i, int64(1000*(1+i)), names...)
		f.PutRecord(rec, false)
		chain = append(chain, revision(rec))
	}
	for i := n / 2; i < n-1; i += 16 {
		f.Complete(chain[i])
	}
	return f, chain
}

// What is due of a chain is found in a time that grows as the chain does: requests wait for some of
// the walks, and a client makes a chain as long as it likes.
func TestWalk_FollowsEachNameOfAChainAFewTimes(t *testing.T) {
	const most = 4 // In each direction, by the walk and by its coverage.
	for _, n := range []int{100, 400, 1600} {
		f, chain := longChain(n)
		names := 0
		for _, list := range f.named {
			names += len(list)
		}
		due, oldest, kept := f.walk(&f.graph, f.Index.pinned), f.walk(&f.graph, f.Index.pinned), f.walk(&f.graph, f.Index.pinned)
		for _, r := range chain {
			due.add(r)
		}
		oldest.add(chain[0])
		for _, r := range f.named[chain[n-1].Key] {
			kept.add(r.Replaced)
		}
		for name, w := range map[string]walk{"all": due, "the oldest": oldest, "what the last keeps": kept} {
			if w.steps > most*names {
				t.Errorf("a chain of %d, %s: %d names were followed %d times", n, name, names, w.steps)
			}
		}
		if last := n/2 + (n-2-n/2)/16*16; len(f.Due()) != last || !f.IsDue(chain[0]) || f.IsDue(chain[last]) {
			t.Errorf("a chain of %d: %d are due, want the %d before the newest that is complete", n, len(f.Due()), last)
		}
	}
}

// BenchmarkIndex_LongChain shows how the time for a chain grows with it.
func BenchmarkIndex_LongChain(b *testing.B) {
	for _, n := range []int{200, 400, 800, 1600} {
		f, chain := longChain(n)
		for name, call := range map[string]func(){
			"Due": func() { f.Due() }, "IsDue": func() { f.IsDue(chain[0]) }, "Replacing": func() { f.Replacing(chain[0]) },
			"KeptOnlyBy": func() { f.KeptOnlyBy(chain[n-1].Key) }, "Refresh": func() { f.Refresh() },
		} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				for b.Loop() {
					call()
				}
			})
		}
	}
}

// The coverage of a whole walk is that of each pin by itself.
func TestCoverage_IsThatOfEachPin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newFixture()
		var recs []pinrecord.Replaced
		for i := range rapid.IntRange(2, 12).Draw(t, "pins") {
			var names []pinrecord.Replaced
			for _, r := range recs {
				if rapid.Bool().Draw(t, "names it") {
					names = append(names, r)
				}
			}
			rec := made(1+i, int64(1000*(1+i)), names...)
			f.PutRecord(rec, false)
			recs = append(recs, revision(rec))
		}
		for _, r := range recs {
			switch rapid.IntRange(0, 5).Draw(t, "what becomes of it") {
			case 0, 1:
				f.Complete(r)
			case 2:
				f.DeleteRecord(r.Key)
			}
		}
		c := newCoverage(&f.graph)
		for _, r := range recs {
			covered := f.covered(r)
			for namer, there := range f.namers[r] {
				if _, want := covered[namer]; there && c.covers(r, namer) != want {
					t.Fatalf("%s keeps one that is complete and has replaced %s: %t, want %t", namer, r.Key, !want, want)
				}
			}
		}
	})
}
