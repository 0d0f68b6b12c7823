package pinsvcapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	rpc "github.com/libp2p/go-libp2p-gorpc"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

const login = "Host: localhost\r\nAuthorization: Basic YWxpY2U6Y29ycmVjdCBob3JzZQ==\r\n"

// FuzzRequest sends any bytes over a connection. Whatever they are, the service
// answers what it understood with whole responses, none of which is a 500, and ends
// the connection.
func FuzzRequest(f *testing.F) {
	for _, text := range requestSeeds() {
		f.Add([]byte(text))
	}
	addr := fuzzService(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		go func() { // The service may answer, and stop reading, before the end.
			_, _ = conn.Write(data)
			_ = conn.(*net.TCPConn).CloseWrite()
		}()
		answer, err := io.ReadAll(conn)
		if nerr, ok := err.(net.Error); ok && nerr.Timeout() {
			t.Fatalf("no end after %q", answer)
		}
		checkResponses(t, data, answer)
	})
}

func requestSeeds() []string {
	pin := `{"cid":"bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku","name":"n","meta":{"a":"b"},"origins":["/ip4/1.2.3.4/tcp/4001/p2p/` + somePeer + `"]}`
	const id = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
	return []string{
		"GET /pins?limit=10&status=queued,pinned&cid=" + id + "&meta=%7B%22a%22%3A%22b%22%7D HTTP/1.1\r\n" + login + "\r\n",
		"POST /pins HTTP/1.1\r\n" + login + "Content-Type: application/json\r\nContent-Length: 230\r\n\r\n" + pin,
		"POST /pins HTTP/1.1\r\n" + login + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"POST /pins/" + id + " HTTP/1.1\r\n" + login + "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
		"DELETE /pins/" + id + " HTTP/1.1\r\n" + login + "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /token HTTP/1.1\r\n" + login + "Content-Length: 0\r\n\r\n",
		"OPTIONS /pins HTTP/1.1\r\nHost: x\r\nOrigin: https://a.example\r\nAccess-Control-Request-Method: POST\r\n\r\n",
		"GET /pins/%2f%2e%2e%00 HTTP/1.1\r\n" + login + "\r\n",
		"GET //pins/ HTTP/1.0\r\n\r\n",
		"HEAD /openapi.yaml HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.4, ::1\r\nForwarded: for=\"[::1]:80\"\r\n\r\n",
		"POST /pins HTTP/1.1\r\n" + login + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	}
}

// fuzzService is a service over the fake; it returns its address.
func fuzzService(f *testing.F) string {
	f.Helper()
	backend := pinsvctest.NewFake()
	api, err := NewAPI(context.Background(), testConfig(f), Options{
		NewBackend: func(*rpc.Client) Backend { return backend },
	})
	if err != nil {
		f.Fatal(err)
	}
	api.SetClient(nil)
	f.Cleanup(func() {
		if err := api.Shutdown(context.Background()); err != nil {
			f.Error(err)
		}
	})
	return api.HTTPAddresses()[0]
}

// checkResponses reads the answer to what was sent as responses.
func checkResponses(t *testing.T, sent, answer []byte) {
	t.Helper()
	if len(answer) > 8<<20 {
		t.Errorf("%d bytes in answer to %d", len(answer), len(sent))
	}
	reader := bufio.NewReader(bytes.NewReader(answer))
	for reader.Buffered() > 0 || len(answer) > 0 {
		if _, err := reader.Peek(1); err == io.EOF {
			return
		}
		// Which of the requests was a HEAD is not known here: the answer to
		// one has no body, so what follows it is not checked.
		if bytes.Contains(sent, []byte("HEAD ")) {
			return
		}
		resp, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatalf("no response: %v: %q", err, answer)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatalf("half a response: %v: %q", err, answer)
		}
		if resp.StatusCode == http.StatusInternalServerError {
			t.Errorf("500: %s", body)
		}
		if resp.Header.Get("Content-Type") != jsonType {
			continue
		}
		if !json.Valid(body) {
			t.Errorf("%d without JSON: %q", resp.StatusCode, body)
		}
		if resp.StatusCode >= 400 {
			var failure pinsvc.Failure
			if err := json.Unmarshal(body, &failure); err != nil || failure.Reason == "" {
				t.Errorf("%d without a reason: %q", resp.StatusCode, body)
			}
		}
	}
}

// FuzzForwarded reads the headers of proxies: they name an address or nothing. When
// both headers are there they name the same one.
func FuzzForwarded(f *testing.F) {
	f.Add("1.2.3.4, 10.0.0.1", "")
	f.Add("", `for="[2001:db8::1]:80";proto=https, for=10.1.1.1;by=_x`)
	f.Add(`unknown, "a\"b"`, `for=_hidden, for="1.2.3.4`)
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	f.Fuzz(func(t *testing.T, byX, byRFC string) {
		h := http.Header{}
		for name, value := range map[string]string{"X-Forwarded-For": byX, "Forwarded": byRFC} {
			if value != "" {
				h[name] = strings.Split(value, "\n")
			}
		}
		ip, ok := forwardedFor(h, trusted)
		if ok && !ip.IsValid() {
			t.Errorf("%v, %t", ip, ok)
		}
		if first, _ := lastUntrusted(xForwardedFor(h), trusted); ok && byX != "" && first != ip {
			t.Errorf("%v, but X-Forwarded-For names %v", ip, first)
		}
	})
}
