package integration

import (
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// With wait_for_commit: false a killed peer loses what it accepted within max_batch_age, and nothing older:
// not either while it still receives older changes of others, for which deletes wait.
func TestWaitForCommitFalse_AKillLosesOnlyTheLastBatch(t *testing.T) {
	t.Parallel()
	const (
		batch = 2 * time.Second
		pins  = 30
		// away is enough for the peer not to have it all at once.
		away = 700
	)
	h := harness.New(t)
	one := h.Cluster(1, "crdt")[0]
	two := h.Joining(one, "crdt")
	two.Edit(func(c harness.Section) {
		c.Section("consensus", "crdt").Set("batching", map[string]any{"max_batch_size": 1000, "max_batch_age": batch.String()})
		c.Section("api", "pinsvcapi").Set("wait_for_commit", false)
	})
	two.StartOnly("--bootstrap", one.Address())
	two.WaitReady()

	accept := func(method, path string, body any) {
		t.Helper()
		want(t, request(t, two, method, path, body), http.StatusAccepted, "")
	}
	named := func(name string, n int) error {
		page, err := two.List("status=queued,pinning,pinned,failed&limit=1&name=" + name)
		if err == nil && page.Count != n {
			err = fmt.Errorf("%d of %d pins with the name %s", page.Count, n, name)
		}
		return err
	}
	has := func(name string, n int) {
		t.Helper()
		if err := named(name, n); err != nil {
			t.Error(err)
		}
	}
	var all [pins]cid.Cid
	began := time.Now()
	for i := range all {
		all[i] = inline(t, fmt.Sprintf("accepted at once %d", i))
		accept(http.MethodPost, "/pins", map[string]string{"cid": all[i].String(), "name": "first"})
	}
	if took := time.Since(began); took > pins*batch/2 {
		t.Fatalf("%d changes took %s: they wait for their batches", pins, took)
	}
	for _, c := range all[:10] {
		accept(http.MethodPost, "/pins", map[string]string{"cid": c.String(), "name": "renamed"})
	}
	for _, c := range all[10:15] {
		accept(http.MethodDelete, "/pins/"+c.String(), nil)
	}
	time.Sleep(batch + time.Second) // What is tested is this long.
	two.Kill()
	two.Start()
	has("renamed", 10)
	has("first", pins-15)
	harness.Eventually(t, harness.Timeout, "the other peer has them", func() error { return hasCount(one, pins-5) })

	two.Process().Signal(syscall.SIGSTOP)
	addMany(t, one, "away", away)
	two.Process().Signal(syscall.SIGCONT)
	for limit := time.Now().Add(harness.Timeout); named("away", 0) == nil; {
		if time.Now().After(limit) {
			t.Fatal("it does not read what it missed")
		}
	}
	one.Process().Signal(syscall.SIGSTOP)
	r := request(t, two, http.MethodDelete, "/pins/"+all[29].String(), nil)
	if r.Status != http.StatusAccepted && r.Status != http.StatusServiceUnavailable {
		t.Errorf("DELETE: %d %s", r.Status, r.Body)
	}
	deleted := r.Status == http.StatusAccepted
	for i := range 5 {
		accept(http.MethodPost, "/pins", map[string]string{"cid": inline(t, fmt.Sprintf("meanwhile %d", i)).String(), "name": "meanwhile"})
	}
	time.Sleep(batch + time.Second)
	page, err := two.List("status=queued,pinning,pinned,failed&limit=1&name=away")
	if err != nil || page.Count == away {
		t.Fatalf("it has all of %d, so nothing waits: %v", page.Count, err)
	}
	t.Logf("DELETE: %d %s; it has %d of %d changes", r.Status, r.Body, page.Count, away)
	two.Kill()
	two.Start()
	has("meanwhile", 5)
	if r := request(t, two, http.MethodGet, "/pins/"+all[29].String(), nil); deleted && r.Status == http.StatusOK {
		t.Error("a delete that was accepted before is lost")
	}
	one.Process().Signal(syscall.SIGCONT)
	left := pins - 5 + away + 5
	if deleted {
		left--
	}
	for _, p := range []*harness.Peer{one, two} {
		harness.Eventually(t, harness.Timeout, p.Name+" has all", func() error { return hasCount(p, left) })
	}
}
