package load

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// pollEvery is how often each pin in flight is asked for: Kubo's own interval.
const pollEvery = 500 * time.Millisecond

// perPoll is how many pins one request names.
const perPoll = 10

// polled is what polling pins in flight was like.
type polled struct {
	pins     int
	rounds   int
	late     int // rounds that took longer than pollEvery
	times    []time.Duration
	resident int
}

// TestLoad_PinsInFlight polls pins that are not there yet, all of them twice a
// second.
func TestLoad_PinsInFlight(t *testing.T) {
	h := harness.New(t)
	peer := h.Peer(harness.InitOptions{})
	peer.Edit(func(c harness.Section) {
		c.Section("api", "pinsvcapi").Set("basic_auth_credentials", map[string]string{userName(0): password(0)})
	})
	peer.User, peer.Password = userName(0), password(0)
	peer.Start()
	c := newClient(peer.Endpoint(), 64)
	defer c.close()
	each(64, *inFlight, func(i int) {
		if status, _ := c.send(t.Context(), 0, http.MethodPost, "/pins", fmt.Sprintf(`{"cid":%q}`, unknown(i))); status != http.StatusAccepted {
			t.Errorf("POST: %d", status)
		}
	})
	result := polled{pins: *inFlight}
	memory := watchMemory(t, peer.Process())
	for end := time.Now().Add(*duration); time.Now().Before(end); result.rounds++ {
		times, took := pollAll(t, c)
		result.times = append(result.times, times...)
		if took > pollEvery {
			result.late++
			continue
		}
		backoff.Sleep(t.Context(), pollEvery-took)
	}
	result.resident = memory()
	sortTimes(result.times)
	t.Logf("%d pins in flight, %d rounds, %d late: p50 %s, p99 %s", result.pins, result.rounds, result.late,
		percentile(result.times, 0.5), percentile(result.times, 0.99))
	record.polled(result)
	page, err := peer.List("status=queued,pinning&limit=1")
	if err != nil || page.Count != *inFlight {
		t.Errorf("%d pins are in flight, want %d: %v", page.Count, *inFlight, err)
	}
}

// unknown is the CID of content that nobody has.
func unknown(i int) string {
	hash, err := multihash.Sum(fmt.Appendf(nil, "nobody has this: %d", i), multihash.SHA2_256, -1)
	if err != nil {
		panic(err)
	}
	return cid.NewCidV1(cid.Raw, hash).String()
}

// pollAll asks for each pin once.
func pollAll(t *testing.T, c *client) (times []time.Duration, took time.Duration) {
	t.Helper()
	start := time.Now()
	var mu sync.Mutex
	each(64, (*inFlight+perPoll-1)/perPoll, func(i int) {
		var cids []string
		for k := i * perPoll; k < min((i+1)*perPoll, *inFlight); k++ {
			cids = append(cids, unknown(k))
		}
		status, took := c.send(t.Context(), 0, http.MethodGet, "/pins?limit=10&status=queued,pinning,pinned,failed&cid="+strings.Join(cids, ","), "")
		if status != http.StatusOK {
			t.Errorf("poll: %d", status)
		}
		mu.Lock()
		times = append(times, took)
		mu.Unlock()
	})
	return times, time.Since(start)
}
