package hostile

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// maxConnections is less than what the attacks open. Unread responses are as many as fit into what one user may hold.
const maxConnections, unread = 256, 32

// bound gives a peer limits that attacks reach, and returns the URL of its metrics.
func bound(t *testing.T, h *harness.Harness, peer *harness.Peer) (metrics string) {
	t.Helper()
	stranger := h.Peer(harness.InitOptions{}).Identity() // Never started.
	port := harness.FreePort(t)
	peer.Edit(func(c harness.Section) {
		api := c.Section("api", "pinsvcapi")
		api.Set("max_connections", maxConnections)
		api.Set("body_read_timeout", "3s")
		// So that the API has a private key of its own.
		api.Set("libp2p_listen_multiaddress", "/ip4/127.0.0.1/tcp/0")
		api.Set("id", stranger.String("id"))
		api.Set("private_key", stranger.String("private_key"))
		c.Section("observations", "metrics").Set("enable_stats", true)
		c.Section("observations", "metrics").Set("prometheus_endpoint", fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port))
		metrics = fmt.Sprintf("http://127.0.0.1:%d/metrics", port)
	})
	return metrics
}

// usage is what the daemon uses of what clients could use up.
type usage struct{ resident, peak, files, goroutines int }

func (u usage) String() string {
	return fmt.Sprintf("%d MiB (%d at most), %d files, %d goroutines", u.resident>>20, u.peak>>20, u.files, u.goroutines)
}

