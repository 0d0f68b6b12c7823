package integration

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// What a peer has shown of the changes of another one is there after it was killed right after, also
// when the other one is away: a CRDT does not get it anew then.
func TestReceivedPinsSurviveAKill(t *testing.T) {
	t.Parallel()
	for _, datastore := range []string{"pebble", "badger3", "badger", "leveldb"} {
		t.Run(datastore, func(t *testing.T) {
			t.Parallel()
			h := harness.New(t)
			args := []string{"--consensus", "crdt", "--datastore", datastore}
			one := h.Peer(harness.InitOptions{Args: args})
			one.Start()
			two := h.Peer(harness.InitOptions{Args: args, Env: []string{"CLUSTER_SECRET=" + one.Secret()}})
			two.Start("--bootstrap", one.Address())
			// shown waits until the second peer shows a pin with that name, or none.
			shown := func(id, name string) {
				t.Helper()
				harness.Eventually(t, harness.Timeout, "the second peer shows the change", func() error {
					r, err := two.Ask(http.MethodGet, "/pins/"+id, nil)
					if err != nil || name == "" && r.Status == http.StatusNotFound {
						return err
					}
					if pin, err := two.Get(id); err != nil || pin.Pin.Name != name {
						return fmt.Errorf("%d, %q instead of %q: %v", r.Status, pin.Pin.Name, name, err)
					}
					return nil
				})
			}
			want := make(map[string]string) // the names, by request ID
			post := func(id, name, path string) {
				t.Helper()
				body := map[string]string{"cid": id, "name": name}
				if r := request(t, one, http.MethodPost, path, body); r.Status != http.StatusAccepted {
					t.Fatalf("POST: %d %s", r.Status, r.Body)
				}
				want[id] = name
			}
			for i := range 5 {
				id := inline(t, fmt.Sprint("received ", i)).String()
				post(id, "added", "/pins")
				shown(id, "added")
				two.WaitPinned(id)
				if i == 0 {
					post(id, "renamed", "/pins/"+id)
				}
				if i == 1 {
					if r := request(t, one, http.MethodDelete, "/pins/"+id, nil); r.Status != http.StatusAccepted {
						t.Fatalf("DELETE: %d %s", r.Status, r.Body)
					}
					want[id] = ""
				}
				shown(id, want[id])
			}
			two.Kill()
			one.Kill()
			two.Start()
			for id, name := range want {
				if name == "" {
					// The other peer, which is away, might know it: that is so for a ping interval.
					harness.Eventually(t, harness.Timeout, "the removed pin is unknown", func() error {
						r, err := two.Ask(http.MethodGet, "/pins/"+id, nil)
						if err == nil && r.Status == http.StatusOK {
							t.Fatalf("pin %s was removed and is there after the kill: %s", id, r.Body)
						}
						if err == nil && r.Status != http.StatusNotFound {
							err = fmt.Errorf("%d %s", r.Status, r.Body)
						}
						return err
					})
					continue
				}
				if pin, err := two.Get(id); err != nil || pin.Pin.Name != name {
					t.Errorf("pin %s was shown as %q and is %q after the kill: %v", id, name, pin.Pin.Name, err)
				}
			}
		})
	}
}
