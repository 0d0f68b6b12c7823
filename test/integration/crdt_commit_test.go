package integration

import (
	"fmt"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// history is what one client was answered about its pins, by request ID.
type history struct {
	name    map[string]string // "" once it is deleted
	unknown string            // the request ID whose last request got no answer
}

// work adds, renames and deletes pins of its own until a request gets no answer, which is when the
// peer is killed.
func work(t *testing.T, p *harness.Peer, client int, answered *atomic.Int64) history {
	h := history{name: make(map[string]string)}
	request := func(id, method, path string, body any, name string) bool {
		r, err := p.Ask(method, path, body)
		if err != nil {
			h.unknown = id
			return false
		}
		if r.Status != http.StatusAccepted {
			t.Errorf("%s %s: %d %s", method, path, r.Status, r.Body)
			return false
		}
		h.name[id] = name
		answered.Add(1)
		return true
	}
	for n := 0; ; n++ {
		id := inline(t, fmt.Sprintf("client %d pin %d", client, n)).String()
		pin := map[string]string{"cid": id, "name": "added"}
		if !request(id, http.MethodPost, "/pins", pin, "added") {
			return h
		}
		pin["name"] = "renamed"
		if n%3 > 0 && !request(id, http.MethodPost, "/pins/"+id, pin, "renamed") {
			return h
		}
		if n%3 > 1 && !request(id, http.MethodDelete, "/pins/"+id, nil, "") {
			return h
		}
	}
}

// Every pin, rename and delete that was answered with 202 is there after the peer was killed right
// after, with 64 clients, with and without batches.
func TestAcceptedWritesSurviveAKill(t *testing.T) {
	t.Parallel()
	for name, batch := range map[string]map[string]any{
		"at once":    nil,
		"in batches": {"max_batch_size": 50, "max_batch_age": "300ms"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := harness.New(t).Cluster(1, "crdt")[0]
			if batch != nil {
				p.Stop()
				p.Edit(func(c harness.Section) { c.Section("consensus", "crdt").Set("batching", batch) })
				p.Start()
			}
			const clients, enough = 64, 600
			var answered atomic.Int64
			histories := make([]history, clients)
			var working sync.WaitGroup
			for client := range clients {
				working.Go(func() { histories[client] = work(t, p, client, &answered) })
			}
			harness.Eventually(t, harness.Timeout, "enough requests are answered", func() error {
				if n := answered.Load(); n < enough {
					return fmt.Errorf("%d of %d", n, enough)
				}
				return nil
			})
			p.Kill()
			working.Wait()
			p.Start()
			p.WaitReady()
			lost, checked := 0, 0
			for _, h := range histories {
				maps.DeleteFunc(h.name, func(id, _ string) bool { return id == h.unknown })
				for id, name := range h.name {
					checked++
					got := ""
					if r := request(t, p, http.MethodGet, "/pins/"+id, nil); r.Status == http.StatusOK {
						pin, err := p.Get(id)
						if err != nil {
							t.Fatal(err)
						}
						got = pin.Pin.Name
					}
					if got != name {
						lost++
						t.Errorf("pin %s is %q, answered was %q", id, got, name)
					}
				}
			}
			t.Logf("%d requests were answered before the kill; %d pins were looked at, %d are wrong", answered.Load(), checked, lost)
		})
	}
}
