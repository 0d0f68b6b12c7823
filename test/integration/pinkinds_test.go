package integration

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// localStatuses are what the tracker of a peer says of its pins: of all, or of the one in the path.
func localStatuses(t *testing.T, p *harness.Peer, path string) map[string]string {
	t.Helper()
	all := map[string]string{}
	if err := restJSON(p, "/pins"+path+"?local=true", func(pin struct {
		CID     string
		PeerMap map[string]struct{ Status, Error string } `json:"peer_map"`
	}) {
		info := pin.PeerMap[p.ID()]
		all[pin.CID] = strings.TrimSpace(info.Status + " " + info.Error)
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// An IPFS node has the root of content alone (ipfs pin add --recursive=false) or all of it, and the cluster
// wants the one or the other (U109 in docs/upstream-faults.md): it is pinned if the node has as much as is
// wanted, whoever is asked in whatever way.
func TestDirectAndRecursivePinsAreToldApart(t *testing.T) {
	t.Parallel()
	peer := harness.New(t).Peer(harness.InitOptions{})
	peer.Edit(func(c harness.Section) { c.Section("api", "pinsvcapi").Set("status_max_age", "0s") })
	peer.Start()
	add := func(content string) string {
		t.Helper()
		args := []string{"ipfs", "add", "--quieter", "--pin=false", "--cid-version=1", "--chunker=size-16"}
		r := peer.TryStdin(strings.Repeat(content, 10), args...)
		if r.Err != nil {
			t.Fatalf("%v: %s", r.Err, r.Stderr)
		}
		return strings.TrimSpace(r.Stdout)
	}
	direct := func(c string) {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, peer.RESTEndpoint()+"/pins/ipfs/"+c+"?mode=direct", nil)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := harness.Send(req); err != nil || r.Status != http.StatusOK {
			t.Fatalf("%v %d %s", err, r.Status, r.Body)
		}
	}
	kind := func(c string) string {
		r := peer.Try("ipfs", "pin", "ls", "--type=all", c)
		return strings.TrimSpace(strings.TrimPrefix(r.Stdout, c))
	}
	rootOnly, root, more := add("the root alone is there"), add("the root is wanted"), add("more is there than is wanted")

	want(t, request(t, peer, http.MethodPost, "/pins", map[string]any{"cid": rootOnly}), http.StatusAccepted, "")
	peer.WaitPinned(rootOnly)
	direct(root)
	peer.Ipfs("pin", "add", more)
	direct(more)
	for _, c := range []string{root, more} {
		harness.Eventually(t, harness.Timeout, c+" is pinned", func() error {
			if status := localStatuses(t, peer, "/"+c)[c]; status != "pinned" {
				return errors.New(status)
			}
			return nil
		})
	}
	peer.Ipfs("pin", "rm", rootOnly)
	peer.Ipfs("pin", "add", "--recursive=false", rootOnly)
	if a, b, c := kind(rootOnly), kind(root), kind(more); a != "direct" || b != "direct" || c != "recursive" {
		t.Fatalf("the node has them %s, %s and %s", a, b, c)
	}

	const lost = "unexpectedly_unpinned the item should be pinned but it is not"
	all := localStatuses(t, peer, "")
	for c, status := range map[string]string{rootOnly: lost, root: "pinned", more: "pinned"} {
		if all[c] != status {
			t.Errorf("in the list of all %s is %q, want %q", c, all[c], status)
		}
		if alone := localStatuses(t, peer, "/"+c)[c]; alone != status {
			t.Errorf("alone %s is %q, want %q", c, alone, status)
		}
	}
	harness.Eventually(t, harness.Timeout, "all of it is pinned again", func() error {
		pin, err := peer.Get(rootOnly)
		if err != nil || pin.Status != "pinned" {
			return fmt.Errorf("it is %s, %v", pin.Status, err)
		}
		if k := kind(rootOnly); k != "recursive" {
			t.Fatalf("it is said to be pinned, and the node has it %s", k)
		}
		return nil
	})

	peer.Stop()
	peer.Start()
	harness.Always(t, 2*time.Second, "after a restart all are pinned", func() error {
		page, err := peer.List("")
		if err == nil && page.Count != 3 {
			err = fmt.Errorf("%d of 3", page.Count)
		}
		return err
	})
}
