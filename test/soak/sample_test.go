package soak

import (
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// sample lets the clients rest and looks at what the process uses.
func (l *load) sample(t *testing.T) sample {
	t.Helper()
	l.check(t)
	l.asking.Lock()
	defer l.asking.Unlock()
	l.service.http.CloseIdleConnections()
	s := sample{goroutines: atRest(), resident: resident(), done: tally{
		writes: atomic.LoadInt64(&l.tally.writes),
		reads:  atomic.LoadInt64(&l.tally.reads),
		polls:  atomic.LoadInt64(&l.tally.polls),
	}}
	runtime.GC()
	runtime.GC() // What a pool holds survives one.
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s.heap = m.HeapAlloc
	return s
}

// check fails the test with the first fault of a client.
func (l *load) check(t *testing.T) {
	t.Helper()
	if err := l.fault.Load(); err != nil {
		t.Fatal(*err)
	}
}

// atRest is the least number of goroutines seen within a fifth of a second: those
// that end connections or work off what was asked need a moment.
func atRest() int {
	least := runtime.NumGoroutine()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 20 {
		<-tick.C
		least = min(least, runtime.NumGoroutine())
	}
	return least
}

// resident is the memory of this process in bytes, zero where the system does
// not tell.
func resident() int64 {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data), "VmRSS:")
	kib, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	n, err := strconv.ParseInt(kib, 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}

// stop ends the clients.
func (l *load) stop(t *testing.T) {
	t.Helper()
	l.cancel()
	l.done.Wait()
	l.check(t)
}

// checkTruth wants exactly the pins that the clients have left, each with the
// status that its content has.
func (l *load) checkTruth(t *testing.T) {
	t.Helper()
	// Requests that were under way at the end may or may not have been done.
	for i := range l.slots {
		id := l.slots[i].current()
		if id == "" {
			id = content(i, l.slots[i].generation).String()
		}
		err := l.service.request(t.Context(), http.MethodGet, "/pins/"+id, nil, nil)
		if err == nil {
			err = l.service.request(t.Context(), http.MethodDelete, "/pins/"+id, nil, nil)
		}
		if err == nil || l.slots[i].current() == "" {
			err = l.add(t.Context(), i)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	l.service.eventually(t, "the lists show what there is", func() error { return l.truth(t) })
}

func (l *load) truth(t *testing.T) error {
	listed := make(map[string]pinsvc.Status)
	for query := "status=queued,pinning,pinned,failed&limit=100"; ; {
		page, err := l.service.list(t.Context(), query)
		if err != nil {
			return err
		}
		for _, pin := range page.Results {
			listed[pin.RequestID] = pin.Status
		}
		if len(page.Results) == page.Count {
			break
		}
		last := page.Results[len(page.Results)-1].Created.Format("2006-01-02T15:04:05.000Z")
		query = "status=queued,pinning,pinned,failed&limit=100&before=" + last
	}
	for i := range l.slots {
		id := l.slots[i].current()
		status, ok := listed[id]
		switch {
		case !ok:
			return fmt.Errorf("%s of slot %d is not listed", id, i)
		case i >= held && status != pinsvc.StatusPinned:
			return fmt.Errorf("%s of slot %d is %s", id, i, status)
		case i < held && status == pinsvc.StatusPinned:
			return fmt.Errorf("%s of slot %d is pinned, but no node has it", id, i)
		}
	}
	if len(listed) != slots {
		return fmt.Errorf("%d pins are listed, there are %d", len(listed), slots)
	}
	return nil
}
