package peerstatus

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/multiformats/go-multiaddr"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinset"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// origins are addresses with the given numbers.
func origins(numbers ...int) []api.Multiaddr {
	list := make([]api.Multiaddr, len(numbers))
	for i, n := range numbers {
		list[i] = api.NewMultiaddrWithValue(multiaddr.StringCast(fmt.Sprintf("/ip4/10.%d.%d.%d/tcp/4001", n>>16&255, n>>8&255, n&255)))
	}
	return list
}

// texts are the addresses of a set.
func (set *OriginSet) texts() (texts []string) {
	for _, addr := range set.Addrs {
		texts = append(texts, addr.String())
	}
	return texts
}

func TestOrigins_AreShared(t *testing.T) {
	s := newPlacements()
	if n := s.internOrigins(nil); n != 0 || s.originSet(0) != nil {
		t.Errorf("no origins have the number %d and the set %v", n, s.originSet(0))
	}
	one := s.internOrigins(origins(1, 2))
	if one == 0 || s.internOrigins(origins(1, 2)) != one {
		t.Error("the same list has two numbers")
	}
	seen := map[uint32]bool{one: true}
	for _, other := range [][]api.Multiaddr{origins(2, 1), origins(1), origins(1, 2, 3), origins(1, 2, 2), origins(3, 4)} {
		n := s.internOrigins(other)
		if seen[n] {
			t.Errorf("%v has the number of another list", other)
		}
		seen[n] = true
	}
	set := s.originSet(one)
	if got := set.texts(); !slices.Equal(got, []string{"/ip4/10.0.0.1/tcp/4001", "/ip4/10.0.0.2/tcp/4001"}) {
		t.Errorf("addresses %v", got)
	}
	if set.Raw != `["/ip4/10.0.0.1/tcp/4001","/ip4/10.0.0.2/tcp/4001"]` {
		t.Errorf("raw %s", set.Raw)
	}
}

func TestOrigins_MoreThanTheLimitAreCut(t *testing.T) {
	s := newPlacements()
	var numbers []int
	for n := range maxOrigins + 5 {
		numbers = append(numbers, n)
	}
	many := s.internOrigins(origins(numbers...))
	if got := len(s.originSet(many).Addrs); got != maxOrigins {
		t.Errorf("%d origins, want %d", got, maxOrigins)
	}
	if s.internOrigins(origins(numbers[:maxOrigins]...)) != many {
		t.Error("origins beyond the limit make another set")
	}
}

// originTest is a tracker with records of other tools that have origins of their
// own, as many as compact needs to act.
type originTest struct{ *trackerTest }

func newOriginTest(t *testing.T) originTest {
	ot := originTest{newTrackerTest(t)}
	for i := range compactFrom {
		ot.put(i, origins(i))
	}
	return ot
}

func (ot originTest) put(i int, list []api.Multiaddr) {
	rec := api.PinCid(api.NewCid(pinsvctest.RawCID(1000 + i)))
	rec.ReplicationFactorMin, rec.ReplicationFactorMax = -1, -1
	rec.Timestamp = time.Unix(1_700_000_000, 0)
	rec.Origins = list
	ot.PutRecord(rec, false)
}

func (ot originTest) row(i int) pinset.Pin {
	row, _ := ot.view.Get(pinsvctest.RawCID(1000 + i))
	return row
}

func TestOrigins_CompactReclaimsUnusedSets(t *testing.T) {
	ot := newOriginTest(t)
	old := ot.row(0).Origins
	ot.put(0, origins(1, 2, 3)) // Nobody has the first set any more.
	ot.put(1, nil)
	sets := ot.placements.origins.len()
	ot.Compact()
	if got := ot.placements.origins.len(); got != sets-2 {
		t.Errorf("%d sets of %d are left, two are unused", got, sets)
	}
	if got := ot.OriginSet(old).texts(); !slices.Equal(got, []string{"/ip4/10.0.0.0/tcp/4001"}) {
		t.Errorf("a page with the old number finds %v", got)
	}
	ot.put(2, origins(7, 8, 9))
	if got := ot.row(2).Origins; got == old {
		t.Error("the number is used again before the next Compact")
	}
	if n := ot.row(1).Origins; n != 0 || ot.OriginSet(n) != nil {
		t.Errorf("the row without origins has the set %d", n)
	}
}

// Numbers that rows have keep their set while records change and Compact runs.
func TestOrigins_RowsKeepTheirSetDuringCompact(t *testing.T) {
	ot := newOriginTest(t)
	done := make(chan struct{})
	var compacting sync.WaitGroup
	compacting.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				ot.Compact()
			}
		}
	})
	const writers, changes, pins = 4, 500, 20
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for change := range changes {
				ot.put(compactFrom+w*pins+change%pins, origins(change%7, w, change%3))
			}
		})
	}
	writing.Wait()
	close(done)
	compacting.Wait()
	ot.Compact()
	ot.Compact()

	for w := range writers {
		for pin := range pins {
			last := changes - pins + pin
			want := newOriginSet(origins(last%7, w, last%3)).texts()
			row := ot.row(compactFrom + w*pins + last%pins)
			if set := ot.OriginSet(row.Origins); set == nil || !slices.Equal(set.texts(), want) {
				t.Fatalf("pin %d of writer %d has the set %v, want %v", pin, w, set, want)
			}
		}
	}
	for i := range compactFrom {
		want := newOriginSet(origins(i)).texts()
		if set := ot.OriginSet(ot.row(i).Origins); set == nil || !slices.Equal(set.texts(), want) {
			t.Fatalf("pin %d has the set %v, want %v", i, set, want)
		}
	}
}
