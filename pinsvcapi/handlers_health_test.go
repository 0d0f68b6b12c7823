package pinsvcapi

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	rpc "github.com/libp2p/go-libp2p-gorpc"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

// detailed is a backend with something to attend to.
type detailed struct{ Backend }

func (detailed) HealthDetails() []string { return []string{"storage full: 1 pin waits for space"} }

func TestShowReady_SaysWhatToAttendTo(t *testing.T) {
	s := start(t, func(set *setup) {
		set.opts.NewBackend = func(*rpc.Client) Backend { return detailed{set.backend} }
	})
	rep := s.do(http.MethodGet, "/ready", "", anonymous).is(http.StatusOK)
	if want := `{"status":"ready","details":["storage full: 1 pin waits for space"]}`; strings.TrimSpace(string(rep.body)) != want {
		t.Errorf("it says %s, want %s", rep.body, want)
	}
}

func TestShowReady_SaysWhatIsUnavailable(t *testing.T) {
	s := start(t)
	s.backend.SetHealth(pinsvc.Errorf(pinsvc.KindUnavailable, "the IPFS node is unavailable"))
	s.do(http.MethodGet, "/ready", "", anonymous).fails(503, "SERVICE_UNAVAILABLE", "the IPFS node is unavailable")
	s.do(http.MethodGet, "/health", "", anonymous).is(http.StatusOK)
	s.do(http.MethodGet, "/pins", "").is(http.StatusOK)
	s.backend.SetHealth(errors.New("secret address"))
	rep := s.do(http.MethodGet, "/ready", "", anonymous)
	rep.fails(503, "SERVICE_UNAVAILABLE", "unavailable")
	if strings.Contains(string(rep.body), "secret") {
		t.Errorf("the client reads the cause: %s", rep.body)
	}
}
