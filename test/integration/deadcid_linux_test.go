package integration

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/pinsvc/ipfs-cluster-pinsvc/test/harness"
)

// A CID that nobody has ends as failed, whatever is started again between the attempts: seen once as
// "attempts 4 of 3" and pinning. Each peer counts its own attempts, and one that is started again
// counts from one.
func TestDeadCIDFailsWhateverIsRestartedMeanwhile(t *testing.T) {
	t.Parallel()
	h := harness.New(t)
	impatient := func(p *harness.Peer) *harness.Peer {
		p.Edit(func(c harness.Section) { c.Section("ipfs_connector", "ipfshttp").Set("pin_timeout", "2s") })
		return p
	}
	one := impatient(h.Peer(harness.InitOptions{}))
	one.Start()
	two := impatient(h.Joining(one, "crdt"))
	two.StartOnly("--bootstrap", one.Address())
	two.WaitReady()
	hash, err := multihash.Sum([]byte("nobody has this"), multihash.SHA2_256, -1)
	if err != nil {
		t.Fatal(err)
	}
	dead := cid.NewCidV1(cid.Raw, hash)
	one.Add(dead, "dead")
	attempt := func(p *harness.Peer, n string) {
		t.Helper()
		harness.Eventually(t, 2*harness.Timeout, "attempt "+n+" has failed", func() error {
			pin, err := p.Get(dead.String())
			if err == nil && pin.Info["attempts"] != n {
				err = fmt.Errorf("it is %s (%v)", pin.Status, pin.Info)
			}
			return err
		})
	}
	killKubo := func(p *harness.Peer) {
		t.Helper()
		for _, pid := range harness.Kubos(p.Dir) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	attempt(one, "1")
	killKubo(one)
	attempt(one, "2")
	killKubo(two)
	one.Kill()
	one.Start()
	for _, p := range []*harness.Peer{one, two} {
		began := time.Now()
		harness.Eventually(t, 3*harness.Timeout, "it has failed", func() error {
			return statusOf(p, dead.String(), "failed", "attempt 3 of 3")
		})
		pin, err := p.Get(dead.String())
		if err != nil || pin.Info["attempts"] != "3" || pin.Info["replicas"] != "0/2" {
			t.Errorf("%+v, %v", pin, err)
		}
		t.Logf("failed after %s: %v", time.Since(began).Round(time.Second), pin.Info)
	}
	// It stays so: the cluster tries now and then after the last attempt, too.
	harness.Always(t, 5*time.Second, "it has failed", func() error { return statusOf(two, dead.String(), "failed", "attempt 3 of 3") })
}
