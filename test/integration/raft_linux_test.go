package integration

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// Each peer is frozen in turn, so one of them is the leader at that time. The others say 503 until they
// have another leader, soon and with Retry-After, answer what is known, and accept changes again
// while the first is frozen. When it thaws, all statuses are true within 30 seconds.
func TestFrozenRaftLeader(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	peers := h.Cluster(3, "raft")
	want := make(map[string]string)
	for n := range 5 {
		pin := peers[n%3].Add(inline(t, fmt.Sprint("before ", n)), "kept")
		want[pin.RequestID] = "kept pinned"
	}
	for _, peer := range peers {
		harness.Eventually(t, harness.Timeout, "all is pinned", func() error { return lists(peer, want) })
	}
	refused := 0
	for i, frozen := range peers {
		thaw := sync.OnceFunc(func() { frozen.Process().Signal(syscall.SIGCONT) })
		t.Cleanup(thaw)
		others := slices.Concat(peers[:i], peers[i+1:])
		for _, peer := range append(others, frozen) {
			peer.WaitReady()
		}
		frozen.Process().Signal(syscall.SIGSTOP)
		for _, other := range others {
			refused += acceptsAgain(t, other, inline(t, fmt.Sprint("while ", frozen.Name, " is frozen, at ", other.Name)).String(), want)
		}
		thaw()
		began := time.Now()
		for _, peer := range peers {
			harness.Eventually(t, harness.ReadyTimeout, "all is pinned again", func() error { return lists(peer, want) })
		}
		took := time.Since(began)
		t.Logf("right %s after %s has thawed", took.Round(time.Second), frozen.Name)
		if took > 30*time.Second {
			t.Errorf("wrong for %s after %s has thawed", took, frozen.Name)
		}
	}
	if refused == 0 {
		t.Error("nothing was refused: no frozen peer was the leader")
	}
}

// acceptsAgain adds a pin until it is accepted, which it returns in want, and looks at what is known in
// between. It returns how often it was refused.
func acceptsAgain(t *testing.T, peer *harness.Peer, c string, want map[string]string) (refused int) {
	t.Helper()
	known := slices.Sorted(maps.Keys(want))
	began := time.Now()
	for {
		r, took := timed(t, peer, http.MethodPost, "/pins", map[string]string{"cid": c, "name": "meanwhile"})
		if r.Status == http.StatusAccepted {
			break
		}
		refused++
		if r.Status != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" || took > 30*time.Second {
			t.Errorf("POST at %s: %d %s after %s, Retry-After %q", peer.Name, r.Status, r.Body, took, r.Header.Get("Retry-After"))
		}
		for _, path := range []string{"/pins/" + known[refused%len(known)], "/pins?status=queued,pinning,pinned,failed"} {
			if r, took := timed(t, peer, http.MethodGet, path, nil); r.Status != http.StatusOK || took > 10*time.Second {
				t.Errorf("GET %s at %s: %d %s after %s", path, peer.Name, r.Status, r.Body, took)
			}
		}
		if time.Since(began) > harness.Timeout {
			t.Fatalf("no change was accepted at %s for %s", peer.Name, time.Since(began))
		}
	}
	t.Logf("accepted by %s after %s and %d refusals", peer.Name, time.Since(began).Round(time.Millisecond), refused)
	want[c] = "meanwhile pinned"
	return refused
}

// entries is how many changes a follower misses, and how many the leader keeps in its log after a snapshot.
// INTEGRATION_RAFT_ENTRIES=12000 is more than what it keeps by default.
func entries(t *testing.T) (missed, trailing int) {
	t.Helper()
	text := os.Getenv("INTEGRATION_RAFT_ENTRIES")
	if text == "" {
		return 1200, 64
	}
	missed, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return missed, 10_240
}

