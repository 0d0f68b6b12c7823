package pinsvcapi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func someCID(n int) cid.Cid { return pinsvctest.RawCID(n) }

func body(n int, rest string) string { return `{"cid":"` + someCID(n).String() + `"` + rest + `}` }

func TestPostAndReplaceAndDeleteAnswer202(t *testing.T) {
	s := start(t)
	st := s.do(http.MethodPost, "/pins", body(1, `,"name":"one"`)).pinStatus(http.StatusAccepted)
	if st.Pin.Name != "one" || st.Status != pinsvc.StatusQueued {
		t.Errorf("%+v", st)
	}
	st = s.do(http.MethodPost, "/pins/"+st.RequestID, body(2, `,"name":"two"`)).pinStatus(http.StatusAccepted)
	if st.Pin.Name != "two" || st.RequestID != someCID(2).String() {
		t.Errorf("%+v", st)
	}
	rep := s.do(http.MethodDelete, "/pins/"+st.RequestID, "").is(http.StatusAccepted)
	if len(rep.body) != 0 || rep.header.Get("Content-Type") != "" {
		t.Errorf("DELETE answers %q of %q", rep.body, rep.header.Get("Content-Type"))
	}
	s.do(http.MethodGet, "/pins/"+st.RequestID, "").fails(404, "NOT_FOUND", "")
}

func TestPostSaysTheRealStatus(t *testing.T) {
	s := start(t)
	id := s.pinID(pinsvc.Pin{CID: someCID(1)})
	s.backend.SetStatus(id, pinsvc.StatusPinned)
	if st := s.do(http.MethodPost, "/pins", body(1, "")).pinStatus(http.StatusAccepted); st.Status != pinsvc.StatusPinned {
		t.Errorf("status %s, want pinned", st.Status)
	}
}

func TestReplaceWithTheSameCIDKeepsThePin(t *testing.T) {
	s := start(t)
	id := s.pinID(pinsvc.Pin{CID: someCID(1), Name: "one"})
	st := s.do(http.MethodPost, "/pins/"+id, body(1, `,"meta":{"a":"b"}`)).pinStatus(http.StatusAccepted)
	if st.RequestID != id || st.Pin.Name != "" || st.Pin.Meta["a"] != "b" {
		t.Errorf("%+v", st)
	}
	s.do(http.MethodGet, "/pins/"+id, "").is(http.StatusOK)
}

// Upstream pins the CID, unpins nothing, and sends two documents.
func TestReplaceOfWhatIsNoCIDPinsNothingAndAnswersOnce(t *testing.T) {
	s := start(t)
	for _, id := range []string{"notacid", someCID(9).String(), "..", "%00"} {
		s.do(http.MethodPost, "/pins/"+id, body(1, "")).fails(404, "NOT_FOUND", "")
	}
	if names := s.names("status=queued,pinning,pinned,failed"); len(names) != 0 {
		t.Errorf("%d pins", len(names))
	}
}

func TestUnknownRequestIDsAre404(t *testing.T) {
	s := start(t)
	for _, id := range []string{"x", "notacid", someCID(1).String(), pinsvctest.V0CID(1).String(), ".", "..", "%20", "ü", strings.Repeat("a", 2000)} {
		s.do(http.MethodGet, "/pins/"+id, "").fails(404, "NOT_FOUND", "")
		s.do(http.MethodDelete, "/pins/"+id, "").fails(404, "NOT_FOUND", "")
	}
}

func TestSlashesAreServedWithoutRedirect(t *testing.T) {
	s := start(t)
	for i, path := range []string{"/pins", "//pins", "/pins/", "///pins//"} {
		st := s.do(http.MethodPost, path, body(i, "")).pinStatus(http.StatusAccepted)
		s.do(http.MethodGet, path, "").is(http.StatusOK)
		for _, sub := range []string{path + "/", path + "//"} {
			s.do(http.MethodGet, sub+st.RequestID, "").is(http.StatusOK)
			s.do(http.MethodGet, sub+st.RequestID+"/", "").is(http.StatusOK)
		}
	}
	s.do(http.MethodGet, "//health/", "").is(http.StatusOK)
}

// checkContract sees every answer that has a Location.
func TestForeignPathsAre404AndNoRedirect(t *testing.T) {
	s := start(t)
	for _, path := range []string{"/", "//", "//evil.example/", "//evil.example/..", "/\\evil.example", "//evil.example/%2f..", "/pin", "/pins/a/b", "/./pins", "/pins/../pins/x/y", "/Pins", "/token/x", "/debug/pprof/", "/metrics"} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodOptions} {
			s.do(method, path, "").fails(404, "NOT_FOUND", "no such path")
		}
	}
}

func TestOtherMethodsAre405WithAllow(t *testing.T) {
	s := start(t)
	tests := []struct{ method, path, allow string }{
		{http.MethodPut, "/pins", "GET, HEAD, OPTIONS, POST"},
		{http.MethodDelete, "/pins", "GET, HEAD, OPTIONS, POST"},
		{http.MethodPatch, "/pins/x", "DELETE, GET, HEAD, OPTIONS, POST"},
		{"BREW", "/pins/x", "DELETE, GET, HEAD, OPTIONS, POST"},
		{http.MethodGet, "/token", "OPTIONS, POST"},
		{http.MethodPost, "/health", "GET, HEAD, OPTIONS"},
		{http.MethodDelete, "/openapi.yaml", "GET, HEAD, OPTIONS"},
	}
	for _, tt := range tests {
		rep := s.do(tt.method, tt.path, "")
		rep.fails(405, "METHOD_NOT_ALLOWED", tt.allow)
		if got := rep.header.Get("Allow"); got != tt.allow {
			t.Errorf("%s %s: Allow %q, want %q", tt.method, tt.path, got, tt.allow)
		}
	}
}

