package taskgroup

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

func TestGroup_CloseEndsAllAndWaits(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	g := New()
	var begun sync.WaitGroup
	var ended atomic.Int32
	for range 10 {
		begun.Add(1)
		if !g.Go(func(ctx context.Context) {
			begun.Done()
			<-ctx.Done()
			ended.Add(1)
		}) {
			t.Fatal("it does not run")
		}
	}
	begun.Wait()
	g.Close()
	if n := ended.Load(); n != 10 {
		t.Errorf("%d of 10 had ended", n)
	}
	g.Close()
}

func TestGroup_AClosedGroupRunsNothing(t *testing.T) {
	g := New()
	g.Close()
	if g.Go(func(context.Context) { t.Error("it runs") }) {
		t.Error("it says that it runs")
	}
}

func TestGroup_GoAndCloseMayRace(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	g := New()
	var promised, ran atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if g.Go(func(context.Context) { ran.Add(1) }) {
					promised.Add(1)
				}
			}
		})
	}
	g.Close()
	wg.Wait()
	g.Close()
	if promised.Load() != ran.Load() {
		t.Errorf("%d of %d ran", ran.Load(), promised.Load())
	}
}
