package peer

import (
	"testing"
	"time"
)

// A node that responds while the peer is shut down must not make it ready.
func TestGate_HeldStaysShut(t *testing.T) {
	g := newGate()
	if g.hold() {
		t.Error("a new gate is open")
	}
	g.pass()
	select {
	case <-g.opened:
		t.Error("a held gate opened")
	case <-time.After(time.Millisecond):
	}
	open := newGate()
	open.pass()
	open.pass()
	if !open.hold() {
		t.Error("an open gate is not")
	}
}
