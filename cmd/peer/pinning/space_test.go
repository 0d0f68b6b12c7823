package pinning

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
)

const full = "write /ipfs/blocks/.temp/temp-1: no space left on device"

// disk is a node whose storage is full, with so many free bytes of its disk.
func disk(t *testing.T, free *atomic.Uint64) (*node, *Connector) {
	t.Helper()
	n := newNode(t, failsLate(full))
	n.size, n.repo = "100000000", 60_000_000
	c := n.connector(func(cfg *Config) {
		cfg.Storage = NewStorage(cfg.RPC, func() (uint64, bool) { return free.Load(), true })
	})
	return n, c
}

func wantFull(t *testing.T, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), full) {
		t.Errorf("want the node's own reason, got %v", err)
	}
}

func TestSpace_NoDownloadThatCannotFitIsBegunAgain(t *testing.T) {
	var free atomic.Uint64
	n, c := disk(t, &free)
	pin := pinOf(t, content)
	wantFull(t, c.Pin(t.Context(), pin))
	if d := c.Details(); len(d) != 1 || !strings.HasPrefix(d[0], "storage full") {
		t.Errorf("details %q", d)
	}
	for _, bytes := range []uint64{0, 50_000_000, 100_000_000} {
		free.Store(bytes)
		wantFull(t, c.Pin(t.Context(), pin))
		if n.added() != 1 {
			t.Fatalf("with %d bytes free the download of 100 MB was begun again", bytes)
		}
		if ready := c.space.ready(t.Context()); len(ready) != 0 {
			t.Errorf("with %d bytes free it is said to fit", bytes)
		}
	}
	free.Store(120_000_000)
	if ready := c.space.ready(t.Context()); !slices.Equal(ready, []cid.Cid{pin.Cid.Cid}) {
		t.Errorf("with space these are tried again: %v", ready)
	}
	n.set(func() { n.add = n.pinning(pin.Cid.Cid) })
	if err := c.Pin(t.Context(), pin); err != nil {
		t.Error(err)
	}
	n.set(func() { n.note = func(w http.ResponseWriter, _ *http.Request) { sends(w, `{}`) } })
	c.checkFull(t.Context())
	if d := c.Details(); d != nil {
		t.Errorf("details after the success: %q", d)
	}
}

// pinning pins the content.
func (n *node) pinning(key cid.Cid) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		n.set(func() { n.pinned[key] = true })
		sends(w, `{"Pins":[]}`)
	}
}

// What was fetched before need not be fetched again, unless it left the repo.
func TestSpace_CountsWhatIsThereAlready(t *testing.T) {
	var free atomic.Uint64
	n, c := disk(t, &free)
	pin := pinOf(t, content)
	n.set(func() {
		n.add = func(w http.ResponseWriter, _ *http.Request) {
			sends(w, `{"Progress":9,"Bytes":90000000}`)
			w.Header().Set("X-Stream-Error", full)
		}
	})
	wantFull(t, c.Pin(t.Context(), pin))
	free.Store(20_000_000)
	if ready := c.space.ready(t.Context()); len(ready) != 1 {
		t.Error("it does not fit with 20 MB free for the last 10 MB")
	}
	n.set(func() { n.repo -= 20_000_000 }) // Garbage collection.
	if ready := c.space.ready(t.Context()); len(ready) != 0 {
		t.Error("20 MB left the repo and are to be fetched again")
	}
}

// Somebody else filled the disk during a try and left a little less than there had been: the pin, of
// some bytes, waited for more for ever.
func TestSpace_WhatOthersTookIsNotNeeded(t *testing.T) {
	for name, tt := range map[string]struct {
		grown uint64 // of the repo
		ready map[uint64]bool
	}{
		"others filled it":   {0, map[uint64]bool{0: false, 994_000_000: true}},
		"the pin filled it":  {1_000_000_000, map[uint64]bool{0: false, 994_000_000: false, 1_100_000_000: true}},
		"both took a part":   {300_000_000, map[uint64]bool{200_000_000: false, 400_000_000: true}},
		"what went was more": {3_000_000_000, map[uint64]bool{994_000_000: false, 1_100_000_000: true}},
	} {
		t.Run(name, func(t *testing.T) {
			var free atomic.Uint64
			free.Store(1_000_000_000)
			n, c := disk(t, &free)
			n.size = "0" // Its root could not be stored.
			n.add = func(w http.ResponseWriter, r *http.Request) {
				free.Store(0)
				n.set(func() { n.repo += tt.grown })
				failsLate(full)(w, r)
			}
			wantFull(t, c.Pin(t.Context(), pinOf(t, content)))
			for bytes, want := range tt.ready {
				free.Store(bytes)
				if got := len(c.space.ready(t.Context())) == 1; got != want {
					t.Errorf("with %d bytes free: %v", bytes, got)
				}
			}
		})
	}
}

