package pinsvcapi

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/host"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

// gate makes every request of the backend wait until it is opened.
type gate struct {
	entered chan struct{}
	open    chan struct{}
}

func newGate(s *service) gate {
	g := gate{entered: make(chan struct{}, 100), open: make(chan struct{})}
	s.backend.before = func(ctx context.Context) error {
		g.entered <- struct{}{}
		select {
		case <-g.open:
			return nil
		case <-ctx.Done():
			return pinsvc.Wrap(pinsvc.KindUnavailable, ctx.Err(), "given up")
		}
	}
	return g
}

// dialRaw sends bytes as they are and reads what comes until the end.
func dialRaw(t *testing.T, s *service, text string) (conn net.Conn, reader *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", s.api.HTTPAddresses()[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(15 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

// closed wants the server to close the connection.
func closed(t *testing.T, reader *bufio.Reader) {
	t.Helper()
	for {
		if _, err := reader.ReadByte(); err != nil {
			if nerr, ok := errors.AsType[net.Error](err); ok && nerr.Timeout() {
				t.Error("the server keeps the connection")
			}
			return
		}
	}
}

// scripted is the honest fake with a step before every request, which may
// wait, fail or panic.
type scripted struct {
	*pinsvctest.Fake
	before func(ctx context.Context) error  // may be nil
	page   func(q pinsvc.Query) pinsvc.Page // the response of every list; may be nil
}

func (s *scripted) step(ctx context.Context) error {
	if s.before == nil {
		return nil
	}
	return s.before(ctx)
}

func (s *scripted) List(ctx context.Context, user pinsvc.User, q pinsvc.Query) (pinsvc.Page, error) {
	if err := s.step(ctx); err != nil {
		return pinsvc.Page{}, err
	}
	if s.page != nil {
		return s.page(q), nil
	}
	return s.Fake.List(ctx, user, q)
}

func (s *scripted) Add(ctx context.Context, user pinsvc.User, pin pinsvc.Pin) (pinsvc.PinStatus, error) {
	if err := s.step(ctx); err != nil {
		return pinsvc.PinStatus{}, err
	}
	return s.Fake.Add(ctx, user, pin)
}

func (s *scripted) Get(ctx context.Context, user pinsvc.User, id string) (pinsvc.PinStatus, error) {
	if err := s.step(ctx); err != nil {
		return pinsvc.PinStatus{}, err
	}
	return s.Fake.Get(ctx, user, id)
}

// newHost is a libp2p host on loopback, by default with TCP.
func newHost(t *testing.T, addrs ...string) host.Host {
	t.Helper()
	if addrs == nil {
		addrs = []string{"/ip4/127.0.0.1/tcp/0"}
	}
	h, err := libp2p.New(libp2p.ListenAddrStrings(addrs...), libp2p.DisableRelay())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func newBackendFunc(b Backend) func(*rpc.Client) Backend {
	return func(*rpc.Client) Backend { return b }
}

// userRecorder sends the user of each request.
type userRecorder struct {
	*scripted
	users chan<- pinsvc.User
}

func (w *userRecorder) List(ctx context.Context, user pinsvc.User, q pinsvc.Query) (pinsvc.Page, error) {
	w.users <- user
	return w.scripted.List(ctx, user, q)
}

func (w *userRecorder) Add(ctx context.Context, user pinsvc.User, pin pinsvc.Pin) (pinsvc.PinStatus, error) {
	w.users <- user
	return w.scripted.Add(ctx, user, pin)
}

func (w *userRecorder) Get(ctx context.Context, user pinsvc.User, id string) (pinsvc.PinStatus, error) {
	w.users <- user
	return w.scripted.Get(ctx, user, id)
}

func (w *userRecorder) Replace(ctx context.Context, user pinsvc.User, id string, pin pinsvc.Pin) (pinsvc.PinStatus, error) {
	w.users <- user
	return w.scripted.Replace(ctx, user, id, pin)
}

func (w *userRecorder) Delete(ctx context.Context, user pinsvc.User, id string) error {
	w.users <- user
	return w.scripted.Delete(ctx, user, id)
}

// captureLog returns what f logs.
func captureLog(t *testing.T, f func()) string {
	t.Helper()
	pipe := log.NewPipeReader(log.PipeFormat(log.JSONOutput))
	lines := make(chan string)
	go func() {
		all, _ := io.ReadAll(pipe)
		lines <- string(all)
	}()
	f()
	if err := pipe.Close(); err != nil {
		t.Fatal(err)
	}
	return <-lines
}
