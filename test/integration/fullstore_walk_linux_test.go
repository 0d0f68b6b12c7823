package integration

import (
	"fmt"
	"net/http"
	"strings"
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
	harness.Eventually(t, 30*time.Second, "it takes a delete", func() error {
		r, err := behind.Ask(http.MethodDelete, "/pins/"+inline(t, "catch up 0").String(), nil)
		if err == nil && r.Status != http.StatusAccepted {
			err = fmt.Errorf("%d %s", r.Status, r.Body)
		}
		return err
	})
	behind.Stop() // Before its disk is gone.
}
