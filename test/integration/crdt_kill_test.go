package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// addMany makes pins at a peer, one after the other, so that each change stands on the one
// before, and returns their request IDs.
func addMany(t *testing.T, p *harness.Peer, name string, n int) []string {
	t.Helper()
	ids := make([]string, n)
	for i := range ids {
		c := inline(t, fmt.Sprintf("%s %d", name, i))
		ids[i] = c.String()
		r, err := p.Ask(http.MethodPost, "/pins", map[string]string{"cid": c.String(), "name": name})
		if err != nil || r.Status != http.StatusAccepted {
			t.Fatalf("POST: %v %d %s", err, r.Status, r.Body)
		}
	}
	return ids
}

// hasCount is nil when a peer has that many pins.
func hasCount(p *harness.Peer, want int) error {
	page, err := p.List("status=queued,pinning,pinned,failed&limit=1")
	if err == nil && page.Count != want {
		err = fmt.Errorf("%s has %d of %d pins", p.Name, page.Count, want)
	}
	return err
}

// logsChanges are the log levels with which killAfter can count.
const logsChanges = "info,crdt:debug"

// killAfter ends a peer that logsChanges once it has merged that many changes of other peers.
func killAfter(t *testing.T, p *harness.Peer, changes int) {
	t.Helper()
	const merged = "new pin added: "
	harness.Eventually(t, harness.ReadyTimeout, fmt.Sprintf("%s has merged %d changes", p.Name, changes), func() error {
		if n := strings.Count(p.Process().Output(), merged); n < changes {
			return fmt.Errorf("%d changes", n)
		}
		return nil
	})
	p.Kill()
	t.Logf("%s was killed after %d changes", p.Name, strings.Count(p.Process().Output(), merged))
}

// A peer that is killed while it catches up has all of it after the next start, and what
// was deleted meanwhile stays deleted. Without that go-ds-crdt never gets what is below
// the place where it was killed (U27 in docs/upstream-faults.md).
func TestCRDTPeerKilledWhileItCatchesUp(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	peers := h.Cluster(2, "crdt")
	one, two := peers[0], peers[1]
	deleted := addMany(t, one, "to be deleted", 20)
	one.Add(inline(t, "first"), "first")
	harness.Eventually(t, harness.Timeout, "the second peer follows", func() error { return hasCount(two, 21) })

	two.Stop()
	for _, id := range deleted {
		if r := request(t, one, http.MethodDelete, "/pins/"+id, nil); r.Status != http.StatusAccepted {
			t.Fatalf("DELETE: %d %s", r.Status, r.Body)
		}
	}
	addMany(t, one, "while it is away", 700)
	two.StartLogging(logsChanges)
	killAfter(t, two, 150)
	two.Start()
	// The removals are below the new pins and come last: on the way up there are 701 as well.
	harness.Eventually(t, harness.Timeout, "the second peer catches up", func() error {
		for _, id := range deleted {
			if r, err := two.Ask(http.MethodGet, "/pins/"+id, nil); err != nil || r.Status != http.StatusNotFound {
				return fmt.Errorf("%s: %v %d %s", id, err, r.Status, r.Body)
			}
		}
		return hasCount(two, 701)
	})
	harness.Eventually(t, harness.Timeout, "they agree", func() error { return hasCount(one, 701) })
}

// The same for the first sync of a new peer.
func TestCRDTPeerKilledInItsFirstSync(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	one := h.Cluster(1, "crdt")[0]
	addMany(t, one, "before it joins", 800)
	two := h.Joining(one, "crdt")
	two.StartLogging(logsChanges, "--bootstrap", one.Address())
	killAfter(t, two, 200)
	two.Start("--bootstrap", one.Address())
	harness.Eventually(t, harness.Timeout, "the new peer has all", func() error { return hasCount(two, 800) })
}
