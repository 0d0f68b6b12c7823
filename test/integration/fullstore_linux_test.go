package integration

import (
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// fullStore is a peer whose datastore is on a small disk.
type fullStore struct {
	t        *testing.T
	peer     *harness.Peer
	disk     *harness.Disk
	next     int
	accepted []string // Pins whose POST was answered with 202.
}

// write sends a change, which is accepted or refused as docs/promises.md says.
func (s *fullStore) write(method, path string, body any) (harness.Reply, error) {
	s.t.Helper()
	began := time.Now()
	r, err := s.peer.Ask(method, path, body)
	if err == nil {
		s.inOrder(method, r, time.Since(began))
	}
	return r, err
}

// inOrder wants a change to be answered in time, and a refusal to say when to come again.
func (s *fullStore) inOrder(what string, r harness.Reply, took time.Duration) {
	s.t.Helper()
	if r.Status != http.StatusAccepted && (r.Status != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "") {
		s.t.Errorf("%s: %d, Retry-After %q, %s", what, r.Status, r.Header.Get("Retry-After"), r.Body)
	}
	if took > requestTime {
		s.t.Errorf("%s took %s: %d %s", what, took, r.Status, r.Body)
	}
}

// post sends the next pin.
func (s *fullStore) post() (harness.Reply, error) {
	s.t.Helper()
	c := inline(s.t, fmt.Sprintf("%s pin %d", s.t.Name(), s.next)).String()
	s.next++
	r, err := s.write(http.MethodPost, "/pins", map[string]any{"cid": c, "meta": map[string]string{"fills": fmt.Sprintf("%0900d", s.next)}})
	if err == nil && r.Status == http.StatusAccepted {
		s.accepted = append(s.accepted, c)
	}
	return r, err
}

// accept adds that many pins.
func (s *fullStore) accept(n int) {
	s.t.Helper()
	for range n {
		if r, err := s.post(); err != nil || r.Status != http.StatusAccepted {
			s.t.Fatalf("%v %d %s", err, r.Status, r.Body)
		}
	}
}

// acceptsAgain wants a pin to be accepted within that time, now that there is space.
func (s *fullStore) acceptsAgain(within time.Duration) {
	s.t.Helper()
	began := time.Now()
	harness.Eventually(s.t, within, "changes are accepted again", func() error {
		r, err := s.post()
		if err == nil && r.Status != http.StatusAccepted {
			err = fmt.Errorf("%d %s", r.Status, r.Body)
		}
		return err
	})
	s.t.Logf("changes are accepted %s after there was space", time.Since(began).Round(time.Millisecond))
}

// fill fills the disk, and adds pins until one is refused.
func (s *fullStore) fill() (free func()) {
	s.t.Helper()
	s.accept(1)
	given := s.accepted[len(s.accepted)-1] // Up, below.
	s.accepted = s.accepted[:len(s.accepted)-1]
	free = s.disk.Fill(0)
	for range 2000 {
		began := time.Now()
		r, err := s.post()
		switch {
		case err != nil:
			s.t.Fatalf("with the store full: %v", err)
		case r.Status == http.StatusAccepted:
			continue
		case r.Status != http.StatusServiceUnavailable:
			s.t.Fatalf("with the store full: %d %s", r.Status, r.Body)
		}
		s.t.Logf("refused after %s: %s", time.Since(began).Round(time.Millisecond), r.Body)
		s.refuses(given)
		return free
	}
	s.t.Fatal("the store takes everything")
	return free
}

// refuses sends changes of each kind, one after the other and at once, while the store is full. What there is room for
// may be accepted; given is a pin to delete.
func (s *fullStore) refuses(given string) {
	s.t.Helper()
	changes := []func() (harness.Reply, error){
		func() (harness.Reply, error) { return s.write(http.MethodDelete, "/pins/"+given, nil) },
		s.post,
		func() (harness.Reply, error) {
			return s.write(http.MethodPost, "/pins/"+s.accepted[0], map[string]any{"cid": s.accepted[0], "name": "renamed"})
		},
	}
	for _, change := range changes {
		if r, err := change(); err != nil {
			s.t.Errorf("with the store full: %v, %d %s", err, r.Status, r.Body)
		}
	}
	var all sync.WaitGroup
	for n := range 16 {
		c := inline(s.t, fmt.Sprintf("%s at once %d", s.t.Name(), n)).String()
		all.Go(func() {
			if r, err := s.write(http.MethodPost, "/pins", map[string]any{"cid": c}); err != nil {
				s.t.Errorf("with the store full: %v, %d %s", err, r.Status, r.Body)
			}
		})
	}
	all.Wait()
}

// reads wants everything that was accepted to be there, and to be told in time.
func (s *fullStore) reads(when string) {
	s.t.Helper()
	for _, c := range s.accepted {
		if r, took := timed(s.t, s.peer, http.MethodGet, "/pins/"+c, nil); r.Status != http.StatusOK || took > requestTime {
			s.t.Errorf("%s: GET of %s: %d %s after %s", when, c, r.Status, r.Body, took)
		}
	}
	began := time.Now()
	page, err := s.peer.List("status=queued,pinning,pinned,failed")
	if took := time.Since(began); err != nil || page.Count < len(s.accepted) || took > requestTime {
		s.t.Errorf("%s: %d pins, %v, after %s; %d were accepted", when, page.Count, err, took, len(s.accepted))
	}
}

// trueAgain wants the statuses to be true within 30 seconds after there was space: every IPFS node has the content of
// all these pins.
func (s *fullStore) trueAgain(ended time.Time) {
	s.t.Helper()
	harness.Eventually(s.t, time.Until(ended.Add(trueWithin)), "true statuses in time", func() error {
		page, err := s.peer.List("status=pinned&limit=1")
		if err != nil {
			return err
		}
		other, err := s.peer.List("status=queued,pinning,failed&limit=1")
		if err == nil && (other.Count > 0 || page.Count < len(s.accepted)) {
			err = fmt.Errorf("%d of %d pins are pinned, others: %+v", page.Count, len(s.accepted), other)
		}
		return err
	})
	s.t.Logf("the statuses are true %s after there was space", time.Since(ended).Round(time.Millisecond))
	for _, c := range s.accepted {
		if err := statusOf(s.peer, c, "pinned", ""); err != nil {
			s.t.Errorf("GET of %s: %v", c, err)
		}
	}
}

// stopped waits for the end of the daemon, for shutdown_timeout and what ends then, and wants it to
// tell why it was not closed in order.
func (s *fullStore) stopped() {
	s.t.Helper()
	const shutdownTimeout, margin = 10 * time.Second, 10 * time.Second
	err := s.peer.Process().Wait(shutdownTimeout + margin)
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != 1 || !strings.Contains(s.peer.Process().Output(), "the disk of the datastore is full") {
		s.t.Errorf("it ended with %v: %s", err, s.peer.Process().Tail(20))
	}
}

// While the disk of the datastore is full, changes are refused and reads go on; with space again
// all goes on without a restart. A stop while it is full ends in time. Nothing accepted is lost.
func TestFullStore(t *testing.T) {
	t.Parallel()
	for engine, size := range map[string]int64{"pebble": 96 << 20, "leveldb": 96 << 20, "badger": 256 << 20, "badger3": 512 << 20} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			h := harness.New(t)
			s := &fullStore{t: t, disk: h.Disk(size), peer: h.Peer(harness.InitOptions{Args: []string{"--datastore", engine}})}
			s.peer.Edit(func(c harness.Section) { c.Section("datastore", engine).Set("folder", s.disk.Dir+"/store") })
			s.peer.Start()
			s.accept(20)
			free := s.fill()
			s.reads("with the store full")
			free()
			ended := time.Now()
			s.acceptsAgain(trueWithin)
			s.trueAgain(ended)
			s.reads("with space again")

			free = s.fill()
			began := time.Now()
			s.peer.Process().Signal(syscall.SIGTERM)
			s.stopped()
			t.Logf("stopped within %s", time.Since(began).Round(time.Millisecond))
			free()
			s.peer.Start()
			s.reads("after the restart")
			s.peer.Stop()
			slices.Sort(s.accepted)
			if n := len(slices.Compact(s.accepted)); n < 20 {
				t.Errorf("%d pins were accepted", n)
			}
		})
	}
}

