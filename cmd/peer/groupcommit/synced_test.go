package groupcommit

import (
	"errors"
	"testing"
)

// A write is answered when its commit is synced: what comes after that, which is to tell others of
// it, is not waited for. The next commit begins after it all the same.
func TestCommitter_AnswersWhenTheCommitIsSynced(t *testing.T) {
	f := newFake()
	telling, told := make(chan struct{}, 10), make(chan struct{})
	f.tell = func() {
		telling <- struct{}{}
		<-told
	}
	c := start(t, f, func(cfg *Config) { cfg.Watch = watchFake })
	if err := c.Pin(t.Context(), pinOf(0, "one")); err != nil {
		t.Fatal(err)
	}
	<-telling
	if got := f.name(keyOf(0)); got != "one" {
		t.Errorf("the state has %q when the write is answered", got)
	}
	second := begin(t, c, 1, func() error { return c.Unpin(t.Context(), keyOf(0)) })
	select {
	case <-telling:
		t.Error("the next commit began before the first had ended")
	case err := <-second:
		t.Errorf("the next write was answered: %v", err)
	default:
	}
	close(told)
	if err := <-second; err != nil || f.name(keyOf(0)) != "" {
		t.Errorf("%v, the state has %q", err, f.name(keyOf(0)))
	}
}

// A commit that fails after its sync is made again before anything else, but its write is made.
func TestCommitter_AFailureAfterTheSyncIsNotAnswered(t *testing.T) {
	f := newFake()
	failures := 1
	f.next = func() fault {
		if failures--; failures >= 0 {
			return faultTold
		}
		return faultNone
	}
	told := make(chan struct{}, 10)
	f.tell = func() { told <- struct{}{} }
	c := start(t, f, func(cfg *Config) { cfg.Watch = watchFake })
	if err := c.Pin(t.Context(), pinOf(0, "one")); err != nil {
		t.Fatal(err)
	}
	<-told
	<-told // It is told again.
	for {
		err := c.Pin(t.Context(), pinOf(1, "two"))
		if err == nil {
			break
		}
		if !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
	}
	f.set(func() {
		if len(f.commits) != 2 || len(f.commits[0]) != 3 { // With the removal of what was merged before.
			t.Errorf("commits %v", f.commits)
		}
	})
}