func TestOptionsTellsTheMethodsToAnybody(t *testing.T) {
	s := start(t)
	for path, allow := range map[string]string{
		"/pins":    "GET, HEAD, OPTIONS, POST",
		"/pins/x/": "DELETE, GET, HEAD, OPTIONS, POST",
		"/token":   "OPTIONS, POST",
		"/ready":   "GET, HEAD, OPTIONS",
	} {
		rep := s.do(http.MethodOptions, path, "", anonymous).is(http.StatusNoContent)
		if got := rep.header.Get("Allow"); got != allow {
			t.Errorf("OPTIONS %s: Allow %q, want %q", path, got, allow)
		}
	}
}

func TestHeadAnswersAsGetWithoutTheBody(t *testing.T) {
	s := start(t)
	id := s.pinID(pinsvc.Pin{CID: someCID(1)})
	for _, path := range []string{"/pins", "/pins/" + id, "/health", "/ready", "/openapi.yaml"} {
		get := s.do(http.MethodGet, path, "").is(http.StatusOK)
		head := s.do(http.MethodHead, path, "").is(http.StatusOK)
		for _, name := range []string{"Content-Type", "Content-Length"} {
			if head.header.Get(name) != get.header.Get(name) || get.header.Get(name) == "" {
				t.Errorf("HEAD %s: %s %q, GET says %q", path, name, head.header.Get(name), get.header.Get(name))
			}
		}
	}
	s.do(http.MethodHead, "/pins/unknown", "").is(http.StatusNotFound)
	s.do(http.MethodHead, "/pins", "", anonymous).is(http.StatusUnauthorized)
	s.do(http.MethodHead, "/token", "").is(http.StatusMethodNotAllowed)
}

// The examples are what a client reads off the wire, byte by byte.
func TestGoldenWireExamples(t *testing.T) {
	s := start(t, func(set *setup) { set.opts.Version = "1.2.3" })
	one := someCID(1).String()
	s.backend.PinElsewhere(time.Date(2026, 1, 2, 15, 4, 5, 678_000_000, time.UTC), pinsvc.Pin{
		CID: someCID(1), Name: `a "name" <&> ü`, Meta: map[string]string{"app": "x"},
		Origins: addrs(t, "/ip4/203.0.113.9/tcp/4001/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"),
	})
	s.backend.PinElsewhere(time.Date(2026, 1, 2, 15, 4, 6, 0, time.UTC), pinsvc.Pin{CID: someCID(2)})
	s.backend.SetStatus(one, pinsvc.StatusPinned)
	s.backend.SetStatus(someCID(2).String(), pinsvc.StatusFailed)
	first := `{"requestid":"` + one + `","status":"pinned","created":"2026-01-02T15:04:05.678Z",` +
		`"pin":{"cid":"` + one + `","name":"a \"name\" <&> ü",` +
		`"origins":["/ip4/203.0.113.9/tcp/4001/p2p/12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"],` +
		`"meta":{"app":"x"}},"delegates":["` + pinsvctest.FakeDelegate + `"]}`
	two := someCID(2).String()
	second := `{"requestid":"` + two + `","status":"failed","created":"2026-01-02T15:04:06.000Z",` +
		`"pin":{"cid":"` + two + `"},"delegates":["` + pinsvctest.FakeDelegate + `"],` +
		`"info":{"status_details":"the fake was told to fail this pin"}}`
	tests := []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/pins", "", 200, `{"count":1,"results":[` + first + `]}`},
		{"GET", "/pins?status=pinned,failed", "", 200, `{"count":2,"results":[` + second + `,` + first + `]}`},
		{"GET", "/pins?name=nobody", "", 200, `{"count":0,"results":[]}`},
		{"GET", "/pins/" + one, "", 200, first},
		{"GET", "/pins/" + two, "", 200, second},
		{"POST", "/pins", `{"cid":"` + one + `"}`, 202, `{"requestid":"` + one + `","status":"pinned","created":"2026-01-02T15:04:05.678Z",` +
			`"pin":{"cid":"` + one + `"},"delegates":["` + pinsvctest.FakeDelegate + `"]}`},
		{"POST", "/pins/" + two, `{"cid":"` + two + `","name":"again"}`, 202, `{"requestid":"` + two + `","status":"queued","created":"2026-01-02T15:04:06.000Z",` +
			`"pin":{"cid":"` + two + `","name":"again"},"delegates":["` + pinsvctest.FakeDelegate + `"]}`},
		{"GET", "/pins/x", "", 404, `{"error":{"reason":"NOT_FOUND","details":"no pin has the request ID \"x\""}}`},
		{"GET", "/health", "", 200, `{"status":"alive","version":"1.2.3"}`},
		{"GET", "/ready", "", 200, `{"status":"ready"}`},
	}
	for _, tt := range tests {
		rep := s.do(tt.method, tt.path, tt.body).is(tt.status)
		if got := string(rep.body); got != tt.want+"\n" {
			t.Errorf("%s %s answers\n%swant\n%s", tt.method, tt.path, got, tt.want)
		}
		if got := rep.header.Get("Content-Type"); got != "application/json" {
			t.Errorf("%s %s: Content-Type %q", tt.method, tt.path, got)
		}
	}
	s.do("DELETE", "/pins/"+one, "").is(202)
}
