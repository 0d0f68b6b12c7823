package pinsvcapi

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// dialRaw sends bytes as they are and reads what comes until the end.
func dialRaw(t *testing.T, s *service, text string) (conn net.Conn, answer *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", s.api.HTTPAddresses()[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(15 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

// closed wants the server to close the connection.
func closed(t *testing.T, answer *bufio.Reader) {
	t.Helper()
	for {
		if _, err := answer.ReadByte(); err != nil {
			if nerr, ok := errors.AsType[net.Error](err); ok && nerr.Timeout() {
				t.Error("the server keeps the connection")
			}
			return
		}
	}
}

func TestSlowHeadersAreCutOff(t *testing.T) {
	s := start(t, func(set *setup) { set.cfg.ReadHeaderTimeout = 50 * time.Millisecond })
	_, answer := dialRaw(t, s, "GET /pins HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	closed(t, answer)
}

func TestSlowBodiesAreCutOff(t *testing.T) {
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
			_, answer := dialRaw(t, s, tt.request)
			resp, err := http.ReadResponse(answer, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != tt.status {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.status)
			}
			closed(t, answer)
		})
	}
}

// The limit is for the body: once it is there, the answer may take longer.
func TestTheBodyLimitDoesNotCutOffSlowAnswers(t *testing.T) {
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

func TestLargeHeadersAreRefused(t *testing.T) {
	s := start(t)
	_, answer := dialRaw(t, s, "GET /pins HTTP/1.1\r\nHost: x\r\nX-Large: "+strings.Repeat("x", 20_000))
	resp, err := http.ReadResponse(answer, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// What never becomes a request is answered by net/http, in plain text: the
// README says so.
func TestWhatIsNoRequestIsAnsweredInPlainText(t *testing.T) {
	s := start(t, func(set *setup) { set.cfg.MaxHeaderBytes = 4096 })
	for _, tt := range []struct {
		name, request, status string
	}{
		{"large headers", "GET /health HTTP/1.1\r\nHost: x\r\nX-Large: " + strings.Repeat("a", 64<<10) + "\r\n\r\n", "431"},
		{"no HTTP", "hello\r\n\r\n", "400"},
	} {
		_, answer := dialRaw(t, s, tt.request)
		resp, err := http.ReadResponse(answer, nil)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if !strings.HasPrefix(resp.Status, tt.status) || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
			t.Errorf("%s: %s, %s", tt.name, resp.Status, resp.Header.Get("Content-Type"))
		}
		resp.Body.Close()
		closed(t, answer)
	}
}
