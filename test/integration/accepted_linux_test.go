package integration

import (
	"encoding/json"
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
// after, with 64 clients, with and without batches, with each datastore and with Raft; and what is
// accepted is on the disk when the answer is there.
func TestAcceptedWritesSurviveAKill(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, store string
		args        []string
		batch       map[string]any
		enough      int64 // requests
	}{
		{"pebble", "pebble", nil, nil, 600},
		{"in batches", "pebble", nil, map[string]any{"max_batch_size": 50, "max_batch_age": "300ms"}, 600},
		{"leveldb", "leveldb", []string{"--datastore", "leveldb"}, nil, 300},
		{"badger", "badger", []string{"--datastore", "badger"}, nil, 300},
		{"badger3", "badger3", []string{"--datastore", "badger3"}, nil, 300},
		{"raft", "raft", []string{"--consensus", "raft"}, nil, 300},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := harness.New(t).Peer(harness.InitOptions{Args: c.args})
			if c.batch != nil {
				p.Edit(func(s harness.Section) { s.Section("consensus", "crdt").Set("batching", c.batch) })
			}
			p.Start()
			onDisk(t, p, c.store)
			const clients = 64
			var answered atomic.Int64
			histories := make([]history, clients)
			var working sync.WaitGroup
			for client := range clients {
				working.Go(func() { histories[client] = work(t, p, client, &answered) })
			}
			harness.Eventually(t, harness.Timeout, "enough requests are answered", func() error {
				if n := answered.Load(); n < c.enough {
					return fmt.Errorf("%d of %d", n, c.enough)
				}
				return nil
			})
			p.Kill()
			working.Wait()
			p.Start()
			checked, lost := compare(t, p, histories)
			t.Logf("%d requests were answered before the kill; %d pins were looked at, %d are wrong", answered.Load(), checked, lost)
		})
	}
}

// compare looks at what clients were answered about, and returns how many pins are not as answered.
func compare(t *testing.T, p *harness.Peer, histories []history) (checked, lost int) {
	t.Helper()
	for _, h := range histories {
		maps.DeleteFunc(h.name, func(id, _ string) bool { return id == h.unknown })
		for id, name := range h.name {
			checked++
			var pin harness.Pin
			switch r := request(t, p, http.MethodGet, "/pins/"+id, nil); r.Status {
			case http.StatusOK:
				if err := json.Unmarshal(r.Body, &pin); err != nil {
					t.Fatal(err)
				}
			case http.StatusNotFound:
			default:
				t.Errorf("GET of %s: %d %s", id, r.Status, r.Body)
			}
			if pin.Pin.Name != name {
				lost++
				t.Errorf("pin %s is %q, answered was %q", id, pin.Pin.Name, name)
			}
		}
	}
	return checked, lost
}
