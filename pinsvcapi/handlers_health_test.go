package pinsvcapi

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
)

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
