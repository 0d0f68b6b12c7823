package soak

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"runtime/pprof"
	"testing"
	"time"
)

// duration is short in make test; make soak takes ten minutes.
var duration = flag.Duration("soak.duration", 15*time.Second, "how long the soak takes, of each kind")

// profiles is where somebody who looks for a leak wants the heap profiles of
// the end of the warm-up and of the end: go tool pprof -base shows the growth.
var profiles = flag.String("soak.profiles", "", "the folder for two heap profiles")

// samples is how often memory and goroutines are looked at.
const samples = 20

// TestSoak lets writers, readers and pollers use the service, with a pinset
// that keeps its size, and wants memory and goroutines to keep theirs. What is
// measured is of the process, so the two take turns.
func TestSoak(t *testing.T) {
	t.Run("daemon", func(t *testing.T) { soak(t, false) })
	t.Run("embedded", func(t *testing.T) { soak(t, true) })
}

func soak(t *testing.T, embedded bool) {
	s := newService(t, embedded)
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
		switch i {
		case warmUp:
			writeProfile(t, "begin")
		case samples - 1:
			writeProfile(t, "end")
		}
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

// writeProfile writes a heap profile if they are asked for.
func writeProfile(t *testing.T, name string) {
	t.Helper()
	if *profiles == "" {
		return
	}
	file, err := os.Create(filepath.Join(*profiles, filepath.Base(t.Name())+"."+name+".pprof"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(pprof.Lookup("heap").WriteTo(file, 0), file.Close()); err != nil {
		t.Fatal(err)
	}
}
