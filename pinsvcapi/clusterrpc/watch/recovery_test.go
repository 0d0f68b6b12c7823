package watch

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/ipfs-cluster/ipfs-cluster/api"
)

func (p *peerState) RecoverAll(_ context.Context, out chan<- api.PinInfo) error {
	p.call("recover")
	close(out)
	return nil
}

func TestHoldRecovery_LastsUntilTheLastRelease(t *testing.T) {
	watched(t, func(t *testing.T, p *peerState, tracker *Tracker, _ api.Pin) {
		one, other := tracker.HoldRecovery(), tracker.HoldRecovery()
		recovered := make(chan error, 1)
		go func() { recovered <- tracker.RecoverAll(t.Context(), make(chan api.PinInfo)) }()
		one()
		one() // Again, to no effect.
		synctest.Wait()
		p.expect(t, "while one is held")
		other()
		if err := <-recovered; err != nil {
			t.Error(err)
		}
		p.expect(t, "after the release", "recover")
		again := tracker.HoldRecovery()
		again()
		if err := tracker.RecoverAll(t.Context(), make(chan api.PinInfo)); err != nil {
			t.Error(err)
		}
		p.expect(t, "without a hold", "recover", "recover")
	})
}

func TestHoldRecovery_EndsWithTheContextAndTheTracker(t *testing.T) {
	watched(t, func(t *testing.T, p *peerState, tracker *Tracker, _ api.Pin) {
		defer tracker.HoldRecovery()()
		ctx, cancel := context.WithCancel(t.Context())
		recovered := make(chan error)
		recover := func(ctx context.Context) {
			out := make(chan api.PinInfo)
			go func() { recovered <- tracker.RecoverAll(ctx, out) }()
			for range out { // It is closed.
			}
		}
		go recover(ctx)
		synctest.Wait()
		cancel()
		if err := <-recovered; !errors.Is(err, context.Canceled) {
			t.Errorf("after the end of the context: %v", err)
		}
		go recover(t.Context())
		synctest.Wait()
		if err := tracker.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-recovered; err == nil {
			t.Error("after the shutdown: no error")
		}
		p.expect(t, "in the end")
	})
}
