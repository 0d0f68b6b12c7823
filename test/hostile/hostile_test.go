// Package hostile sends the built daemon what no honest client sends: the answer is
// the documented one, memory stays bounded, and the log tells no lies and no secrets.
package hostile

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// target is a daemon under attack.
type target struct {
	*harness.Peer
	t    *testing.T
	addr string
	auth string // a header line
	// metrics is where the daemon tells how many goroutines it has.
	metrics string
}

func TestDaemon_HostileRequests(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	peer := h.Peer(harness.InitOptions{})
	metrics := bound(t, h, peer)
	peer.StartDebug()
	d := &target{Peer: peer, t: t, addr: strings.TrimPrefix(peer.Endpoint(), "http://"), metrics: metrics}
	d.auth = "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(peer.User+":"+peer.Password)) + "\r\n"
	secrets := append(peer.Secrets(), peer.Token())

	before := d.usage(t)
	highest := d.watch(t)
	responses := d.leaveUnread(t)
	for _, tt := range requests() {
		t.Run(tt.name, func(t *testing.T) { d.check(t, tt) })
	}
	t.Run("slow headers", d.slowHeaders)
	t.Run("slow bodies", d.slowBodies)
	t.Run("abandoned connections", d.abandoned)
	t.Run("wrong logins", d.wrongLogins)
	t.Run("unread responses", func(t *testing.T) { responses.checkClosed(t, d.addr) })
	t.Run("bounds", func(t *testing.T) { d.checkUsage(t, before, highest()) })
	d.Stop()
	checkLog(t, peer.Process().Output(), secrets...)

	d.Edit(func(c harness.Section) { c.Section("api", "pinsvcapi").Set("basic_auth_credentials", nil) })
	d.StartDebug()
	d.auth = ""
	t.Run("hosts without users", d.foreignHosts)
	d.Stop()
	checkLog(t, peer.Process().Output(), secrets...)
}

// attack is a request and the statuses that it may get. Zero is a connection that
// is closed without a response.
type attack struct {
	name    string
	head    string // without the login and the empty line
	body    func(io.Writer) error
	allowed []int
}

