package orphans

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"go.uber.org/goleak"
)

// TestMain fails when a scanner leaves goroutines behind. Libraries of the cluster
// start some when they are loaded.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.IgnoreCurrent()) }

const (
	ours     = "ours"
	interval = 10 * time.Minute
)

// peer is an IPFS node with its pins by name, and the shared state beside it.
type peer struct {
	t *testing.T

	mu      sync.Mutex
	pins    map[cid.Cid]string
	state   map[cid.Cid]bool
	deleted map[cid.Cid]bool
	moved   map[cid.Cid]bool
	away    error // of the node
	broken  error // of removals
	scanner *Scanner
	asked   int // for single pins
	untrack int
}

func (p *peer) Recursive(_ context.Context, each func(cid.Cid) error) error {
	p.mu.Lock()
	away, pins := p.away, maps.Clone(p.pins)
	p.mu.Unlock()
	for key := range pins {
		if err := each(key); err != nil {
			return err
		}
	}
	return away
}

func (p *peer) Pinned(_ context.Context, key cid.Cid) (bool, string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	name, ok := p.pins[key]
	return ok, name, p.away
}

func (p *peer) list(_ context.Context, each func(cid.Cid)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, has := range p.state {
		if has {
			each(key)
		}
	}
	return nil
}

func (p *peer) has(_ context.Context, key cid.Cid) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state[key], nil
}

func (p *peer) knows(_ context.Context, key cid.Cid) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.deleted[key], nil
}

func (p *peer) others(_ context.Context, key cid.Cid) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.moved[key], nil
}

// Untrack removes the pin at once, or fails as the connector does.
func (p *peer) Untrack(_ context.Context, key cid.Cid) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.untrack++
	switch {
	case p.state[key]:
		return false, nil
	case p.broken != nil:
		go p.scanner.GivenUp(key, true)
	default:
		delete(p.pins, key)
	}
	return true, nil
}

func (p *peer) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// want compares which of the pins are left.
func (p *peer) want(when string, keys ...cid.Cid) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, key := range keys {
		if _, ok := p.pins[key]; !ok {
			p.t.Errorf("%s %s was removed", when, key)
		}
	}
	if len(p.pins) != len(keys) {
		p.t.Errorf("%s there are %d pins, want %d", when, len(p.pins), len(keys))
	}
}

// scanned runs f with a running scanner in a bubble of time.
func scanned(t *testing.T, name string, f func(*peer, *Scanner)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &peer{t: t, pins: make(map[cid.Cid]string), state: make(map[cid.Cid]bool), deleted: make(map[cid.Cid]bool)}
		s := New(Config{Node: p, List: p.list, Wanted: p.has, Moved: p.others, Gone: p.knows, Untrack: p.Untrack, Name: name, Interval: interval})
		p.scanner = s
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.Run(ctx)
		}()
		synctest.Wait()
		f(p, s)
		cancel()
		<-done
	})
}

func key(t *testing.T, text string) cid.Cid {
	t.Helper()
	hash, err := multihash.Sum([]byte(text), multihash.SHA2_256, -1)
	if err != nil {
		t.Fatal(err)
	}
	return cid.NewCidV1(cid.Raw, hash)
}

// after lets time pass.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// Kubo completes a pin after the request to remove it.
func TestGivenUp_APinThatComesAfterItsRemovalIsRemoved(t *testing.T) {
	scanned(t, "", func(p *peer, s *Scanner) {
		c := key(t, "late")
		s.GivenUp(c, false)
		after(500 * time.Millisecond)
		p.set(func() { p.pins[c] = "" })
		after(10 * time.Second)
		p.want("soon after")
		p.set(func() { p.pins[c] = "" })
		after(2 * time.Minute)
		p.want("once more")
		if stats := s.Stats(); stats != (Stats{Removed: 2}) {
			t.Errorf("stats %+v", stats)
		}
		p.set(func() { p.asked = 0 })
		after(10 * time.Minute)
		if p.asked != 0 {
			t.Errorf("the node is asked for ever: %d times", p.asked)
		}
	})
}

func TestGivenUp_APinThatIsMadeAgainStays(t *testing.T) {
	scanned(t, ours, func(p *peer, s *Scanner) {
		c := key(t, "again")
		s.GivenUp(c, true)
		p.set(func() { p.pins[c], p.state[c] = ours, true })
		after(time.Hour)
		p.want("later", c)
		if p.untrack != 0 {
			t.Errorf("removed %d times", p.untrack)
		}
	})
}

// A removal that failed because the node was away is made up for soon after it is back.
func TestGivenUp_IsRemovedWhenTheNodeIsBack(t *testing.T) {
	scanned(t, "", func(p *peer, s *Scanner) {
		var keys []cid.Cid
		p.set(func() { p.away = errors.New("connection refused") })
		for _, text := range strings.Split("abcdefgh", "") {
			c := key(t, text)
			keys = append(keys, c)
			p.set(func() { p.pins[c] = "" })
			s.GivenUp(c, true)
		}
		after(time.Hour)
		p.want("while it is away", keys...)
		if limit := int(time.Hour / awayDelay); p.asked > limit+2*len(keys) {
			t.Errorf("the node was asked %d times in an hour, for %d pins", p.asked, len(keys))
		}
		p.set(func() { p.away = nil })
		after(30 * time.Second)
		p.want("30 s after it is back")
	})
}

