package pinsvcapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

const somePeer = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"

// everyStatus lists all pins.
const everyStatus = "limit=1000&status=queued,pinning,pinned,failed"

func TestABadBodyIs400AndPinsNothing(t *testing.T) {
	s := start(t)
	id := s.pinID(pinsvc.Pin{CID: someCID(99), Name: "held"})
	tests := []struct{ name, body, details string }{
		{"no fields", `{}`, "cid"},
		{"null", `null`, "object"},
		{"an array", `[]`, "object"},
		{"no CID", `{"name":"x"}`, "cid"},
		{"an empty CID", `{"cid":""}`, "cid"},
		{"no text as CID", `{"cid":7}`, "cid"},
		{"a wrong CID", `{"cid":"notacid"}`, "cid"},
		{"no JSON", `cid=x`, "JSON"},
		{"half of a document", `{"cid":"`, "JSON"},
		{"garbage after the document", body(1, "") + `x`, "JSON"},
		{"a second document", body(1, "") + body(2, ""), "JSON"},
		{"name that is no text", body(1, `,"name":7`), "name"},
		{"name that is too long", body(1, `,"name":"`+strings.Repeat("é", 256)+`"`), "name"},
		{"meta that is no text", body(1, `,"meta":{"a":1}`), "meta"},
		{"meta that is no object", body(1, `,"meta":["a"]`), "meta"},
		{"meta of more than 16 KiB", body(1, `,"meta":{"a":"`+strings.Repeat("x", 17<<10)+`"}`), "meta"},
		{"a reserved key", body(1, `,"meta":{"pinsvc.created":"x"}`), "meta"},
		{"origin that is no string", body(1, `,"origins":[1]`), "origins"},
		{"origin without /p2p", body(1, `,"origins":["/ip4/203.0.113.9/tcp/4001"]`), "origins"},
		{"origins that are no list", body(1, `,"origins":"x"`), "origins"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.do(http.MethodPost, "/pins", tt.body).fails(400, "BAD_REQUEST", tt.details)
			s.do(http.MethodPost, "/pins/"+id, tt.body).fails(400, "BAD_REQUEST", tt.details)
		})
	}
	s.do(http.MethodPost, "/pins", "").fails(400, "BAD_REQUEST", "empty")
	if names := s.names(everyStatus); len(names) != 1 || names[0] != "held" {
		t.Errorf("there are %q", names)
	}
}

func TestNamesAreCountedInCodePoints(t *testing.T) {
	s := start(t)
	for i, name := range []string{
		strings.Repeat("🗂", 255), strings.Repeat("é", 255), strings.Repeat("a", 255), strings.Repeat(`\u00e9`, 255), strings.Repeat(`\"`, 255),
	} {
		st := s.do(http.MethodPost, "/pins", body(i, `,"name":"`+name+`"`)).pinStatus(http.StatusAccepted)
		if n := len([]rune(st.Pin.Name)); n != 255 {
			t.Errorf("a name of %d code points", n)
		}
	}
}

func TestMoreThan20OriginsAreCut(t *testing.T) {
	s := start(t)
	var origins []string
	for i := range 25 {
		origins = append(origins, fmt.Sprintf(`"/ip4/203.0.113.%d/tcp/4001/p2p/%s"`, i+1, somePeer))
	}
	st := s.do(http.MethodPost, "/pins", body(1, `,"origins":[`+strings.Join(origins, ",")+`]`)).pinStatus(http.StatusAccepted)
	if len(st.Pin.Origins) != 20 {
		t.Errorf("%d origins", len(st.Pin.Origins))
	}
}

func TestALargeBodyIs413(t *testing.T) {
	s := start(t, func(set *setup) { set.cfg.MaxBodyBytes = 4096 })
	id := s.pinID(pinsvc.Pin{CID: someCID(9)})
	large := body(1, `,"x":"`+strings.Repeat("x", 4096)+`"`)
	fits := body(2, `,"x":"`+strings.Repeat("x", 2000)+`"`)
	chunked := func(r *http.Request) { r.ContentLength = -1 }
	for _, path := range []string{"/pins", "/pins/" + id} {
		s.do(http.MethodPost, path, large).fails(413, "PAYLOAD_TOO_LARGE", "")
		s.do(http.MethodPost, path, large, chunked).fails(413, "PAYLOAD_TOO_LARGE", "")
	}
	s.do(http.MethodPost, "/token", large).fails(413, "PAYLOAD_TOO_LARGE", "")
	s.do(http.MethodPost, "/pins", fits, chunked).is(http.StatusAccepted)
}

func TestTheDefaultBodyLimitIs1MiB(t *testing.T) {
	s := start(t)
	s.do(http.MethodPost, "/pins", body(1, `,"x":"`+strings.Repeat("x", 1<<20-200)+`"`)).is(http.StatusAccepted)
	s.do(http.MethodPost, "/pins", body(2, `,"x":"`+strings.Repeat("x", 1<<20)+`"`)).fails(413, "PAYLOAD_TOO_LARGE", "")
}

