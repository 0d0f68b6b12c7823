package pinsvcapi

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
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
		{pinsvc.Wrap(pinsvc.KindUnavailable, secret, "IPFS is away"), 503, "SERVICE_UNAVAILABLE", "IPFS is away", "5"},
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
				t.Errorf("the cause is told: %s", rep.body)
			}
			if got := rep.header.Get("Retry-After"); got != tt.retryAfter {
				t.Errorf("%v: Retry-After %q, want %q", tt.err, got, tt.retryAfter)
			}
			if id := rep.header.Get(requestIDHeader); tt.status == 500 && !strings.Contains(string(rep.body), id) {
				t.Errorf("the request ID is not told: %s", rep.body)
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