// A pin that others are to hold stays until they have it.
func TestGivenUp_APinThatOthersAreToHoldStaysUntilTheyDo(t *testing.T) {
	for _, name := range []string{ours, ""} {
		scanned(t, name, func(p *peer, s *Scanner) {
			c := key(t, "moved")
			p.set(func() { p.pins[c], p.moved = ours, map[cid.Cid]bool{c: true} })
			s.GivenUp(c, false)
			after(time.Hour)
			p.want("while they do not have it", c)
			p.set(func() { p.deleted = map[cid.Cid]bool{c: true} })
			after(keptDelay + time.Second)
			p.want("when they have it")
		})
	}
}

// A direct pin does not show among the recursive ones.
func TestGivenUp_AFailedRemovalOfADirectPinIsRepeated(t *testing.T) {
	scanned(t, "", func(p *peer, s *Scanner) {
		s.GivenUp(key(t, "direct"), true)
		after(time.Minute)
		if p.untrack != 1 {
			t.Errorf("the removal was repeated %d times", p.untrack)
		}
	})
}

func TestGivenUp_ARemovalThatFailsIsRepeated(t *testing.T) {
	scanned(t, "", func(p *peer, s *Scanner) {
		c := key(t, "full disk")
		p.set(func() { p.pins[c], p.broken = "", errors.New("no space left on device") })
		s.GivenUp(c, true)
		after(time.Hour)
		if limit := int(time.Hour/awayDelay) + 1; p.untrack < limit/2 || p.untrack > limit {
			t.Errorf("the removal was tried %d times in an hour", p.untrack)
		}
		p.set(func() { p.broken = nil })
		after(30 * time.Second)
		p.want("after there is space")
	})
}

// What a scan finds is removed only with evidence.
func TestScan_RemovesOnlyThePeersOwnDeletedPins(t *testing.T) {
	scanned(t, ours, func(p *peer, s *Scanner) {
		orphan, byHand, unknown, wanted := key(t, "orphan"), key(t, "by hand"), key(t, "unknown"), key(t, "wanted")
		p.set(func() {
			p.pins = map[cid.Cid]string{orphan: ours, byHand: "holiday", unknown: ours, wanted: ours}
			p.state[wanted] = true
			p.deleted = map[cid.Cid]bool{orphan: true, byHand: true}
		})
		after(interval)
		p.want("at first", orphan, byHand, unknown, wanted)
		after(confirmDelay + 5*time.Second)
		p.want("once confirmed", byHand, unknown, wanted)
		if stats := s.Stats(); stats != (Stats{Orphans: 2, Removed: 1}) {
			t.Errorf("stats %+v", stats)
		}
		if d := s.Details(); len(d) != 1 || !strings.Contains(d[0], "does not have: 2") {
			t.Errorf("details %q", d)
		}
		// The state becomes complete: one was deleted, the other is wanted.
		p.set(func() { p.deleted[unknown], p.state[byHand] = true, true })
		after(2*interval + time.Minute)
		p.want("in the end", byHand, wanted)
		if stats := s.Stats(); stats != (Stats{Removed: 2}) || s.Details() != nil {
			t.Errorf("stats %+v, details %q", stats, s.Details())
		}
	})
}

// Pins are made a moment before their record can be read.
func TestScan_APinThatIsBeingMadeStays(t *testing.T) {
	scanned(t, ours, func(p *peer, s *Scanner) {
		c := key(t, "fresh")
		p.set(func() { p.pins[c], p.deleted[c] = ours, true })
		after(interval + confirmDelay/2)
		p.set(func() { p.state[c] = true })
		after(time.Hour)
		p.want("later", c)
		if stats := s.Stats(); stats != (Stats{}) {
			t.Errorf("stats %+v", stats)
		}
	})
}

// Others may use a node that the peer does not manage.
func TestScan_OfAnExternalNodeOnlyTells(t *testing.T) {
	scanned(t, "", func(p *peer, s *Scanner) {
		c := key(t, "somebody's")
		p.set(func() { p.pins[c], p.deleted[c] = "", true })
		after(time.Hour)
		p.want("later", c)
		if stats := s.Stats(); stats != (Stats{Orphans: 1}) || p.asked != 0 {
			t.Errorf("stats %+v, asked for %d pins", stats, p.asked)
		}
	})
}

// A scan that fails is repeated soon, and proves nothing.
func TestScan_ThatFailsIsRepeated(t *testing.T) {
	scanned(t, ours, func(p *peer, s *Scanner) {
		c := key(t, "orphan")
		after(interval - time.Second)
		p.set(func() { p.pins[c], p.deleted[c], p.away = ours, true, errors.New("connection refused") })
		after(time.Minute)
		p.want("while the node is away", c)
		p.set(func() { p.away = nil })
		after(confirmDelay + 2*awayDelay)
		p.want("after it is back")
	})
}
