package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
)

// step is what one number of connections did to one subject.
type step struct {
	subject     string
	limit       int // of requests at once, where it is not the default
	connections int
	took        time.Duration
	times       []time.Duration // of served requests, sorted: refusals are quick and no service
	statuses    map[int]int     // failed: no response
	resident    int             // bytes, the most
	recovered   time.Duration   // until single requests are quick again
	slow        error           // which were not, when the wait for that was given up
}

// rate is how many requests were served each second.
func (s *step) rate() float64 { return float64(len(s.times)) / s.took.Seconds() }

// share of requests with these statuses.
func (s *step) share(is func(status int) bool) float64 {
	all, matching := 0, 0
	for status, n := range s.statuses {
		all += n
		if is(status) {
			matching += n
		}
	}
	return float64(matching) / float64(max(all, 1))
}

func shed(status int) bool {
	return status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests
}

func served(status int) bool { return status/100 == 2 }

func wrong(status int) bool { return status == failed || status >= 400 && !shed(status) }

// worker is one connection's user: of 20 requests 10 read a pin, 5 list, 3 add and
// 2 delete what it added.
type worker struct {
	id       int
	subject  string
	rng      *rand.Rand
	added    []string
	next     int
	times    []time.Duration
	statuses map[int]int
}

func (w *worker) request() (method, path, body string) {
	switch k := w.rng.IntN(20); {
	case k < 10:
		return http.MethodGet, "/pins/" + seeded(w.rng.IntN(*pins)), ""
	case k < 14:
		return http.MethodGet, "/pins?status=pinned&limit=10", ""
	case k < 15:
		return http.MethodGet, fmt.Sprintf("/pins?name=seeded%%20%d", w.rng.IntN(*pins)), ""
	case k < 18 || len(w.added) == 0:
		c := inline(fmt.Sprintf("load %s %d %d", w.subject, w.id, w.next))
		w.next++
		w.added = append(w.added, c)
		return http.MethodPost, "/pins", fmt.Sprintf(`{"cid":%q,"name":"load","meta":{"worker":"%d"}}`, c, w.id)
	default:
		c := w.added[0]
		w.added = w.added[1:]
		return http.MethodDelete, "/pins/" + c, ""
	}
}

func (w *worker) run(ctx context.Context, c *client) {
	for ctx.Err() == nil {
		method, path, body := w.request()
		status, took := c.send(ctx, w.id, method, path, body)
		if ctx.Err() != nil {
			return
		}
		w.statuses[status]++
		if status == failed || shed(status) {
			if method == http.MethodPost {
				w.added = w.added[:len(w.added)-1]
			}
			// As Retry-After asks for, but sooner: the load stays above what
			// is served.
			backoff.Sleep(ctx, 100*time.Millisecond)
		}
		if served(status) {
			w.times = append(w.times, took)
		}
	}
}

// mix keeps up the load of many connections for a while.
func mix(t *testing.T, s *subject, n int) *step {
	t.Helper()
	c := newClient(s.peer.Endpoint(), n)
	defer c.close()
	ctx, cancel := context.WithTimeout(t.Context(), *duration)
	defer cancel()
	memory := watchMemory(t, s.peer.Process())
	workers := make([]*worker, n)
	start := time.Now()
	var wg sync.WaitGroup
	for i := range workers {
		s.series++
		w := &worker{
			id: s.series, subject: s.name, rng: rand.New(rand.NewPCG(uint64(i), 1)), statuses: make(map[int]int),
		}
		workers[i] = w
		wg.Go(func() { w.run(ctx, c) })
	}
	wg.Wait()
	result := &step{subject: s.name, limit: s.limit, connections: n, took: time.Since(start), statuses: make(map[int]int)}
	for _, w := range workers {
		result.times = append(result.times, w.times...)
		for status, count := range w.statuses {
			result.statuses[status] += count
		}
	}
	sortTimes(result.times)
	result.resident = memory()
	return result
}