func requests() []attack {
	const json = "Content-Type: application/json\r\n"
	post := func(body string) string { return "POST /pins HTTP/1.1\r\nHost: x\r\n" + json + length(len(body)) }
	attacks := []attack{
		{"100 MB body", "POST /pins HTTP/1.1\r\nHost: x\r\n" + json + length(100<<20), repeat("x", 100<<20), []int{413}},
		{"100 MB chunked body", "POST /pins HTTP/1.1\r\nHost: x\r\n" + json + "Transfer-Encoding: chunked\r\n", chunks(100 << 20), []int{413}},
		{"100 MB query", "GET /pins?name=", repeat("x", 100<<20), []int{431, 0}},
		{"100 MB header", "GET /pins HTTP/1.1\r\nHost: x\r\nX-Long: ", repeat("x", 100<<20), []int{431, 0}},
		{"10,000 headers", "GET /pins HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: b\r\n", 10_000), nil, []int{431}},
		{"both lengths", "POST /pins HTTP/1.1\r\nHost: x\r\n" + json + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", text("0\r\n\r\n"), []int{400}},
		{"two lengths", "POST /pins HTTP/1.1\r\nHost: x\r\n" + json + "Content-Length: 3\r\nContent-Length: 4\r\n", text("abcd"), []int{400}},
		{"signed length", "POST /pins HTTP/1.1\r\nHost: x\r\n" + json + "Content-Length: +3\r\n", text("abc"), []int{400}},
		{"odd coding", "POST /pins HTTP/1.1\r\nHost: x\r\n" + json + "Transfer-Encoding: xchunked\r\n", text("0\r\n\r\n"), []int{400, 501}},
		{"blank before the colon", "GET /pins HTTP/1.1\r\nHost: x\r\nX-A : b\r\n", nil, []int{400}},
		{"folded header", "GET /pins HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n", nil, []int{200, 400}},
		{"no host", "GET /pins HTTP/1.1\r\n", nil, []int{400}},
		{"two hosts", "GET /pins HTTP/1.1\r\nHost: x\r\nHost: y\r\n", nil, []int{400}},
		{"absolute form", "GET http://evil.example/pins HTTP/1.1\r\nHost: x\r\n", nil, []int{200}},
		{"nesting bomb", post(strings.Repeat("[", 1<<20)), repeat("[", 1<<20), []int{400}},
		{"nesting bomb in meta", post(`{"cid":"` + bomb), text(`{"cid":"` + bomb), []int{400}},
	}
	for _, id := range []string{"%2f", "a/b", "..", "%2e%2e", "%00", strings.Repeat("a", 3000), "%ff%fe", "a%0d%0aX-Evil:%20b"} {
		attacks = append(attacks, attack{"request ID " + id[:min(len(id), 20)], "GET /pins/" + id + " HTTP/1.1\r\nHost: x\r\n", nil, []int{404}})
	}
	attacks = append(attacks, attack{"request ID of 64 KiB", "GET /pins/" + strings.Repeat("a", 64<<10) + " HTTP/1.1\r\nHost: x\r\n", nil, []int{431}})
	for name, body := range map[string]string{
		"identity CID of 512 KiB":    `{"cid":"` + identity(512<<10) + `"}`,
		"identity CID of 200 B":      `{"cid":"` + identity(200) + `"}`,
		"unknown codec":              `{"cid":"` + cid.NewCidV1(0x300001, sum()).String() + `"}`,
		"unknown hash function":      `{"cid":"` + unknownHash() + `"}`,
		"names that are there twice": `{"cid":"` + raw() + `","cid":"` + raw() + `"}`,
		"1,001 pairs of meta":        `{"cid":"` + raw() + `","meta":{` + pairs(1001) + `}}`,
		"trailing garbage":           `{"cid":"` + raw() + `"}{`,
	} {
		attacks = append(attacks, attack{name, post(body), text(body), []int{400}})
	}
	large := `{"cid":"` + identity(1<<20) + `"}` // As text it is more than api.pinsvcapi.max_body_bytes.
	attacks = append(attacks, attack{"identity CID of 1 MiB", post(large), text(large), []int{413}})
	for name, body := range map[string]string{
		"hidden characters":   `{"cid":"` + raw() + `","name":"` + forged + `\u202egpj\u0000"}`,
		"1,000 pairs of meta": `{"cid":"` + raw() + `","meta":{` + pairs(1000) + `}}`,
	} {
		attacks = append(attacks, attack{name, post(body), text(body), []int{202}})
	}
	form := "cid=" + raw()
	attacks = append(attacks, attack{"cross-site form", "POST /pins HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\n" +
		"Content-Type: application/x-www-form-urlencoded\r\n" + length(len(form)), text(form), []int{415}})
	return attacks
}

// forged is a text that would be a line of its own in a log that shows it as it is.
const forged = `evil\n2026-01-01T00:00:00.000Z\tERROR\tforged\tforged/line.go:1\tforged`

var bomb = raw() + `","meta":{"a":` + strings.Repeat(`{"a":`, 10_000)

func length(n int) string { return "Content-Length: " + strconv.Itoa(n) + "\r\n" }

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
}

func repeat(s string, n int) func(io.Writer) error {
	block := []byte(strings.Repeat(s, 64<<10))
	return func(w io.Writer) error {
		for n > 0 {
			k := min(n, len(block))
			if _, err := w.Write(block[:k]); err != nil {
				return err
			}
			n -= k
		}
		return nil
	}
}

func chunks(n int) func(io.Writer) error {
	return func(w io.Writer) error {
		for ; n > 0; n -= 64 << 10 {
			if _, err := fmt.Fprintf(w, "10000\r\n%s\r\n", strings.Repeat("x", 64<<10)); err != nil {
				return err
			}
		}
		return nil
	}
}

func sum() multihash.Multihash {
	hash, err := multihash.Sum([]byte("hostile"), multihash.SHA2_256, -1)
	if err != nil {
		panic(err)
	}
	return hash
}

