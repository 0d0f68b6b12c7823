package pinsvcapi

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// largeMeta is as much meta as is accepted; JSON escapes each character of it.
func largeMeta() map[string]string {
	return map[string]string{"a": strings.Repeat("\x01", pinsvc.MaxMetaBytes-1)}
}

// heapInUse is what is on the heap now.
func heapInUse() int64 {
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	return int64(now.HeapInuse)
}

// One user makes 1,000 pins with as much meta as is accepted, requests pages of all of them, and
// reads none. A page has almost 100 MiB; all together take what one user may have, and others are
// served at once meanwhile.
func TestAdmission_LargePagesThatNobodyReads(t *testing.T) {
	s := start(t)
	const pins, clients = 1000, 200
	// All rows have the same text, so that the list itself takes nothing.
	page := pinsvc.Page{Count: pins}
	for i := range pins {
		row, err := pinsvc.RowOf(pinsvc.PinStatus{
			RequestID: pinsvctest.RawCID(i).String(), Status: pinsvc.StatusPinned, Created: time.UnixMilli(1), Delegates: []string{"/ip4/1.2.3.4/tcp/4001/p2p/" + somePeer},
			Pin: pinsvc.Pin{CID: pinsvctest.RawCID(i), Meta: largeMeta()},
		})
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			row.Meta = page.Rows[0].Meta
		}
		page.Rows = append(page.Rows, row)
	}
	s.backend.page = func(q pinsvc.Query) pinsvc.Page {
		return pinsvc.Page{Count: pins, Rows: append([]pinsvc.Row(nil), page.Rows[:q.Limit]...)}
	}
	s.api.admission.patience = time.Minute // Nobody is refused: those that wait hold nothing.
	runtime.GC()
	before, peak := heapInUse(), int64(0)
	for range clients {
		dialRaw(t, s, "GET /pins?limit=1000 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic "+basic(testUser, testPassword)+"\r\n\r\n")
	}
	pages := s.api.admission.pages
	comes := func(what string, is func() bool) {
		t.Helper()
		await.True(t, what, func() bool {
			peak = max(peak, heapInUse())
			pages.mu.Lock()
			defer pages.mu.Unlock()
			return is()
		})
	}
	comes("the user has its share and all others wait", func() bool {
		return pages.used+pageBytes(1000) > pages.share && int64(len(pages.waiting)) == clients-pages.used/pageBytes(1000)
	})
	began := time.Now()
	get := func(limit int, user, password string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("%s/pins?limit=%d", s.url, limit), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(user, password)
		s.receive(r).is(http.StatusOK)
	}
	const others = 5
	for range others {
		get(20, testUser, testPassword)
		get(20, "bob", "hunter2")
	}
	took := time.Since(began) / (2 * others)
	get(200, "bob", "hunter2")
	peak = max(peak, heapInUse())
	t.Logf("%d clients that do not read take %d MiB at the peak; a page of 20 for another takes %s", clients, (peak-before)>>20, took)
	if grown := peak - before; grown > bodyMemory+pageMemory+responseMemory {
		t.Errorf("%d clients that do not read take %d MiB", clients, grown>>20)
	}
	if took > time.Second {
		t.Errorf("a page of 20 takes %s", took)
	}
}

// A page in pieces is the same as a whole one, whatever its length.
func TestPageResponse_InPieces(t *testing.T) {
	s := start(t)
	for i := range 120 {
		var meta map[string]string
		if i%8 == 1 {
			meta = largeMeta()
		}
		s.pinID(pinsvc.Pin{CID: someCID(i), Name: fmt.Sprint(i), Meta: meta})
	}
	request := func(method, path string) *http.Request { // Comparing 10 MB with openapi.yaml takes seconds.
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, s.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(testUser, testPassword)
		return r
	}
	statuses := "&status=queued,pinning,pinned,failed"
	for _, limit := range []int{1, 20, 100, 1000} {
		path := fmt.Sprintf("/pins?limit=%d%s", limit, statuses)
		rep := s.receive(request(http.MethodGet, path)).is(http.StatusOK)
		query, err := pinsvc.ParseRawQuery(strings.TrimPrefix(path, "/pins?"))
		if err != nil {
			t.Fatal(err)
		}
		page, err := s.backend.Fake.List(t.Context(), testUser, query)
		if err != nil {
			t.Fatal(err)
		}
		want, err := page.AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		if string(rep.body) != string(want)+"\n" {
			t.Errorf("limit %d: %d bytes, want %d", limit, len(rep.body), len(want)+1)
		}
		if head := s.receive(request(http.MethodHead, path)); head.status != http.StatusOK || len(head.body) != 0 {
			t.Errorf("HEAD is %d with %d bytes", head.status, len(head.body))
		}
	}
	for _, m := range []*memory{s.api.admission.pages, s.api.admission.responses, s.api.admission.bodies} {
		awaitReleased(t, m)
	}
}

// awaitReleased waits until nothing is held: a client may have its response before.
func awaitReleased(t *testing.T, m *memory) {
	t.Helper()
	await.Success(t, "the release after the last response", func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.used != 0 {
			return fmt.Errorf("%d bytes are held", m.used)
		}
		return nil
	})
}

// A row that breaks the contract far behind the first piece is noticed before anything is sent.
func TestPageResponse_BrokenRowBehindTheFirstPieceIs500(t *testing.T) {
	s := start(t)
	for i := range 30 {
		s.pinID(pinsvc.Pin{CID: someCID(i), Meta: largeMeta()})
	}
	query := pinsvc.Query{Limit: 30, Statuses: pinsvc.AllStatuses}
	page, err := s.backend.Fake.List(t.Context(), testUser, query)
	if err != nil {
		t.Fatal(err)
	}
	for _, spoil := range []func(*pinsvc.Row){
		func(r *pinsvc.Row) { r.Key = "" },
		func(r *pinsvc.Row) { r.Status = 0 },
		func(r *pinsvc.Row) { r.Created = time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli() },
	} {
		s.backend.page = func(pinsvc.Query) pinsvc.Page {
			broken := pinsvc.Page{Count: page.Count, Rows: append([]pinsvc.Row(nil), page.Rows...)}
			spoil(&broken.Rows[len(broken.Rows)-1])
			return broken
		}
		s.do(http.MethodGet, "/pins?limit=30", "").fails(http.StatusInternalServerError, "INTERNAL_SERVER_ERROR", "request ID")
	}
}
