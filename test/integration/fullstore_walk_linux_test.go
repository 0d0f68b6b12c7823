package integration

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// The disk of a store that refuses writes (U81) is full while the peer reads what it missed, and again
// when there is space: it has all within 30 seconds, and takes deletes, without a restart (U91).
func TestFullStore_WhileThePeerCatchesUp(t *testing.T) {
	t.Parallel()
	const size, full, pins = 96 << 20, 20 << 20, 400 // Less than the reserve is left free.
	h := harness.New(t)
	disk := h.Disk(size)
	behind := h.Peer(harness.InitOptions{Args: []string{"--datastore", "leveldb"}})
	behind.Edit(func(c harness.Section) { c.Section("datastore", "leveldb").Set("folder", disk.Dir+"/store") })
	other := h.Joining(behind, "crdt")
	behind.Start()
	other.StartOnly("--bootstrap", behind.Address())
	other.WaitReady()
	post := func(n int) {
		t.Helper()
		r := request(t, other, http.MethodPost, "/pins", map[string]any{"cid": inline(t, fmt.Sprint("catch up ", n)).String()})
		if r.Status != http.StatusAccepted {
			t.Fatalf("%d %s", r.Status, r.Body)
		}
	}
	count := func() int {
		page, err := behind.List("status=queued,pinning,pinned,failed&limit=1")
		if err != nil {
			t.Fatal(err)
		}
		return page.Count
	}
	post(0)
	harness.Eventually(t, 30*time.Second, "the first pin is there", func() error {
		if n := count(); n != 1 {
			return fmt.Errorf("%d pins", n)
		}
		return nil
	})
	behind.Process().Signal(syscall.SIGSTOP)
	for n := 1; n < pins; n++ {
		post(n)
	}
	behind.Process().Signal(syscall.SIGCONT)
	for limit := time.Now().Add(60 * time.Second); count() < 20; {
		if time.Now().After(limit) {
			t.Fatal("it does not read what it missed")
		}
	}
	disk.Resize(full)
	harness.Eventually(t, 10*time.Second, "it says that the disk is full", func() error {
		r, err := behind.Ask(http.MethodGet, "/ready", nil)
		if err == nil && !strings.Contains(string(r.Body), "the disk of the datastore is full") {
			err = fmt.Errorf("%s", r.Body)
		}
		return err
	})
	// What it may have done until then has no part in the rest.
	before := count()
	t.Logf("%d of %d pins with the disk full", before, pins)
	if before >= pins {
		t.Fatal("it has read all")
	}
	disk.Resize(size)
	began := time.Now()
	harness.Eventually(t, 30*time.Second, "it has all", func() error {
		if n := count(); n != pins {
			return fmt.Errorf("%d pins", n)
		}
		return nil
	})
	t.Logf("all are there %s after there is space", time.Since(began).Round(time.Millisecond))
	s := &fullStore{t: t, peer: behind}
	s.trueAgain(began)
	harness.Eventually(t, 30*time.Second, "it takes a delete", func() error {
		r, err := behind.Ask(http.MethodDelete, "/pins/"+inline(t, "catch up 0").String(), nil)
		if err == nil && r.Status != http.StatusAccepted {
			err = fmt.Errorf("%d %s", r.Status, r.Body)
		}
		return err
	})
	behind.Stop() // Before its disk is gone.
}

// The disk of a peer is full, and another one accepts pins and a rename. What the first has shown goes on being shown. A
// GET of what it merges meanwhile would show what a kill may take (U90): it is 503 in time and with Retry-After, never 404,
// until there is space.
func TestFullStore_WhileAnotherPeerAccepts(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	s := &fullStore{t: t, disk: h.Disk(96 << 20), peer: h.Peer(harness.InitOptions{})}
	s.peer.Edit(func(c harness.Section) { c.Section("datastore", "pebble").Set("folder", s.disk.Dir+"/store") })
	other := h.Joining(s.peer, "crdt")
	s.peer.Start()
	other.StartOnly("--bootstrap", s.peer.Address())
	other.WaitReady()
	s.accept(10)
	for n := range 10 {
		s.accepted = append(s.accepted, other.Add(inline(t, fmt.Sprint("of the other peer ", n)), "before").RequestID)
	}
	for _, c := range s.accepted {
		s.peer.WaitPinned(c)
	}
	free := s.fill()
	renamed := inline(t, "of the other peer 0")
	changed := []string{renamed.String()}
	other.Add(renamed, "after")
	for n := range 7 {
		changed = append(changed, other.Add(inline(t, fmt.Sprint("meanwhile ", n)), "after").RequestID)
	}
	var shown, refused atomic.Int64
	for began := time.Now(); time.Since(began) < 2*harness.Settle; { // At first they are asked of the other peer, later they are here.
		each(changed, func(c string) {
			r, took := timed(t, s.peer, http.MethodGet, "/pins/"+c, nil)
			switch {
			case r.Status == http.StatusOK:
				shown.Add(1)
			case r.Status == http.StatusServiceUnavailable && r.Header.Get("Retry-After") != "":
				refused.Add(1)
			default:
				t.Errorf("GET of what came meanwhile: %d %s", r.Status, r.Body)
			}
			if took > requestTime {
				t.Errorf("a GET took %s", took)
			}
		})
	}
	t.Logf("GET of what came meanwhile: %d are shown, %d refused", shown.Load(), refused.Load())
	known := slices.DeleteFunc(slices.Clone(s.accepted), func(c string) bool { return c == renamed.String() })
	each(known, func(c string) {
		if r, took := timed(t, s.peer, http.MethodGet, "/pins/"+c, nil); r.Status != http.StatusOK || took > requestTime {
			t.Errorf("GET of what was known: %d %s after %s", r.Status, r.Body, took)
		}
	})
	if got, err := rows(s.peer); err != nil || len(got) < len(s.accepted) {
		t.Errorf("%d pins are listed, %v; %d were known", len(got), err, len(s.accepted))
	}
	free()
	ended := time.Now()
	for _, c := range append(changed, known...) {
		waitStatus(t, time.Until(ended.Add(trueWithin)), s.peer, c, "pinned")
	}
	for _, c := range changed {
		if pin, err := s.peer.Get(c); err != nil || pin.Pin.Name != "after" {
			t.Errorf("with space again: %+v, %v", pin, err)
		}
	}
	t.Logf("all is right %s after there was space", time.Since(ended).Round(time.Millisecond))
	s.peer.Stop() // Before its disk is gone.
}