// numbered is a CID that has its content in itself.
func numbered(n int) cid.Cid {
	hash, err := multihash.Sum(fmt.Appendf(nil, "number %d", n), multihash.IDENTITY, -1)
	if err != nil {
		panic(err)
	}
	return cid.NewCidV1(cid.Raw, hash)
}

func raw() string { return cid.NewCidV1(cid.Raw, sum()).String() }

func identity(n int) string {
	hash, err := multihash.Encode([]byte(strings.Repeat("x", n)), multihash.IDENTITY)
	if err != nil {
		panic(err)
	}
	return cid.NewCidV1(cid.Raw, hash).String()
}

func unknownHash() string {
	hash, err := multihash.Encode([]byte(strings.Repeat("x", 32)), 0x300002)
	if err != nil {
		panic(err)
	}
	return cid.NewCidV1(cid.Raw, hash).String()
}

func pairs(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(`"k%d":"v"`, i)
	}
	return strings.Join(all, ",")
}

// check sends an attack over a connection of its own.
func (d *target) check(t *testing.T, a attack) {
	conn, err := net.Dial("tcp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(harness.Timeout)); err != nil {
		t.Fatal(err)
	}
	go func() { // The daemon answers, and stops reading, before the end of some.
		head := a.head
		if strings.HasSuffix(head, "\n") {
			head += d.auth + "\r\n"
		}
		if _, err := io.WriteString(conn, head); err == nil && a.body != nil {
			_ = a.body(conn)
		}
	}()
	status := 0
	if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
		status = resp.StatusCode
	}
	for _, allowed := range a.allowed {
		if status == allowed {
			return
		}
	}
	t.Errorf("status %d, want one of %v", status, a.allowed)
}

// slowHeaders holds connections with half a header; the service goes on, and ends
// them.
func (d *target) slowHeaders(t *testing.T) {
	var conns []net.Conn
	for range 500 {
		conn, err := net.Dial("tcp", d.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /pins HTTP/1.1\r\nHost: x\r\nX-"); err != nil {
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
		if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Fatalf("the connection is still there: %v", err)
		}
	}
}

// abandoned leaves requests before their answers, and connections half open.
func (d *target) abandoned(t *testing.T) {
	for i := range 500 {
		conn, err := net.Dial("tcp", d.addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "GET /pins?limit=1000 HTTP/1.1\r\nHost: x\r\n"+d.auth+"\r\n"); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			_ = conn.(*net.TCPConn).CloseWrite()
		}
		if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.List(""); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// wrongLogins are refused, and shown in the log as what they are. After too many
// the address has to wait, but credentials that were accepted before go on.
func (d *target) wrongLogins(t *testing.T) {
	last := 0
	for i := range 300 {
		req, err := http.NewRequest(http.MethodGet, d.Endpoint()+"/pins", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("evil\n2026-01-01T00:00:00.000Z\tERROR\tforged\u202e", "wrong-password-"+strconv.Itoa(i))
		r, err := harness.Send(req)
		if err != nil {
			t.Fatal(err)
		}
		if r.Status != http.StatusUnauthorized && r.Status != http.StatusTooManyRequests {
			t.Fatalf("login %d: %d %s", i, r.Status, r.Body)
		}
		last = r.Status
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("the last wrong login got %d", last)
	}
	if _, err := d.List(""); err != nil {
		t.Errorf("the right login: %v", err)
	}
}

// checkLog wants no secret anywhere in the log, and nothing that a client sent at
// the beginning of a line or invisible.
func checkLog(t *testing.T, log string, secrets ...string) {
	t.Helper()
	for i, secret := range append(secrets, "wrong-password-") {
		if secret != "" && strings.Contains(log, secret) {
			t.Errorf("the log has secret %d", i)
		}
	}
	for line := range strings.Lines(log) {
		if strings.HasPrefix(line, "2026-01-01T00:00:00.000Z") || strings.HasPrefix(line, "X-Evil") {
			t.Errorf("a client forged the line %q", line)
		}
		if strings.ContainsAny(line, "\u202e\x00\x1b") {
			t.Errorf("hidden characters in %q", line)
		}
	}
}
