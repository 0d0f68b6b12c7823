package integration

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// stopMargin is how long a stop may take when no request and no IPFS node holds it up, which is "usually a second"
// (docs/operations.md), on a busy machine and with the race detector.
const stopMargin = 8 * time.Second

// Requests that the daemon has begun to read when it is told to stop are answered,
// and what it accepts of them is there after the next start. One that never comes to
// its end does not keep it longer than shutdown_timeout. Without one a stop is quick.
func TestStop_LosesNoRunningRequest(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	peer := h.Peer(harness.InitOptions{})
	const shutdownTimeout = 10 * time.Second
	peer.Edit(func(c harness.Section) {
		c.Section("api", "pinsvcapi").Set("shutdown_timeout", shutdownTimeout.String())
	})
	peer.Start()

	var running []*upload
	for i := range 20 {
		running = append(running, begin(t, peer, inline(t, fmt.Sprintf("stop %d", i)).String()))
	}
	begin(t, peer, inline(t, "never sent").String())
	told := time.Now()
	peer.Process().Signal(syscall.SIGTERM)
	peer.Process().WaitOutput(harness.StopTimeout, "stopping")
	for _, u := range running {
		if status := u.finish(t); status != http.StatusAccepted {
			t.Errorf("a running request got %d", status)
		}
	}
	// Cut off, the handler of the last one ends, and then the rest of the peer.
	if err := peer.Process().Wait(time.Until(told.Add(shutdownTimeout + stopMargin))); err != nil {
		t.Error(err)
	}
	t.Logf("it ended %s after it was told to, with a request that is never sent", time.Since(told).Round(time.Millisecond))

	peer.Start()
	page, err := peer.List("limit=1000&status=queued,pinning,pinned,failed")
	if err != nil || page.Count != len(running) {
		t.Errorf("%d pins after the restart, want %d: %v", page.Count, len(running), err)
	}
	told = time.Now()
	peer.Process().Signal(syscall.SIGTERM)
	if err := peer.Process().Wait(stopMargin); err != nil {
		t.Error(err)
	}
	t.Logf("it ended %s after it was told to, without requests", time.Since(told).Round(time.Millisecond))
}

// upload is a POST whose body the daemon waits for.
type upload struct {
	conn   net.Conn
	reader *bufio.Reader
	body   []byte
}

// begin sends the headers and waits until the daemon asks for the body, so its
// handler runs.
func begin(t *testing.T, p *harness.Peer, cid string) *upload {
	t.Helper()
	body, err := json.Marshal(map[string]string{"cid": cid})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.Endpoint(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(harness.Timeout)); err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(conn, "POST /pins HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n",
		base64.StdEncoding.EncodeToString([]byte(p.User+":"+p.Password)), len(body))
	if err != nil {
		t.Fatal(err)
	}
	u := &upload{conn: conn, reader: bufio.NewReader(conn), body: body}
	line, err := u.reader.ReadString('\n')
	if err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := u.reader.ReadString('\n'); err != nil { // The empty line after it.
		t.Fatal(err)
	}
	return u
}

// finish sends the body and returns the status.
func (u *upload) finish(t *testing.T) int {
	t.Helper()
	if _, err := u.conn.Write(u.body); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(u.reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Error(err)
	}
	return resp.StatusCode
}

// While clients send, each on a connection of its own, a stop answers whatever was sent:
// a client sees a full answer, or that it cannot connect.
func TestStop_UnderLoadAnswersWhatWasSent(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	peer := h.Peer(harness.InitOptions{})
	peer.Start()
	const clients = 64
	var next, answered atomic.Int64
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for {
				body := fmt.Appendf(nil, `{"cid":%q}`, inline(t, fmt.Sprintf("load %d", next.Add(1))))
				connected, err := postOnce(peer, body)
				switch {
				case err == nil:
					answered.Add(1)
				case connected:
					t.Errorf("a request that was sent got no answer: %v", err)
					return
				default:
					return
				}
			}
		})
	}
	harness.Eventually(t, harness.Timeout, "load", func() error {
		if n := answered.Load(); n < 4*clients {
			return fmt.Errorf("%d requests were answered", n)
		}
		return nil
	})
	told := time.Now()
	peer.Process().Signal(syscall.SIGTERM)
	all.Wait()
	if err := peer.Process().Wait(time.Until(told.Add(stopMargin))); err != nil { // No request takes long.
		t.Error(err)
	}
	t.Logf("%d requests were answered; it ended %s after it was told to", answered.Load(), time.Since(told).Round(time.Millisecond))
}

// postOnce sends a POST on a connection of its own, and reports whether it could connect.
func postOnce(p *harness.Peer, body []byte) (connected bool, err error) {
	conn, err := net.DialTimeout("tcp", strings.TrimPrefix(p.Endpoint(), "http://"), harness.Timeout)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(harness.Timeout)); err != nil {
		return true, err
	}
	_, err = fmt.Fprintf(conn, "POST /pins HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Basic %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		base64.StdEncoding.EncodeToString([]byte(p.User+":"+p.Password)), len(body), body)
	if err != nil {
		return true, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return true, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return true, errors.Join(err, resp.Body.Close())
}
