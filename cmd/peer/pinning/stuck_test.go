package pinning

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A node that reports a full storage although there is space is restarted, now and then.
func TestStuck_ANodeThatDoesNotSeeSpaceIsRestarted(t *testing.T) {
	const reason = "pin: write /ipfs/datastore/000003.log: no space left on device"
	var free atomic.Uint64
	var reasons []string
	n := newNode(t, failsLate(reason))
	n.set(func() {
		n.unpinErr = errors.New("IPFS error (pin/rm). Code: 500. Message: " + reason)
		n.note = func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			sends(w, `{"Message":"`+reason+`"}`)
		}
	})
	c := n.connector(func(cfg *Config) {
		cfg.Storage = NewStorage(cfg.RPC, func() (uint64, bool) { return free.Load(), true })
		cfg.Restart = func(reason error) { reasons = append(reasons, reason.Error()) }
	})
	now := time.Now()
	c.space.now = func() time.Time { return now }
	check := func(want int, when string) {
		t.Helper()
		c.checkFull(t.Context())
		if len(reasons) != want {
			t.Fatalf("%s there were %d restarts, want %d: %q", when, len(reasons), want, reasons)
		}
	}
	free.Store(1 << 30)
	check(0, "before any error")
	pin := pinOf(t, content)
	if err := c.Unpin(t.Context(), pin.Cid); err == nil {
		t.Fatal("it was removed")
	}
	free.Store(1 << 20)
	check(0, "with 1 MiB free")
	free.Store(1 << 30)
	check(1, "with 1 GiB free")
	if !strings.Contains(reasons[0], "1.1 GB free") || !strings.Contains(reasons[0], reason) {
		t.Errorf("the reason is %q", reasons[0])
	}
	if d := c.Details(); len(d) != 1 || d[0] != "storage full: the IPFS node still says so with 1.1 GB free, and is restarted" {
		t.Errorf("details %q", d)
	}
	if err := c.Pin(t.Context(), pin); err == nil {
		t.Fatal("it was pinned")
	}
	if keys := c.space.ready(t.Context()); len(keys) != 0 {
		t.Error("pins are tried again before the node can write")
	}
	now = now.Add(restartMin - 1)
	check(1, "within the pause")
	now = now.Add(1)
	check(2, "after the pause")
	now = now.Add(restartMin)
	check(2, "soon after one that did not help")
	now = now.Add(restartMin)
	check(3, "later")

	// The storage is full again: it is no wonder that the last restart did not help.
	now = now.Add(restartMin)
	free.Store(1 << 20)
	check(3, "with the storage full again")
	if d := c.Details(); len(d) != 1 || !strings.HasPrefix(d[0], "storage full: pins that wait") {
		t.Errorf("details %q", d)
	}
	free.Store(1 << 30)
	check(4, "with 1 GiB free again")

	refuses := n.note
	n.set(func() { n.note = func(w http.ResponseWriter, _ *http.Request) { sends(w, `{}`) } })
	check(4, "when it can write")
	n.set(func() { n.note = refuses })
	if err := c.Unpin(t.Context(), pin.Cid); err == nil {
		t.Fatal("it was removed")
	}
	check(4, "at the next full storage, too soon")
	now = now.Add(restartMin)
	check(5, "at the next full storage")
	n.set(func() { n.note = func(w http.ResponseWriter, _ *http.Request) { sends(w, `{}`) } })
	if err := c.Pin(t.Context(), pinOf(t, content)); err == nil {
		t.Fatal("it was pinned")
	}
	check(5, "when it can write")
	// Its size is not known, and it failed with as much free as there is.
	if keys := c.space.ready(t.Context()); len(keys) != 1 {
		t.Error("the pin is not tried again")
	}
	if d := c.Details(); len(d) != 1 || !strings.HasPrefix(d[0], "storage full: pins that wait") {
		t.Errorf("details %q", d)
	}
}

// Any answer of the node will do, but there has to be one.
func TestUnpinBarrier_EndsWithTheNodesAnswer(t *testing.T) {
	n := newNode(t, failsLate(""))
	answer := make(chan struct{})
	n.set(func() {
		n.note = func(w http.ResponseWriter, _ *http.Request) {
			<-answer
			w.WriteHeader(http.StatusInternalServerError)
			sends(w, `{"Message":"not pinned or pinned indirectly"}`)
		}
	})
	c := n.connector(nil)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := c.UnpinBarrier(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without an answer it ends with %v", err)
	}
	close(answer)
	if err := c.UnpinBarrier(t.Context()); err != nil {
		t.Error(err)
	}
}
