package peer

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// teardown is the stack of steps that undo a peer. A step is pushed as soon as
// its resource exists; unwinding runs the steps last in, first out. New rolls
// back through the same stack as Stop. A step that fails does not end it, as it
// ends upstream's shutdown (U9 in docs/upstream-faults.md).
type teardown struct {
	steps []step
	step  atomic.Pointer[step] // The one that runs.
}

type step struct {
	name  string
	limit time.Duration
	run   func(context.Context) error
}

// push adds a step. The limit caps the wait for it: upstream's shutdowns do
// not all watch their context, so run may be left behind when it is over.
func (t *teardown) push(name string, limit time.Duration, run func(context.Context) error) {
	t.steps = append(t.steps, step{name: name, limit: limit, run: run})
}

// unwind runs and drops all steps. A failed or overdue step is named in the
// error and does not keep the others from running. Once ctx has ended, the
// remaining steps get forcedWait each.
func (t *teardown) unwind(ctx context.Context) error {
	var failed []error
	for len(t.steps) > 0 {
		last := t.steps[len(t.steps)-1]
		t.steps = t.steps[:len(t.steps)-1]
		t.step.Store(&last)
		began := time.Now()
		if err := last.wait(ctx); err != nil {
			logger.Warnf("stopping the %s: %s", last.name, err)
			failed = append(failed, fmt.Errorf("stopping the %s: %w", last.name, err))
			continue
		}
		logger.Debugf("stopped the %s in %s", last.name, time.Since(began).Round(time.Millisecond))
	}
	return errors.Join(failed...)
}

// current names the step that runs, "" before the first. It may be called
// during unwinding.
func (t *teardown) current() string {
	if running := t.step.Load(); running != nil {
		return "the " + running.name
	}
	return ""
}

// forcedWait is the limit of a step once the limit of the whole stop is over.
const forcedWait = 500 * time.Millisecond

func (s step) wait(ctx context.Context) error {
	run, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.run(run) }()
	select {
	case err := <-done:
		return err
	case <-run.Done():
	}
	// A step that watches its context ends now, with its own error.
	grace := time.NewTimer(forcedWait)
	defer grace.Stop()
	select {
	case err := <-done:
		return err
	case <-grace.C:
		return fmt.Errorf("still not done, left behind: %w", run.Err())
	}
}