func (d *target) usage(t *testing.T) usage {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, d.metrics, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := harness.Send(req)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^go_goroutines(?:\{.*\})? (\d+)$`).FindSubmatch(r.Body)
	if found == nil {
		t.Fatalf("no goroutines in %s", r.Body)
	}
	goroutines, err := strconv.Atoi(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	p := d.Process()
	return usage{p.Resident(), p.PeakResident(), p.Files(), goroutines}
}

// watch looks at the usage again and again, until the highest is asked for.
func (d *target) watch(t *testing.T) (highest func() usage) {
	ctx, cancel := context.WithCancel(t.Context())
	var all usage
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			now := d.usage(t)
			all = usage{max(all.resident, now.resident), now.peak, max(all.files, now.files), max(all.goroutines, now.goroutines)}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	end := func() { cancel(); watching.Wait() }
	t.Cleanup(end)
	return func() usage { end(); return all }
}

// checkUsage wants what the daemon used to be bounded, and to be over when the clients are gone.
func (d *target) checkUsage(t *testing.T, before, highest usage) {
	t.Logf("before: %s; at most: %s", before, highest)
	// With the race detector the daemon takes several times the memory. What was the most may stay: Go returns it late.
	if grown := highest.peak - before.resident; grown > 512<<20 {
		t.Errorf("the daemon had grown by %d MiB", grown>>20)
	}
	const others = 64 // files of the datastore, connections of the IPFS node and of the metrics
	if n := highest.files - before.files; n > maxConnections+others {
		t.Errorf("%d more files were open, for %d connections", n, maxConnections)
	}
	// A connection has two goroutines, and a request some more.
	if n := highest.goroutines - before.goroutines; n > 6*maxConnections {
		t.Errorf("there were %d more goroutines, for %d connections", n, maxConnections)
	}
	began := time.Now()
	var now usage
	harness.Eventually(t, harness.Timeout, "all is over", func() error {
		// Less than a quarter of what the connections without readers had.
		if now = d.usage(t); now.files > before.files+unread/4 || now.goroutines > before.goroutines+unread/2 {
			return errors.New(now.String())
		}
		return nil
	})
	t.Logf("%s after the last: %s", time.Since(began).Round(time.Second), now)
}

// unreadResponses are connections whose clients read nothing of what they asked for.
type unreadResponses struct {
	began time.Time
	bytes int // of each response, at least
	ports map[int]bool
}

// checkClosed wants the daemon to have closed all of them by the end of the time to write (docs/threats.md), which it must not
// exceed by more than margin.
func (u *unreadResponses) checkClosed(t *testing.T, service string) {
	const grace, rate, margin = 30 * time.Second, 64 << 10, 8 * time.Second
	limit := u.began.Add(grace + time.Duration(u.bytes)*time.Second/rate + margin)
	harness.Eventually(t, max(time.Until(limit), time.Millisecond), "all connections without readers are closed", func() error {
		open, err := held(service, u.ports)
		if err == nil && open > 0 {
			err = fmt.Errorf("%d of %d are open after %s", open, len(u.ports), time.Since(u.began).Round(time.Second))
		}
		return err
	})
	t.Logf("all are closed %s after they began", time.Since(u.began).Round(time.Second))
}

// held is how many connections from these ports a process has at the address of a service. What it has closed, the kernel
// may keep for a while: that has no inode.
func held(service string, ports map[int]bool) (n int, err error) {
	_, port, err := net.SplitHostPort(service)
	if err != nil {
		return 0, err
	}
	own, err := strconv.Atoi(port)
	if err != nil {
		return 0, err
	}
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(table)) {
		const local, remote, inode = 1, 2, 9
		fields := strings.Fields(line)
		if len(fields) <= inode || fields[local] == "local_address" || fields[inode] == "0" {
			continue
		}
		if portOf(fields[local]) == own && ports[portOf(fields[remote])] {
			n++
		}
	}
	return n, nil
}

// portOf is the port of an address as the kernel writes it, and -1 if it is none.
func portOf(addr string) int {
	_, text, _ := strings.Cut(addr, ":")
	port, err := strconv.ParseUint(text, 16, 16)
	if err != nil {
		return -1
	}
	return int(port)
}

// leaveUnread asks for long responses and reads nothing of them. The daemon ends such connections by itself, which
// takes 30 seconds and some more; until the end of the test these stay open here.
func (d *target) leaveUnread(t *testing.T) *unreadResponses {
	t.Helper()
	const pins, meta = 40, 16 << 10
	for n := range pins {
		body := map[string]any{"cid": numbered(n).String(), "name": "long", "meta": map[string]string{"m": strings.Repeat("m", meta-1)}}
		if r, err := d.Ask(http.MethodPost, "/pins", body); err != nil || r.Status != http.StatusAccepted {
			t.Fatalf("%v %d %s", err, r.Status, r.Body)
		}
	}
	// The smallest buffers here, and so in the kernel's other end.
	small := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var set error
		err := c.Control(func(fd uintptr) {
			set = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096),
				unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, 536))
		})
		return errors.Join(err, set)
	}}
	u := &unreadResponses{bytes: pins * meta, ports: make(map[int]bool)}
	for range unread {
		conn, err := small.Dial("tcp", d.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if _, err := io.WriteString(conn, "GET /pins?name=long&status=queued,pinning,pinned,failed&limit=1000 HTTP/1.1\r\nHost: x\r\n"+d.auth+"\r\n"); err != nil {
			t.Fatal(err)
		}
		u.ports[conn.LocalAddr().(*net.TCPAddr).Port] = true
	}
	u.began = time.Now()
	harness.Eventually(t, harness.Timeout, "the daemon has all of them", func() error {
		open, err := held(d.addr, u.ports)
		if err == nil && open != unread {
			err = fmt.Errorf("%d", open)
		}
		return err
	})
	return u
}

// slowBodies send half of what they announced. They are cut off, and hold up nobody.
func (d *target) slowBodies(t *testing.T) {
	var conns []net.Conn
	for range unread {
		conn, err := net.Dial("tcp", d.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "POST /pins HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"+length(100)+d.auth+"\r\n{\"cid\":"); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	if _, err := d.List(""); err != nil {
		t.Errorf("meanwhile: %v", err)
	}
	for _, conn := range conns {
		if err := conn.SetReadDeadline(time.Now().Add(harness.Timeout)); err != nil {
			t.Fatal(err)
		}
		reader := bufio.NewReader(conn)
		resp, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusBadRequest {
			t.Fatalf("%d, %v", resp.StatusCode, err)
		}
		if _, err := reader.ReadByte(); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("the connection goes on: %v", err)
		}
	}
}

// foreignHosts are refused by a service without users, which a web page can reach under a name of its own.
func (d *target) foreignHosts(t *testing.T) {
	for host, status := range map[string]int{
		"evil.example": 403, "localhost.evil.example": 403, "192.168.1.5": 403, "localhost": 200, d.addr: 200,
	} {
		d.check(t, attack{host, "GET /pins HTTP/1.1\r\nHost: " + host + "\r\n", nil, []int{status}})
	}
}
