package soak

import (
	"flag"
	"testing"
	"time"
)

// duration is short in make test; make soak takes ten minutes.
var duration = flag.Duration("soak.duration", 15*time.Second, "how long the soak takes")

// samples is how often memory and goroutines are looked at.
const samples = 20

// TestSoak lets writers, readers and pollers use the service, with a pinset
// that keeps its size, and wants memory and goroutines to keep theirs.
func TestSoak(t *testing.T) {
	s := newService(t)
	l := newLoad(s)
	l.fill(t)
	l.start(t)
	var taken []sample
	for i := range samples {
		wait(t, *duration/samples)
		now := l.sample(t)
		t.Logf("sample %2d: heap %6.2f MiB, %4d goroutines, %3d MiB resident; %s",
			i+1, float64(now.heap)/(1<<20), now.goroutines, now.resident>>20, now.done)
		taken = append(taken, now)
	}
	l.stop(t)
	l.checkTruth(t)
	checkFlat(t, taken)
}

// wait lets the load run. This is what a soak is, not a synchronisation.
func wait(t *testing.T, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}
