package pinsvcapi

import (
	"net"
	"testing"
)

// The tables tell what waits, and nothing of a listener that nobody connects to.
func TestPending(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, want := range []bool{false, true} {
		if halfOpen, waiting, err := pending(l.(*net.TCPListener)); halfOpen != 0 || waiting != want || err != nil {
			t.Errorf("%d half-open ones, waiting: %t, %v; want %t", halfOpen, waiting, err, want)
		}
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
}
