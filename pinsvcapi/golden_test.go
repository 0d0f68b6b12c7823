package pinsvcapi

import (
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// The examples are what a client reads off the wire, byte by byte.
func TestHandlers_GoldenWireExamples(t *testing.T) {
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