func TestContentTypes(t *testing.T) {
	s := start(t)
	tests := []struct {
		contentType, origin string
		status              int
	}{
		{"application/json", "", 202},
		{"application/json; charset=utf-8", "https://app.example", 202},
		{"APPLICATION/JSON", "", 202},
		{"text/json", "", 202},
		{"application/ld+json", "", 202},
		{"", "", 202},
		// A page can send these to another site unasked, with the password
		// that the browser remembers.
		{"", "https://app.example", 415},
		{"text/plain", "https://app.example", 415},
		{"text/plain;charset=UTF-8", "", 415},
		{"application/x-www-form-urlencoded", "", 415},
		{"multipart/form-data; boundary=x", "", 415},
		{"application/octet-stream", "", 415},
		{"application/jsonp", "", 415},
		{"json", "", 415},
		{"/", "", 415},
	}
	for i, tt := range tests {
		rep := s.do(http.MethodPost, "/pins", body(i, ""), func(r *http.Request) {
			r.Header.Del("Content-Type")
			if tt.contentType != "" {
				r.Header.Set("Content-Type", tt.contentType)
			}
			if tt.origin != "" {
				r.Header.Set("Origin", tt.origin)
			}
		})
		if rep.status != tt.status {
			t.Errorf("Content-Type %q from %q: %d, want %d", tt.contentType, tt.origin, rep.status, tt.status)
		}
		if tt.status == 415 {
			rep.fails(415, "UNSUPPORTED_MEDIA_TYPE", "application/json")
		}
	}
	s.do(http.MethodPost, "/pins", body(1, ""), header("Content-Encoding", "gzip")).fails(415, "UNSUPPORTED_MEDIA_TYPE", "Content-Encoding")
	s.do(http.MethodPost, "/pins", body(1, ""), header("Content-Encoding", "identity")).is(http.StatusAccepted)
}

func TestPrivateOriginsAreKeptUnlessRefused(t *testing.T) {
	tests := []struct {
		origin  string
		private bool
	}{
		{"/ip4/192.168.1.9/tcp/4001", true},
		{"/ip4/10.0.0.1/udp/4001/quic-v1", true},
		{"/ip4/127.0.0.1/tcp/4001", true},
		{"/ip4/169.254.1.1/tcp/4001", true},
		{"/ip4/0.0.0.0/tcp/4001", true},
		{"/ip6/::1/tcp/4001", true},
		{"/ip6/fe80::1/tcp/4001", true},
		{"/ip6/fc00::1/tcp/4001", true},
		{"/ip4/203.0.113.9/tcp/4001", false},
		{"/ip6/2001:db8::1/tcp/4001", false},
		{"/dns4/node.example/tcp/4001", false},
		{"/ip4/203.0.113.9/tcp/4001/p2p/" + somePeer + "/p2p-circuit", false},
	}
	keeps := start(t)
	refuses := start(t, func(set *setup) { set.cfg.RefusePrivateOrigins = true })
	for i, tt := range tests {
		pin := body(i, `,"origins":["`+tt.origin+`/p2p/`+somePeer+`"]`)
		if st := keeps.do(http.MethodPost, "/pins", pin).pinStatus(http.StatusAccepted); len(st.Pin.Origins) != 1 {
			t.Errorf("%s is not kept", tt.origin)
		}
		rep := refuses.do(http.MethodPost, "/pins", pin)
		if tt.private {
			rep.fails(400, "BAD_REQUEST", tt.origin)
			continue
		}
		rep.is(http.StatusAccepted)
	}
}

func TestTheCallerReachesTheBackend(t *testing.T) {
	// The fake does not tell users apart; this one keeps what it was told.
	users := make(chan pinsvc.User, 1)
	s := start(t, func(set *setup) {
		inner := set.backend
		set.opts.NewBackend = newBackendFunc(&whose{scripted: inner, users: users})
	})
	id := pinsvctest.RawCID(1).String()
	for _, user := range []string{testUser, "bob"} {
		password := map[string]string{testUser: testPassword, "bob": "hunter2"}[user]
		for _, tt := range []struct{ method, path, body string }{
			{"GET", "/pins", ""}, {"POST", "/pins", body(1, "")}, {"GET", "/pins/" + id, ""},
			{"POST", "/pins/" + id, body(1, "")}, {"DELETE", "/pins/" + id, ""},
		} {
			s.do(tt.method, tt.path, tt.body, as(user, password))
			if got := <-users; got != pinsvc.User(user) {
				t.Errorf("%s %s of %s is %q's", tt.method, tt.path, user, got)
			}
		}
	}
}
