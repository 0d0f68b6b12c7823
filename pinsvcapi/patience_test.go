package pinsvcapi

import (
	"context"
	"net/http"
	"testing"

	rpc "github.com/libp2p/go-libp2p-gorpc"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// patientBackend is one that is worth waiting for.
type patientBackend struct {
	*scripted
	wait func(context.Context) error
}

func (p *patientBackend) Wait(ctx context.Context) error { return p.wait(ctx) }

// A million pins take some seconds to read; a list that comes meanwhile is not
// refused before it has waited for a moment.
func TestListsWaitWhileThePinsetIsRead(t *testing.T) {
	reading := &pinsvc.Error{Kind: pinsvc.KindUnavailable, Details: "reading the pinset", RetryAfter: 7e9}
	for name, tt := range map[string]struct {
		waited error
		want   int
	}{"long enough": {nil, http.StatusOK}, "too short": {reading, http.StatusServiceUnavailable}} {
		t.Run(name, func(t *testing.T) {
			waits := 0
			s := startUnready(t, func(set *setup) {
				backend := set.backend
				set.opts.NewBackend = func(*rpc.Client) Backend {
					return &patientBackend{backend, func(context.Context) error {
						waits++
						return tt.waited
					}}
				}
			})
			s.backend.SetReady(reading)
			s.api.SetClient(nil)
			rep := s.do(http.MethodGet, "/pins", "")
			rep.is(tt.want)
			if got := rep.header.Get("Retry-After"); tt.waited != nil && got != "7" {
				t.Errorf("Retry-After %q", got)
			}
			s.do(http.MethodGet, "/ready", "", anonymous).fails(503, "SERVICE_UNAVAILABLE", "reading the pinset")
			s.do(http.MethodGet, "/pins/x", "").fails(503, "SERVICE_UNAVAILABLE", "reading the pinset")
			if waits != 1 {
				t.Errorf("%d requests waited", waits)
			}
		})
	}
}