// Pins that fit one by one, but not together, are tried one after the other.
func TestSpace_IsNotGivenTwice(t *testing.T) {
	var free atomic.Uint64
	n, c := disk(t, &free)
	one, two := pinOf(t, content), pinOf(t, "bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e")
	wantFull(t, c.Pin(t.Context(), one))
	wantFull(t, c.Pin(t.Context(), two))
	free.Store(150_000_000)
	if ready := c.space.ready(t.Context()); len(ready) != 1 {
		t.Fatalf("150 MB are given to %d pins of 100 MB", len(ready))
	}
	n.set(func() {
		n.add = func(w http.ResponseWriter, r *http.Request) {
			n.set(func() { n.add = failsLate("begun") })
			if err := c.Pin(context.Background(), two); err == nil || !strings.Contains(err.Error(), full) {
				t.Errorf("the other one was begun at the same time: %v", err)
			}
			n.pinning(one.Cid.Cid)(w, r)
		}
	})
	if err := c.Pin(t.Context(), one); err != nil {
		t.Error(err)
	}
}

// The disk of a node elsewhere cannot be seen: what leaves its repo counts, and now
// and then it is tried all the same.
func TestSpace_OfAnExternalNode(t *testing.T) {
	n := newNode(t, failsLate(full))
	n.size, n.repo = "100000000", 200_000_000
	c := n.connector(nil)
	pin := pinOf(t, content)
	wantFull(t, c.Pin(t.Context(), pin))
	wantFull(t, c.Pin(t.Context(), pin))
	if n.added() != 1 {
		t.Error("the download was begun again")
	}
	c.space.now = func() time.Time { return time.Now().Add(blindRetry) }
	if ready := c.space.ready(t.Context()); len(ready) != 1 {
		t.Error("it is never tried again")
	}
	c.space.now = time.Now
	n.set(func() { n.repo -= 150_000_000 })
	if ready := c.space.ready(t.Context()); len(ready) != 1 {
		t.Error("it is not tried again after 150 MB were removed")
	}
}

// A pin that is given up waits for nothing.
func TestSpace_IsNotKeptForPinsThatAreGone(t *testing.T) {
	var free atomic.Uint64
	n, c := disk(t, &free)
	pin := pinOf(t, content)
	wantFull(t, c.Pin(t.Context(), pin))
	if err := c.Unpin(t.Context(), pin.Cid); err != nil {
		t.Fatal(err)
	}
	if d := c.Details(); len(d) != 1 || d[0] != "storage full: the IPFS node has no space left" {
		t.Errorf("details %q", d)
	}
	n.set(func() { n.note = func(w http.ResponseWriter, _ *http.Request) { sends(w, `{}`) } })
	free.Store(20 << 20)
	c.checkFull(t.Context())
	if !c.space.idle() {
		t.Errorf("it waits: %q", c.Details())
	}
}

// fillsUp is a node whose storage fills up, and that says nothing of itself after that. The connector's try
// to pin has begun to ask it when asked is closed.
func fillsUp(t *testing.T) (c *Connector, asked <-chan struct{}) {
	t.Helper()
	var n *node
	begun := make(chan struct{})
	n = newNode(t, func(w http.ResponseWriter, r *http.Request) {
		failsLate(full)(w, r)
		n.set(func() { n.silent = true })
	})
	n.asked = sync.OnceFunc(func() { close(begun) })
	return n.connector(nil), begun
}

// What a full node has is measured for some seconds. The end of the peer does not wait for that.
func TestSpace_ShutdownEndsTheMeasuring(t *testing.T) {
	c, asked := fillsUp(t)
	ended := make(chan error, 1)
	go func() { ended <- c.Pin(context.Background(), pinOf(t, content)) }()
	<-asked
	began := time.Now()
	if err := c.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	wantFull(t, <-ended)
	if took := time.Since(began); took > measureLimit/2 {
		t.Errorf("it took %s", took)
	}
}

// A pin that is removed while it is measured does not wait for space.
func TestSpace_APinThatIsRemovedMeanwhileIsForgotten(t *testing.T) {
	c, asked := fillsUp(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.Pin(ctx, pinOf(t, content))
	}()
	<-asked
	cancel()
	if err := c.Unpin(t.Context(), pinOf(t, content).Cid); err != nil {
		t.Error(err)
	}
	c.cancel() // So that the measuring ends.
	<-ended
	if c.space.waits(pinOf(t, content).Cid.Cid) {
		t.Error("it waits for space for ever")
	}
}
