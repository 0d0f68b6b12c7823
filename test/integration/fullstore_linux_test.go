package integration

import (
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
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

// post sends the next pin.
func (s *fullStore) post() (harness.Reply, error) {
	c := inline(s.t, fmt.Sprintf("%s pin %d", s.t.Name(), s.next)).String()
	s.next++
	r, err := s.peer.Ask(http.MethodPost, "/pins", map[string]any{"cid": c, "meta": map[string]string{"fills": fmt.Sprintf("%0900d", s.next)}})
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
	free = s.disk.Fill(0)
	for range 2000 {
		began := time.Now()
		r, err := s.post()
		switch {
		case err != nil:
			s.t.Fatalf("with the store full: %v", err)
		case r.Status == http.StatusAccepted:
			continue
		case r.Status != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "":
			s.t.Fatalf("with the store full: %d %s", r.Status, r.Body)
		}
		s.t.Logf("refused after %s: %s", time.Since(began).Round(time.Millisecond), r.Body)
		return free
	}
	s.t.Fatal("the store takes everything")
	return free
}

// reads wants everything that was accepted to be there.
func (s *fullStore) reads(when string) {
	s.t.Helper()
	for _, c := range s.accepted {
		if r := request(s.t, s.peer, http.MethodGet, "/pins/"+c, nil); r.Status != http.StatusOK {
			s.t.Errorf("%s: GET of %s: %d %s", when, c, r.Status, r.Body)
		}
	}
	page, err := s.peer.List("status=queued,pinning,pinned,failed")
	if err != nil || page.Count < len(s.accepted) {
		s.t.Errorf("%s: %d pins, %v; %d were accepted", when, page.Count, err, len(s.accepted))
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
			s.acceptsAgain(30 * time.Second)
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
		r := request(s.t, s.peer, method, path, nil)
		if r.Status != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" || !strings.Contains(string(r.Body), full) {
			s.t.Errorf("%s of %s: %d %s", method, path, r.Status, r.Body)
		}
	}
}
