package pinsvcapi

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// everyKind has all that reads differently from KindInternal, and that.
func everyKind() iter.Seq[pinsvc.Kind] {
	return func(yield func(pinsvc.Kind) bool) {
		for kind := pinsvc.KindInternal; kind == pinsvc.KindInternal || kind.String() != pinsvc.KindInternal.String(); kind++ {
			if !yield(kind) {
				return
			}
		}
	}
}

func TestStatusOf_EveryKindHasItsStatus(t *testing.T) {
	want := map[pinsvc.Kind]int{
		pinsvc.KindInternal:             500,
		pinsvc.KindBadRequest:           400,
		pinsvc.KindUnauthorized:         401,
		pinsvc.KindForbidden:            403,
		pinsvc.KindMissingScope:         403,
		pinsvc.KindNotFound:             404,
		pinsvc.KindMethodNotAllowed:     405,
		pinsvc.KindInsufficientFunds:    409,
		pinsvc.KindPayloadTooLarge:      413,
		pinsvc.KindUnsupportedMediaType: 415,
		pinsvc.KindTooManyRequests:      429,
		pinsvc.KindUnavailable:          503,
	}
	for kind := range everyKind() {
		if got, ok := statusOf(kind), want[kind]; got != ok {
			t.Errorf("%s has status %d, want %d", kind, got, ok)
		}
		delete(want, kind)
	}
	if len(want) > 0 {
		t.Errorf("kinds that were not tried: %v", want)
	}
}

func TestFailureResponse_KeepsTheKindOfTheBackend(t *testing.T) {
	s := start(t)
	secret := errors.New("dial tcp 10.1.2.3: secret")
	tests := []struct {
		err        error
		status     int
		reason     string
		details    string
		retryAfter string
	}{
		{pinsvc.Wrap(pinsvc.KindNotFound, secret, "no such pin"), 404, "NOT_FOUND", "no such pin", ""},
		{pinsvc.Wrap(pinsvc.KindForbidden, secret, "this peer only follows"), 403, "FORBIDDEN", "only follows", ""},
		{pinsvc.Wrap(pinsvc.KindMissingScope, secret, "the token may only read"), 403, "MISSING_SCOPE", "only read", ""},
		{pinsvc.Wrap(pinsvc.KindUnavailable, secret, "IPFS is unavailable"), 503, "SERVICE_UNAVAILABLE", "IPFS is unavailable", "5"},
		{&pinsvc.Error{Kind: pinsvc.KindUnavailable, Details: "filling", RetryAfter: 1500 * time.Millisecond}, 503, "SERVICE_UNAVAILABLE", "filling", "2"},
		{&pinsvc.Error{Kind: pinsvc.KindTooManyRequests, Details: "slowly", RetryAfter: time.Millisecond}, 429, "TOO_MANY_REQUESTS", "slowly", "1"},
		{fmt.Errorf("listing: %w", pinsvc.Wrap(pinsvc.KindUnavailable, secret, "no quorum")), 503, "SERVICE_UNAVAILABLE", "no quorum", "5"},
		{pinsvc.Wrap(pinsvc.KindInternal, secret, "hidden"), 500, "INTERNAL_SERVER_ERROR", "request ID ", ""},
		{secret, 500, "INTERNAL_SERVER_ERROR", "request ID ", ""},
		{context.DeadlineExceeded, 500, "INTERNAL_SERVER_ERROR", "request ID ", ""},
	}
	for _, tt := range tests {
		s.backend.Fail(tt.err)
		for _, path := range []string{"/pins", "/pins/x"} {
			if path == "/pins" && tt.status == http.StatusNotFound {
				continue // No list fails so.
			}
			rep := s.do(http.MethodGet, path, "")
			rep.fails(tt.status, tt.reason, tt.details)
			if strings.Contains(string(rep.body), "secret") || strings.Contains(string(rep.body), "hidden") {
				t.Errorf("the client reads the cause: %s", rep.body)
			}
			if got := rep.header.Get("Retry-After"); got != tt.retryAfter {
				t.Errorf("%v: Retry-After %q, want %q", tt.err, got, tt.retryAfter)
			}
			if id := rep.header.Get(requestIDHeader); tt.status == 500 && !strings.Contains(string(rep.body), id) {
				t.Errorf("the client does not read the request ID: %s", rep.body)
			}
		}
	}
}

// A page of the backend that breaks the contract must not be half sent.
func TestObjectResponse_BrokenPageOfTheBackendIs500(t *testing.T) {
	s := start(t)
	s.backend.Fake.PinElsewhere(time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC), pinsvc.Pin{CID: someCID(1)})
	s.do(http.MethodGet, "/pins?name=&status=queued", "").fails(500, "INTERNAL_SERVER_ERROR", "request ID")
}

