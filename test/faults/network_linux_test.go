package faults

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

// exchange sends one byte from one namespace to another and back, and returns
// how long that took.
func exchange(t *testing.T, w *network, from, to int, within time.Duration) (time.Duration, error) {
	t.Helper()
	var listener net.Listener
	at := netip.AddrPortFrom(w.ports[to].addr, 7000).String()
	err := w.ports[to].do(func() (err error) {
		listener, err = net.Listen("tcp", at)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		b := make([]byte, 1)
		if _, err := conn.Read(b); err == nil {
			_, _ = conn.Write(b)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	began := time.Now()
	conn, err := w.ports[from].dial(ctx, "tcp", at)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(began.Add(within)); err != nil {
		t.Fatal(err)
	}
	b := []byte{1}
	_, err = conn.Write(b)
	if err == nil {
		_, err = conn.Read(b)
	}
	return time.Since(began), err
}

func TestNetwork_CutsAndSlowsLinks(t *testing.T) {
	w, err := newNetwork(3)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.close() }()
	works := func(from, to int) {
		t.Helper()
		if _, err := exchange(t, w, from, to, 10*time.Second); err != nil {
			t.Errorf("%d to %d: %v", from, to, err)
		}
	}
	broken := func(from, to int) {
		t.Helper()
		var timeout net.Error
		if _, err := exchange(t, w, from, to, time.Second); !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%d to %d, which is cut: %v", from, to, err)
		}
	}
	works(0, 1)
	w.cut(1, 0) // The answers of 1 do not arrive.
	broken(0, 1)
	broken(1, 0)
	works(0, 2)
	works(1, 2)
	w.restore(1, 0)
	works(1, 0)

	w.slow(0, 1, slowBy)
	if took, err := exchange(t, w, 0, 1, 10*time.Second); err != nil || took < 2*slowBy {
		t.Errorf("over a slow link: %v, %v", took, err)
	}
	w.slow(0, 1, -slowBy)
	if took, err := exchange(t, w, 0, 1, 10*time.Second); err != nil || took > slowBy {
		t.Errorf("over a link that is no longer slow: %v, %v", took, err)
	}
}

func TestNetwork_LeadsNowhereElse(t *testing.T) {
	w, err := newNetwork(2)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.close() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	// 192.0.2.1 is an address for documentation, of nobody.
	if conn, err := w.ports[0].dial(ctx, "tcp", "192.0.2.1:80"); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("there is a way out: %v, %v", conn, err)
	}
}
