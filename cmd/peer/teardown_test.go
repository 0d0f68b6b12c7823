package peer

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestTeardown_RunsEveryStepLastInFirstOut(t *testing.T) {
	var down teardown
	var ran []string
	broken := errors.New("broken")
	for _, name := range []string{"lock", "store", "host"} {
		down.push(name, time.Minute, func(context.Context) error {
			ran = append(ran, name)
			if got := down.current(); got != "the "+name {
				t.Errorf("at %q while stopping the %s", got, name)
			}
			if name == "store" {
				return broken
			}
			return nil
		})
	}
	err := down.unwind(context.Background())
	if want := []string{"host", "store", "lock"}; !reflect.DeepEqual(ran, want) {
		t.Errorf("ran %v, want %v", ran, want)
	}
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "stopping the store: ") {
		t.Errorf("error = %v", err)
	}
	if err := down.unwind(context.Background()); err != nil || len(ran) != 3 {
		t.Errorf("the steps ran again: %v, %v", ran, err)
	}
}

func TestTeardown_LeavesAHangingStepBehind(t *testing.T) {
	var down teardown
	release := make(chan struct{})
	defer close(release)
	var rest bool
	down.push("rest", time.Minute, func(context.Context) error { rest = true; return nil })
	down.push("hanging", time.Millisecond, func(context.Context) error { <-release; return nil })
	err := down.unwind(context.Background())
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "hanging") {
		t.Errorf("error = %v", err)
	}
	if !rest {
		t.Error("the step below did not run")
	}
}

func TestTeardown_HurriesWhenTheContextEnds(t *testing.T) {
	var down teardown
	down.push("polite", time.Hour, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := down.unwind(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
}