// A daemon that was killed is started on a full disk: pebble has to write what is in its log into tables
// (U110 in docs/upstream-faults.md), and the others may break (U81). Meanwhile it says what it waits for, ends
// on SIGTERM, and is ready by itself with space. Nothing accepted is lost.
func TestFullStore_AStart(t *testing.T) {
	t.Parallel()
	for engine, size := range map[string]int64{"pebble": 96 << 20, "leveldb": 96 << 20, "badger": 256 << 20, "badger3": 512 << 20} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			h := harness.New(t)
			s := &fullStore{t: t, disk: h.Disk(size), peer: h.Peer(harness.InitOptions{Args: []string{"--datastore", engine}})}
			s.peer.Edit(func(c harness.Section) { c.Section("datastore", engine).Set("folder", s.disk.Dir+"/store") })
			s.peer.Start()
			s.accept(600)
			s.peer.Kill()
			free := s.disk.Fill(0)
			s.startsFull()
			began := time.Now()
			s.peer.Process().Signal(syscall.SIGTERM)
			s.stopped()
			t.Logf("stopped within %s", time.Since(began).Round(time.Millisecond))

			s.startsFull()
			free()
			began = time.Now()
			s.peer.WaitReady()
			t.Logf("ready %s after there was space", time.Since(began).Round(time.Millisecond))
			s.trueAgain(began)
			s.reads("after the start with space")
			s.peer.Stop() // Before its disk is gone.
		})
	}
}

// startsFull starts the daemon on a full disk, and wants it to say so.
func (s *fullStore) startsFull() {
	s.t.Helper()
	const full = "the disk of the datastore is full (no space left on device)"
	s.peer.StartOnly()
	s.peer.Process().WaitOutput(30*time.Second, "No change of the pinset is accepted until there is space")
	s.peer.WaitNotReady("the peer is starting: " + full)
	if r := request(s.t, s.peer, http.MethodGet, "/health", nil); r.Status != http.StatusOK {
		s.t.Errorf("GET /health: %d %s", r.Status, r.Body)
	}
	for method, path := range map[string]string{http.MethodGet: "/pins", http.MethodDelete: "/pins/" + s.accepted[0]} {
		r, took := timed(s.t, s.peer, method, path, nil)
		s.inOrder(method, r, took)
		if r.Status != http.StatusServiceUnavailable || !strings.Contains(string(r.Body), full) {
			s.t.Errorf("%s of %s: %d %s", method, path, r.Status, r.Body)
		}
	}
}
