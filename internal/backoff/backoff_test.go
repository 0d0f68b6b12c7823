package backoff

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestPolicy_Delay(t *testing.T) {
	policy := Policy{Min: time.Second, Max: 10 * time.Second}
	for _, tt := range []struct {
		name    string
		policy  Policy
		attempt int
		want    time.Duration
	}{
		{"first", policy, 1, time.Second},
		{"second", policy, 2, 2 * time.Second},
		{"fourth", policy, 4, 8 * time.Second},
		{"at the bound", policy, 5, 10 * time.Second},
		{"far beyond the bound", policy, math.MaxInt, 10 * time.Second},
		{"before the first", policy, 0, time.Second},
		{"negative", policy, -3, time.Second},
		{"own factor", Policy{Min: time.Second, Max: time.Minute, Factor: 3}, 3, 9 * time.Second},
		{"constant", Policy{Min: time.Second, Max: time.Minute, Factor: 1}, 9, time.Second},
		{"no maximum", Policy{Min: time.Second}, 3, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.policy.Delay(tt.attempt); got != tt.want {
				t.Errorf("Delay(%d) = %s, want %s", tt.attempt, got, tt.want)
			}
		})
	}
}

func TestPolicy_NextStaysWithinTheJitter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lowest := time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "min"))
		policy := Policy{
			Min:    lowest,
			Max:    lowest + time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "range")),
			Factor: rapid.Float64Range(1, 10).Draw(t, "factor"),
			Jitter: rapid.Float64Range(0, 1).Draw(t, "jitter"),
		}
		attempt := rapid.IntRange(1, 1000).Draw(t, "attempt")
		delay, next := policy.Delay(attempt), policy.Next(attempt)
		if delay < policy.Min || delay > policy.Max {
			t.Errorf("the delay %s is outside of %s to %s", delay, policy.Min, policy.Max)
		}
		if least := delay - time.Duration(policy.Jitter*float64(delay)) - 1; next < least || next > delay {
			t.Errorf("the delay with jitter %s is outside of %s to %s", next, least, delay)
		}
	})
}

func TestPolicy_NextVaries(t *testing.T) {
	policy := Policy{Min: time.Hour, Max: time.Hour, Jitter: 0.5}
	first := policy.Next(1)
	for range 100 {
		if policy.Next(1) != first {
			return
		}
	}
	t.Errorf("a hundred delays with jitter are all %s", first)
}

func TestCounter(t *testing.T) {
	c := Counter{Policy: Policy{Min: time.Second, Max: 3 * time.Second}}
	for i, want := range []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 3 * time.Second} {
		if got := c.Next(); got != want || c.Attempts() != i+1 {
			t.Errorf("delay %d is %s after %d attempts, want %s", i+1, got, c.Attempts(), want)
		}
	}
	c.Reset()
	if got := c.Next(); got != time.Second {
		t.Errorf("the first delay after Reset is %s", got)
	}
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if !Sleep(t.Context(), time.Minute) || time.Since(began) != time.Minute {
			t.Errorf("slept for %s, want a minute", time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if Sleep(ctx, time.Hour) || Sleep(ctx, 0) {
			t.Error("Sleep went on after its context had ended")
		}
	})
}
