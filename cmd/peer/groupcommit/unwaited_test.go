package groupcommit

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
)

// What is accepted before its commit is on the disk soon, whatever is on its way from other peers: a
// change that has to wait for that waits before it is accepted.
func TestCommitter_NothingIsAcceptedThatWaitsForOthers(t *testing.T) {
	f := newFake()
	incoming := newWalks(f)
	c := start(t, f, func(cfg *Config) { cfg.Incoming, cfg.NoWait = incoming, true })
	committed := func(n int, name string) {
		t.Helper()
		await.True(t, "committed", func() bool { return f.name(keyOf(n)) == name })
	}
	if err := c.Pin(t.Context(), pinOf(1, "before")); err != nil {
		t.Fatal(err)
	}
	committed(1, "before")

	incoming.begin()
	if err := c.Pin(t.Context(), pinOf(2, "new")); err != nil { // New pins do not wait.
		t.Fatal(err)
	}
	committed(2, "new")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Pin(ctx, pinOf(1, "renamed")); !errors.Is(err, ErrBehind) || errors.Is(err, ErrUncertain) {
		t.Errorf("a change that waits: %v", err)
	}
	removed := make(chan error, 1)
	go func() { removed <- c.Unpin(t.Context(), keyOf(1)) }()
	if err := c.Pin(t.Context(), pinOf(3, "new")); err != nil {
		t.Fatal(err)
	}
	committed(3, "new")
	select {
	case err := <-removed:
		t.Fatalf("a removal does not wait: %v", err)
	default:
	}
	incoming.end()
	if err := <-removed; err != nil {
		t.Error(err)
	}
	committed(1, "")
}

// A value of another peer comes after a new pin was accepted, and before its commit.
func TestCommitter_AnAcceptedPinIsCommittedInTime(t *testing.T) {
	f := newFake()
	incoming := newWalks(f)
	c := start(t, f, func(cfg *Config) {
		cfg.Incoming, cfg.NoWait, cfg.Linger, cfg.LingerSize = incoming, true, time.Hour, 2
	})
	incoming.begin()
	defer incoming.end()
	if err := c.Pin(t.Context(), pinOf(1, "mine")); err != nil {
		t.Fatal(err)
	}
	theirs := pinOf(1, "theirs")
	f.set(func() { f.put(keyOf(1).String(), &theirs) })
	if err := c.Pin(t.Context(), pinOf(2, "")); err != nil { // The batch is full.
		t.Fatal(err)
	}
	await.True(t, "committed", func() bool { return f.name(keyOf(1)) == "mine" })
}

func TestCommitter_CloseEndsWhatIsNotAcceptedYet(t *testing.T) {
	f := newFake()
	incoming := newWalks(f)
	c := New(Config{State: f, Watch: watchFake, Incoming: incoming, NoWait: true})
	incoming.begin()
	removed := make(chan error, 1)
	go func() { removed <- c.Unpin(t.Context(), keyOf(1)) }()
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-removed; !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}
