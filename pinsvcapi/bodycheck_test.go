package pinsvcapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

func TestCheckBody_LargeBodyIs413(t *testing.T) {
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

func TestCheckBody_DefaultLimitIs1MiB(t *testing.T) {
	s := start(t)
	s.do(http.MethodPost, "/pins", body(1, `,"x":"`+strings.Repeat("x", 1<<20-200)+`"`)).is(http.StatusAccepted)
	s.do(http.MethodPost, "/pins", body(2, `,"x":"`+strings.Repeat("x", 1<<20)+`"`)).fails(413, "PAYLOAD_TOO_LARGE", "")
}

func TestCheckBody_ContentTypes(t *testing.T) {
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

func TestBoundBodyTime_SlowBodiesAreCutOff(t *testing.T) {
	const length = "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
	const login = "Authorization: Basic YWxpY2U6Y29ycmVjdCBob3JzZQ==\r\n"
	tests := []struct {
		name, request string
		status        int
	}{
		{"that the handler waits for", "POST /pins HTTP/1.1\r\nHost: x\r\n" + login + length, 400},
		{"of a refused request", "POST /pins HTTP/1.1\r\nHost: x\r\n" + length, 401},
		{"that nobody wants", "GET /health HTTP/1.1\r\nHost: x\r\n" + length, 200},
		{"in chunks", "POST /pins HTTP/1.1\r\nHost: x\r\n" + login + "Transfer-Encoding: chunked\r\n\r\n5\r\n{", 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, func(set *setup) { set.cfg.BodyReadTimeout = 50 * time.Millisecond })
			_, reader := dialRaw(t, s, tt.request)
			resp, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != tt.status {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.status)
			}
			closed(t, reader)
		})
	}
}

// What follows a request whose end a proxy may see elsewhere is not read as another one.
func TestIdentify_ADoubtfulLengthEndsTheConnection(t *testing.T) {
	const login = "Host: x\r\nAuthorization: Basic YWxpY2U6Y29ycmVjdCBob3JzZQ==\r\nContent-Type: application/json\r\n"
	const smuggled = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
	chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body(1, "")), body(1, ""))
	tests := []struct {
		name, request string
		status        int
	}{
		{"a length and chunks", "POST /pins HTTP/1.1\r\n" + login + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked, 202},
		{"a length and no chunk", "POST /pins HTTP/1.1\r\n" + login + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		{"of a request without a body", "GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200},
		{"of a refused request", "POST /pins HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 401},
		{"a coding in HTTP/1.0", "POST /pins HTTP/1.0\r\nConnection: keep-alive\r\n" + login + "Transfer-Encoding: chunked\r\n\r\n", 400},
		{"a length and a coding in HTTP/1.0", "POST /pins HTTP/1.0\r\nConnection: keep-alive\r\n" + login +
			fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n%s", len(body(1, "")), body(1, "")), 202},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t)
			_, reader := dialRaw(t, s, tt.request+smuggled)
			resp, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != tt.status {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.status)
			}
			closed(t, reader)
		})
	}
}

// The limit is for the body: once it is there, the response may take longer.
func TestBoundBodyTime_DoesNotCutOffSlowResponses(t *testing.T) {
	const limit = 50 * time.Millisecond
	s := start(t, func(set *setup) { set.cfg.BodyReadTimeout = limit })
	s.backend.before = func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(4 * limit):
			return nil
		}
	}
	s.do(http.MethodPost, "/pins", body(1, "")).is(202)
	s.do(http.MethodPost, "/pins", body(2, ""), func(r *http.Request) { r.ContentLength = -1 }).is(202)
	s.do(http.MethodGet, "/pins", "").is(200)
}

// "curl -d" declares a form. No page can send a token to another site without
// a preflight, so with one the declared type does not matter; a password is
// something that a browser adds by itself.
func TestCheckBody_FormsOfCurl(t *testing.T) {
	s := start(t)
	token := s.token()
	free := start(t, func(set *setup) { set.cfg.BasicAuthCredentials = nil })
	tests := []struct {
		name        string
		s           *service
		contentType string
		set         option
		ok          bool
	}{
		{"Bearer", s, formType, bearer(token), true},
		{"bearer and parameters", s, formType + "; charset=utf-8", header("Authorization", "bearer "+token), true},
		{"Basic", s, formType, as(testUser, testPassword), false},
		{"Basic and X-API-Key", s, formType, header("X-API-Key", "x"), true},
		{"another type", s, "text/plain", bearer(token), false},
		{"a multipart form", s, "multipart/form-data; boundary=x", bearer(token), false},
		{"no users, Bearer", free, formType, bearer("anything"), true},
		{"no users, X-API-Key", free, formType, header("X-API-Key", "x"), true},
		{"no users, nothing", free, formType, anonymous, false},
		{"no users, Basic", free, formType, as("x", "y"), false},
	}
	for _, tt := range tests {
		rep := tt.s.do(http.MethodPost, "/pins", body(1, ""), header("Content-Type", tt.contentType), tt.set)
		if tt.ok {
			rep.is(http.StatusAccepted)
			continue
		}
		rep.fails(415, "UNSUPPORTED_MEDIA_TYPE", `curl -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" -d`)
	}
	s.do(http.MethodPost, "/token", "x=y", header("Content-Type", formType), bearer(token)).fails(415, "UNSUPPORTED_MEDIA_TYPE", "no body")
}

// Policies are per endpoint: one for uploads accepts other types and sizes.
func TestCheckBody_PolicyOfTheEndpoint(t *testing.T) {
	upload := policy{body: bodyPolicy{accepted: true, types: []string{"application/octet-stream"}, maxBytes: 10_000, readTimeout: 50 * time.Millisecond}}
	read := func(_ *API, _ *request, r *http.Request) (response, error) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return response{}, err
		}
		return response{status: http.StatusAccepted}, nil
	}
	s := start(t, func(set *setup) {
		set.cfg.MaxBodyBytes = 4096
		set.opts.endpoints = []endpoint{{"upload", http.MethodPost, "/upload", upload, read}}
	})
	send := func(contentType string, size int, chunked bool) reply {
		return s.undescribed(http.MethodPost, "/upload", func(r *http.Request) {
			r.Header.Set("Content-Type", contentType)
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat("x", size))), int64(size)
			if chunked {
				r.ContentLength = -1
			}
		})
	}
	send("application/octet-stream", 10_000, false).is(http.StatusAccepted)
	send("application/octet-stream", 10_001, false).fails(413, "PAYLOAD_TOO_LARGE", "10000")
	send("application/octet-stream", 10_001, true).fails(413, "PAYLOAD_TOO_LARGE", "10000")
	send("application/json", 10, false).fails(415, "UNSUPPORTED_MEDIA_TYPE", "application/octet-stream")
	_, reader := dialRaw(t, s, "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: 10\r\n\r\nx")
	closed(t, reader) // Long before body_read_timeout, which is 30 seconds.
}
