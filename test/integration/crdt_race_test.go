package integration

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// all are the names of a peer's pins by their request IDs.
func all(p *harness.Peer) (map[string]string, error) {
	page, err := p.List("status=queued,pinning,pinned,failed&limit=1000")
	if err != nil {
		return nil, err
	}
	if len(page.Results) != page.Count {
		return nil, fmt.Errorf("%d of %d pins", len(page.Results), page.Count)
	}
	names := make(map[string]string, page.Count)
	for _, pin := range page.Results {
		names[pin.RequestID] = pin.Pin.Name
	}
	return names, nil
}

// A pin is deleted at one peer and added at another at the same moment. Whatever wins, it
// wins at both: with go-ds-crdt alone about one pin in a hundred stays at one of the two
// (U26 in docs/upstream-faults.md).
func TestCRDTPeersThatDeleteAndAddAtOnceAgree(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	peers := h.Cluster(2, "crdt")
	one, two := peers[0], peers[1]
	const pins, atOnce = 400, 16
	do := func(p *harness.Peer, method, path string, body any) {
		r, err := p.Ask(method, path, body)
		// A peer on a busy machine may not have got within 2 seconds what it has shown of the other one.
		for tries := 0; err == nil && r.Status == http.StatusServiceUnavailable && tries < 10; tries++ {
			if r.Header.Get("Retry-After") == "" {
				t.Errorf("%s %s at %s: 503 without Retry-After", method, path, p.Name)
			}
			r, err = p.Ask(method, path, body)
		}
		if err != nil || r.Status != http.StatusAccepted && r.Status != http.StatusNotFound {
			t.Errorf("%s %s at %s: %v %d %s", method, path, p.Name, err, r.Status, r.Body)
		}
	}
	var workers sync.WaitGroup
	for worker := range atOnce {
		workers.Go(func() {
			for i := worker; i < pins; i += atOnce {
				c := inline(t, fmt.Sprint("raced ", i)).String()
				do(one, http.MethodPost, "/pins", map[string]string{"cid": c, "name": "first"})
				harness.Eventually(t, harness.Timeout, "the pin is at the other peer", func() error {
					_, err := two.Get(c)
					return err
				})
				var both sync.WaitGroup
				both.Go(func() { do(one, http.MethodDelete, "/pins/"+c, nil) })
				both.Go(func() { do(two, http.MethodPost, "/pins", map[string]string{"cid": c, "name": "second"}) })
				both.Wait()
			}
		})
	}
	workers.Wait()
	harness.Eventually(t, harness.Timeout, "the peers agree", func() error {
		at, errOne := all(one)
		there, errTwo := all(two)
		if errOne != nil || errTwo != nil {
			return fmt.Errorf("%v, %v", errOne, errTwo)
		}
		var differ []string
		for id := range at {
			if there[id] != at[id] {
				differ = append(differ, id)
			}
		}
		for id := range there {
			if _, ok := at[id]; !ok {
				differ = append(differ, id)
			}
		}
		if len(differ) > 0 {
			return fmt.Errorf("%d and %d pins, %d differ: %q", len(at), len(there), len(differ), differ[:min(len(differ), 3)])
		}
		return nil
	})
	at, err := all(one)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("of %d pins %d won as added: %d names", pins, len(at), len(slices.Compact(slices.Sorted(maps.Values(at)))))
}