// A follower that missed more than what the leader keeps in its log gets a snapshot. Afterwards its lists,
// its GET and its IPFS node have what the others have (U32 in docs/upstream-faults.md).
func TestRaftFollowerThatGetsASnapshot(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	peers := h.Cluster(3, "raft")
	missed, trailing := entries(t)
	threshold := min(trailing, 1024)
	keep(peers, trailing, threshold)
	all := make(map[string]string)
	var kept, deleted, added []string
	for n := range 20 {
		pin := peers[0].Add(inline(t, fmt.Sprint("before ", n)), "before")
		all[pin.RequestID] = "before pinned"
		if n%2 == 0 {
			kept = append(kept, pin.RequestID)
		} else {
			deleted = append(deleted, pin.RequestID)
		}
	}
	for _, peer := range peers {
		harness.Eventually(t, harness.Timeout, "all is pinned", func() error { return lists(peer, all) })
		harness.Eventually(t, harness.Timeout, "all is in "+peer.Name+"'s node", func() error { return holds(peer, all) })
	}
	away, others := peers[2], peers[:2]
	// Its state stays in memory, and has what is deleted meanwhile.
	away.Process().Signal(syscall.SIGSTOP)
	t.Cleanup(func() { away.Process().Signal(syscall.SIGCONT) })
	// Some hundred are on their way to it, and are read before the snapshot comes.
	rename(t, others, kept, missed/2)
	for _, c := range deleted {
		eventuallyAccepted(t, others[0], http.MethodDelete, "/pins/"+c, nil)
		delete(all, c)
	}
	for n := range 5 {
		c := inline(t, fmt.Sprint("meanwhile ", n)).String()
		eventuallyAccepted(t, others[0], http.MethodPost, "/pins", map[string]string{"cid": c, "name": "added"})
		all[c] = "added pinned"
		added = append(added, c)
	}
	rename(t, others, kept, missed/2)
	for _, c := range kept {
		all[c] = "renamed pinned"
	}
	for _, peer := range others {
		harness.Eventually(t, harness.ReadyTimeout, "a snapshot of "+peer.Name, func() error { return snapshot(peer, missed-threshold) })
		if files := unsynced(t, filepath.Join(peer.Dir, "raft", "snapshots")); tellsUnsynced(t) && len(files) > 0 {
			t.Errorf("the entries before the snapshot are removed, and a power failure takes %v of it", files)
		}
	}
	away.Process().Signal(syscall.SIGCONT)
	harness.Eventually(t, harness.Timeout, "deleted pins are gone by a snapshot", func() error { return goneBySnapshot(away) })
	away.WaitReady()
	for _, peer := range peers {
		harness.Eventually(t, harness.Timeout, "the same list", func() error { return lists(peer, all) })
	}
	for _, c := range deleted {
		if r := request(t, away, http.MethodGet, "/pins/"+c, nil); r.Status != http.StatusNotFound {
			t.Errorf("a deleted pin: %d %s", r.Status, r.Body)
		}
	}
	for _, c := range slices.Concat(kept, added) {
		if pin, err := away.Get(c); err != nil || pin.Pin.Name+" "+pin.Status != all[c] {
			t.Errorf("%+v, %v, want %s", pin, err, all[c])
		}
	}
	harness.Eventually(t, harness.Timeout, "nothing deleted is in its node", func() error { return gone(away, deleted) })
	harness.Eventually(t, harness.Timeout, "all else is in its node", func() error { return holds(away, all) })
}

// goneBySnapshot is nil when a snapshot took pins away at that peer. It may get more than one: the leader sends the
// newest that it has, and what came after it by the log or by the next one.
func goneBySnapshot(peer *harness.Peer) error {
	installed := regexp.MustCompile(`a snapshot of the leader was installed: .* (\d+) are gone`)
	for _, found := range installed.FindAllStringSubmatch(peer.Process().Output(), -1) {
		if found[1] != "0" {
			return nil
		}
	}
	return errors.New("none so far")
}

// keep sets how many entries Raft keeps, and after how many it makes a snapshot.
func keep(peers []*harness.Peer, trailing, threshold int) {
	for _, peer := range peers {
		peer.Stop()
		peer.Edit(func(c harness.Section) {
			raft := c.Section("consensus", "raft")
			raft.Set("trailing_logs", trailing)
			raft.Set("snapshot_threshold", threshold)
			raft.Set("snapshot_interval", "2s")
		})
	}
	for _, peer := range peers {
		peer.StartOnly()
	}
	for _, peer := range peers {
		peer.WaitReady()
	}
}

// rename makes n changes of pins, the last of which are all the same.
func rename(t *testing.T, peers []*harness.Peer, pins []string, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for i, c := range pins {
		wg.Go(func() {
			for left := n / len(pins); left >= 0; left-- {
				name := "renamed"
				if left > 0 {
					name = fmt.Sprint("renamed ", left)
				}
				eventuallyAccepted(t, peers[i%len(peers)], http.MethodPost, "/pins/"+c, map[string]string{"cid": c, "name": name})
			}
		})
	}
	wg.Wait()
}

func eventuallyAccepted(t *testing.T, peer *harness.Peer, method, path string, body any) {
	t.Helper()
	until := time.Now().Add(harness.Timeout)
	for {
		r, err := peer.Ask(method, path, body)
		if err == nil && r.Status == http.StatusAccepted {
			return
		}
		if time.Now().After(until) {
			t.Errorf("%s %s at %s: %d %s, %v", method, path, peer.Name, r.Status, r.Body, err)
			return
		}
		time.Sleep(100 * time.Millisecond) // The rate of a client that tries again.
	}
}

// snapshot is nil when a peer has one that is of that entry or a later one.
func snapshot(peer *harness.Peer, entry int) error {
	// Folders are called <term>-<entry>-<time>.
	folders, err := filepath.Glob(filepath.Join(peer.Dir, "raft", "snapshots", "*-*-*"))
	if err != nil {
		return err
	}
	last := 0
	for _, folder := range folders {
		n, _ := strconv.Atoi(strings.Split(filepath.Base(folder), "-")[1])
		last = max(last, n)
	}
	if last < entry {
		return fmt.Errorf("the last snapshot is of entry %d", last)
	}
	return nil
}

// holds is nil when all of the contents are pinned in the peer's managed node.
func holds(peer *harness.Peer, contents map[string]string) error {
	r := peer.Try("ipfs", "pin", "ls", "--type=recursive", "--quiet")
	if r.Err != nil {
		return fmt.Errorf("%w: %s", r.Err, r.Stderr)
	}
	pins := kuboPins(r.Stdout)
	for c := range contents {
		if !pins[c] {
			return errors.New(c + " is not pinned")
		}
	}
	return nil
}
