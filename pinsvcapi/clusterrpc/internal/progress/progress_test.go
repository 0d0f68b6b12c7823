package progress

import (
	"sync"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
)

func TestCounter_String(t *testing.T) {
	var clock clusterfake.Clock
	c := Counter{Now: clock.Now}
	want := func(text string) {
		t.Helper()
		if got := c.String(); got != text {
			t.Errorf("%q, want %q", got, text)
		}
	}
	want("not begun")
	c.Begin()
	want("0 pins so far, 0 a second")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 250 {
				c.Step()
			}
		})
	}
	wg.Wait()
	clock.Advance(4 * time.Second)
	want("1000 pins so far, 250 a second")
	c.Begin()
	want("0 pins so far, 0 a second")
}