// A client that does not read would hold its connection, and a body of up to
// 2 MiB, for ever: write_timeout is 0s in every file that ipfs-cluster-service
// wrote.
func TestSend_ClientThatDoesNotReadIsCutOff(t *testing.T) {
	for name, limit := range map[string]time.Duration{"write_timeout 0s": 0, "a longer write_timeout": time.Hour} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "access.log")
			large := func(*API, *request, *http.Request) (response, error) {
				return response{status: http.StatusOK, contentType: jsonType, body: make([]byte, 64<<20)}, nil
			}
			s := start(t, func(set *setup) {
				set.cfg.HTTPLogFile = path
				set.cfg.WriteTimeout = limit
				set.cfg.ShutdownTimeout = time.Hour
				set.opts.writeGrace = 50*time.Millisecond - (64<<20)*time.Second/writeRate
				set.opts.endpoints = []endpoint{{"large", http.MethodGet, "/large", policy{}, large}}
			})
			conn, _ := dialRaw(t, s, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
			if _, err := conn.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			s.shutdown(ctx) // It would wait for an hour.
			if ctx.Err() != nil {
				t.Error("the response is still being written after 10s")
			}
			if got, raw := events(t, path); len(got) != 1 || !strings.Contains(got[0].Error, "did not read") || got[0].Status != http.StatusOK {
				t.Errorf("events:\n%s", raw)
			}
		})
	}
}

func TestSend_ResponseThatIsCutOffIsNotTheClientsFault(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	large := func(*API, *request, *http.Request) (response, error) {
		return response{status: http.StatusOK, contentType: jsonType, body: make([]byte, 64<<20)}, nil
	}
	s := start(t, func(set *setup) {
		set.cfg.HTTPLogFile, set.cfg.ShutdownTimeout = path, 0
		set.opts.endpoints = []endpoint{{"large", http.MethodGet, "/large", policy{}, large}}
	})
	conn, _ := dialRaw(t, s, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	s.shutdown(context.Background())
	if got, raw := events(t, path); len(got) != 1 || !strings.Contains(got[0].Error, "shutting down") || strings.Contains(raw, "did not read") {
		t.Errorf("events:\n%s", raw)
	}
}

// A client has time that suits the size, and however large a response is, five minutes at most.
func TestWriteTime_SuitsTheSize(t *testing.T) {
	api := &API{opts: Options{writeGrace: writeGrace}}
	for size, want := range map[int]time.Duration{
		0: 30 * time.Second, 64 << 10: 31 * time.Second, 2 << 20: 62 * time.Second, 100 << 20: maxWriteTime, 1 << 32: maxWriteTime,
	} {
		if got := api.writeTime(size); got != want {
			t.Errorf("%d bytes have %v, want %v", size, got, want)
		}
	}
}

// zeros is a body of so many bytes.
type zeros int

func (z zeros) AppendJSON(dst []byte) ([]byte, error) { return append(dst, make([]byte, z)...), nil }

// A client that reads nothing holds the memory of its response: a small one is not counted and
// must not hold the buffer of a large one.
func TestResponse_ASmallOneHoldsNoLargeBuffer(t *testing.T) {
	s := start(t)
	for range 100 { // A pool may forget what it was given.
		large, err := s.api.objectResponse(http.StatusOK, zeros(200<<10))
		if err != nil {
			t.Fatal(err)
		}
		large.discard()
		small, err := s.api.objectResponse(http.StatusOK, zeros(100))
		if err != nil {
			t.Fatal(err)
		}
		if n := cap(small.body); n > 2*largeBody {
			t.Fatalf("a response of 100 bytes holds %d", n)
		}
		small.discard()
	}
}

// A shorter write_timeout, which runs from the headers of the request, holds.
func TestSend_ShorterWriteTimeoutHolds(t *testing.T) {
	const limit = 50 * time.Millisecond
	s := start(t, func(set *setup) { set.cfg.WriteTimeout = limit })
	s.backend.before = func(ctx context.Context) error {
		<-time.After(2 * limit)
		return nil
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/pins", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(testUser, testPassword)
	if resp, err := s.client.Do(r); err == nil {
		resp.Body.Close()
		t.Errorf("%s after the time was over", resp.Status)
	}
}

// Details are written where the failure is understood, and reach the client
// as they are.
func TestFailureResponse_DetailsOfTheContractAreUnchanged(t *testing.T) {
	s := start(t)
	for _, text := range []string{
		`{"cid":"/ipfs/` + someCID(1).String() + `/a"}`, `{"cid":"/ipns/name"}`, `{"cid":"ipfs://` + someCID(1).String() + `"}`,
		`{"cid":"k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8"}`,
		`{"cid":"bafzaajaiaejca3nvbp3bvnyqkcdbhhsvtwl6hhmtsjirxj2ijzfyh6wb6rqzrt7n"}`,
		`{"cid":7}`, `{"cid":"é\"<b>"}`, `{}`,
	} {
		_, _, err := new(pinsvc.Decoder).Decode([]byte(text))
		if err == nil {
			t.Errorf("%s is accepted", text)
			continue
		}
		want := pinsvc.FailureOf(err)
		var got pinsvc.Failure
		s.do(http.MethodPost, "/pins", text).decode(http.StatusBadRequest, &got)
		if got != want {
			t.Errorf("%s fails with %+v, want %+v", text, got, want)
		}
	}
}
