package await

import (
	"context"
	"sync"
	"testing"
	"time"
)

// Meanwhile calls look in the background, with pauses, until it returns false, the returned function is called, or
// the test has ended. The returned function waits for the last call.
func Meanwhile(t testing.TB, pause time.Duration, look func() (goOn bool)) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var looking sync.WaitGroup
	looking.Go(func() {
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for ctx.Err() == nil && look() {
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	end = func() { cancel(); looking.Wait() }
	t.Cleanup(end) // Of a test that fails before.
	return end
}
