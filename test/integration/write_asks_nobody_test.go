package integration

import (
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// A pin that nobody has the content of is posted again while the other peers are frozen: the write does not
// wait for them to say how far they are.
func TestPost_WaitsForNoFrozenPeer(t *testing.T) {
	t.Parallel()
	// timeout is how long a peer that is asked for a status has to answer.
	const timeout = 2 * time.Second
	peers := harness.New(t).Cluster(3, "crdt")
	one := peers[0]
	before := one.Add(inline(t, "before"), "before")
	harness.Eventually(t, harness.Timeout, "nothing is left to ask", func() error {
		pin, err := one.Get(before.RequestID)
		if err == nil && pin.Info["replicas"] != "3/3" {
			err = fmt.Errorf("%v", pin.Info)
		}
		return err
	})
	for _, p := range peers[1:] {
		p.Process().Signal(syscall.SIGSTOP)
		defer p.Process().Signal(syscall.SIGCONT)
	}
	for i := range 5 {
		body := map[string]string{"cid": unknown(t, fmt.Sprint(i)).String()}
		for _, what := range []string{"first", "second"} {
			began := time.Now()
			want(t, request(t, one, http.MethodPost, "/pins", body), http.StatusAccepted, "")
			if took := time.Since(began); took >= timeout*9/10 {
				t.Errorf("the %s POST of pin %d took %s", what, i, took)
			}
		}
	}
}
