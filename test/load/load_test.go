package load

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// subject is a daemon under load.
type subject struct {
	name   string
	peer   *harness.Peer
	series int // of workers, each with CIDs of its own
	limit  int // api.pinsvcapi.max_concurrent_requests; 0: the default
}

const ours, theirs = "ipfs-cluster-pinsvc", "ipfs-cluster-service"

// recovery is how long the service may take to be quick again, and quick what that
// means.
const (
	recovery = 10 * time.Second
	quick    = time.Second
)

// TestLoad keeps up mixed work of 100 users. Whatever the number of connections, a
// request gets an answer: what was asked for, or that there is too much to do. When
// the load ends, the service is quick again within ten seconds.
func TestLoad(t *testing.T) {
	h := harness.New(t)
	node := h.Kubo()
	rpc := node.FixRPCPort()
	node.Start()
	peer := newPeer(h, rpc)
	peer.Start()
	seed(t, peer, *pins)
	subjects := []*subject{{name: ours, peer: peer}}
	if *upstream != "" {
		peer.Stop()
		subjects = append(subjects, &subject{name: theirs, peer: peer.Clone(*upstream)})
		peer.Start()
	}
	for _, s := range subjects {
		if s.name == theirs {
			peer.Stop()
			s.peer.StartOnly()
			awaitPinned(t, s.peer, *pins)
		}
		for _, n := range connectionCounts(t) {
			result := mix(t, s, n)
			result.recovered, result.slow = awaitQuick(t, s)
			t.Log(result.line())
			record.step(result)
			if s.name == ours {
				check(t, result)
			}
		}
		if s.name == ours {
			overload(t, s)
		}
	}
}

// overload lets clients hold more connections than the service takes requests, which it has to
// refuse. By default that takes more than this machine can: 1,024 at once and 4,096 that wait.
func overload(t *testing.T, s *subject) {
	t.Helper()
	s.peer.Stop()
	s.limit = overloadLimit
	s.peer.Edit(func(c harness.Section) { c.Section("api", "pinsvcapi").Set("max_concurrent_requests", s.limit) })
	s.peer.Start()
	result := mix(t, s, max(slices.Max(connectionCounts(t)), overloadConnections))
	result.recovered, result.slow = awaitQuick(t, s)
	t.Log(result.line())
	record.step(result)
	check(t, result)
	if result.share(shed) == 0 {
		t.Errorf("%d connections: nothing was refused", result.connections)
	}
}

// overloadLimit is how many requests are worked on at once when there are too many, and
// overloadConnections how many connections there are at least: four times as many may wait,
// reads and writes each.
const overloadLimit, overloadConnections = 32, 512

// newPeer is a peer with all users, on an external IPFS node: both daemons can use
// its folder.
func newPeer(h *harness.Harness, rpc string) *harness.Peer {
	peer := h.Peer(harness.InitOptions{ExternalIPFS: rpc})
	peer.Edit(func(c harness.Section) {
		all := map[string]string{}
		for i := range users {
			all[userName(i)] = password(i)
		}
		c.Section("api", "pinsvcapi").Set("basic_auth_credentials", all)
	})
	peer.User, peer.Password = userName(0), password(0)
	return peer
}

func check(t *testing.T, s *step) {
	t.Helper()
	if share := s.share(wrong); share > 0 {
		t.Errorf("%d connections: %.3f %% of the requests got no answer, or a wrong one: %v", s.connections, 100*share, s.statuses)
	}
	if s.slow != nil || s.recovered > recovery {
		t.Errorf("%d connections: quick again after %s, want %s: %v", s.connections, s.recovered, recovery, s.slow)
	}
	if s.rate() == 0 {
		t.Errorf("%d connections: nothing was answered", s.connections)
	}
}

// awaitQuick waits until single requests of each kind are quick, for up to ten times as long as
// that may take. The error says what is slow still.
func awaitQuick(t *testing.T, s *subject) (time.Duration, error) {
	t.Helper()
	c := newClient(s.peer.Endpoint(), 1)
	defer c.close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*recovery)
	defer cancel()
	start := time.Now()
	for {
		err := s.quick(ctx, c)
		if err == nil || !backoff.Sleep(ctx, 50*time.Millisecond) {
			return time.Since(start), err
		}
	}
}

// quick is nil if one request of each kind, one after the other, is quick.
func (s *subject) quick(ctx context.Context, c *client) error {
	s.series++
	added := inline(fmt.Sprintf("recovery %s %d", s.name, s.series))
	for _, r := range []struct{ method, path, body string }{
		{http.MethodGet, "/pins/" + seeded(0), ""},
		{http.MethodGet, "/pins?status=pinned&limit=10", ""},
		{http.MethodPost, "/pins", fmt.Sprintf(`{"cid":%q}`, added)},
		{http.MethodDelete, "/pins/" + added, ""},
	} {
		status, took := c.send(ctx, 0, r.method, r.path, r.body)
		if status/100 != 2 || took > quick {
			return fmt.Errorf("%s %s: %d after %s", r.method, r.path, status, took.Round(time.Millisecond))
		}
	}
	return nil
}

// watchMemory samples the memory of a process; the result of stop is the most that
// was resident, in bytes.
func watchMemory(t *testing.T, p *harness.Process) (stop func() int) {
	t.Helper()
	ended := make(chan struct{})
	var wg sync.WaitGroup
	most := p.Resident()
	wg.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				most = max(most, p.Resident())
			case <-ended:
				return
			}
		}
	})
	return func() int {
		close(ended)
		wg.Wait()
		return most
	}
}
