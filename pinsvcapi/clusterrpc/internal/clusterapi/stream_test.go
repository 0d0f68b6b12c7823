package clusterapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs-cluster/ipfs-cluster/state"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

var errBroken = errors.New("the datastore is closed")

// services are the RPC services of a peer in this process, and record the calls.
type services struct {
	mu    sync.Mutex
	calls []string

	pins int // how many records Pins sends
	// fail is returned by every method; failMiddle by streams after their last
	// reply.
	fail, failMiddle error
	// leaveOpen: Pins fails without closing the channel of its replies, as the
	// cluster does.
	leaveOpen bool
	// hang, if not nil, is waited for by every method, whatever its context.
	hang chan struct{}
	// sending is called before each reply of a stream.
	sending func(i int)
}

func (s *services) client(t testing.TB) Client {
	t.Helper()
	server := rpc.NewServer(nil, "/test")
	err := errors.Join(
		server.RegisterName("Cluster", &clusterService{s}),
		server.RegisterName("PinTracker", &trackerService{s}),
		server.RegisterName("Consensus", &consensusService{s}),
		server.RegisterName("PeerMonitor", &monitorService{s}),
		server.RegisterName("IPFSConnector", &connectorService{s}),
	)
	if err != nil {
		t.Fatal(err)
	}
	return New(rpc.NewClientWithServer(nil, "/test", server))
}

// begin is the first step of every method.
func (s *services) begin(method string, arg any) error {
	s.mu.Lock()
	s.calls = append(s.calls, fmt.Sprintf("%s %v", method, arg))
	s.mu.Unlock()
	if s.hang != nil {
		<-s.hang
	}
	return s.fail
}

// send sends replies. Like those of the cluster, it does not watch the context.
func send[R any](s *services, out chan<- R, replies ...R) {
	for i, r := range replies {
		if s.sending != nil {
			s.sending(i)
		}
		out <- r
	}
}

type clusterService struct{ *services }

func (s *clusterService) Pin(_ context.Context, in api.Pin, out *api.Pin) error {
	in.Name += " as written"
	*out = in
	return s.begin("Cluster.Pin", in.Cid)
}

func (s *clusterService) BlockAllocate(_ context.Context, in api.Pin, out *[]peer.ID) error {
	*out = []peer.ID{"A", "B"}
	return s.begin("Cluster.BlockAllocate", in.Cid)
}

func (s *clusterService) Unpin(_ context.Context, in api.Pin, out *api.Pin) error {
	*out = in
	return s.begin("Cluster.Unpin", in.Cid)
}

func (s *clusterService) PinGet(_ context.Context, in api.Cid, out *api.Pin) error {
	*out = api.PinCid(in)
	return s.begin("Cluster.PinGet", in)
}

func (s *clusterService) Pins(_ context.Context, _ <-chan struct{}, out chan<- api.Pin) error {
	if err := s.begin("Cluster.Pins", ""); err != nil {
		if !s.leaveOpen {
			close(out)
		}
		return err
	}
	defer close(out)
	var pins []api.Pin
	for i := range s.pins {
		pins = append(pins, api.PinCid(api.NewCid(pinsvctest.RawCID(i))))
	}
	send(s.services, out, pins...)
	return s.failMiddle
}

func (s *clusterService) ID(_ context.Context, _ struct{}, out *api.ID) error {
	*out = api.ID{ID: "A"}
	return s.begin("Cluster.ID", "")
}

type trackerService struct{ *services }

func (s *trackerService) Status(_ context.Context, in api.Cid, out *api.PinInfo) error {
	out.Status = api.TrackerStatusPinned
	return s.begin("PinTracker.Status", in)
}

func (s *trackerService) StatusAll(_ context.Context, in <-chan api.TrackerStatus, out chan<- api.PinInfo) error {
	defer close(out)
	if err := s.begin("PinTracker.StatusAll", int(<-in)); err != nil {
		return err
	}
	send(s.services, out, api.PinInfo{Name: "first"}, api.PinInfo{Name: "second"})
	return s.failMiddle
}

func (s *trackerService) Recover(_ context.Context, in api.Cid, out *api.PinInfo) error {
	out.Status = api.TrackerStatusPinQueued
	return s.begin("PinTracker.Recover", in)
}

type consensusService struct{ *services }

func (s *consensusService) Peers(_ context.Context, _ struct{}, out *[]peer.ID) error {
	*out = []peer.ID{"A", "B"}
	return s.begin("Consensus.Peers", "")
}

func (s *consensusService) LogPin(_ context.Context, in api.Pin, _ *struct{}) error {
	return s.begin("Consensus.LogPin", in.Cid)
}

func (s *consensusService) LogUnpin(_ context.Context, in api.Pin, _ *struct{}) error {
	return s.begin("Consensus.LogUnpin", in.Cid)
}

type monitorService struct{ *services }

func (s *monitorService) LatestMetrics(_ context.Context, name string, out *[]api.Metric) error {
	*out = []api.Metric{{Name: name}}
	return s.begin("PeerMonitor.LatestMetrics", name)
}

type connectorService struct{ *services }

func (s *connectorService) RepoStat(_ context.Context, _ struct{}, _ *api.IPFSRepoStat) error {
	return s.begin("IPFSConnector.RepoStat", "")
}

func (s *connectorService) BlockGet(_ context.Context, in api.Cid, out *[]byte) error {
	*out = []byte("block")
	return s.begin("IPFSConnector.BlockGet", in)
}

func TestStream_HandsOverEveryReply(t *testing.T) {
	for _, n := range []int{0, 1, streamBuffer, 3*streamBuffer + 1} {
		s := &services{pins: n}
		seen := make(map[string]bool)
		err := s.client(t).Pins(t.Context(), func(pin api.Pin) error {
			seen[pin.Cid.String()] = true
			return nil
		})
		if err != nil || len(seen) != n {
			t.Errorf("%d replies of %d: %v", len(seen), n, err)
		}
	}
}

// Senders do not watch the context while they send: a stream whose reader stops is
// read to its end, so that no goroutine stays.
func TestStream_IsDrainedWhenTheReaderStops(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s := &services{pins: 3 * streamBuffer}
	c := s.client(t)
	calls := 0
	err := c.Pins(t.Context(), func(api.Pin) error {
		calls++
		return errBroken
	})
	if !errors.Is(err, errBroken) || calls != 1 {
		t.Errorf("%d replies: %v", calls, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = c.Pins(ctx, func(api.Pin) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestStream_EndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &services{pins: 1, hang: make(chan struct{})}
		c := s.client(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := c.Pins(ctx, func(api.Pin) error { return nil })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a callee that hangs: %v", err)
		}
		close(s.hang) // All goroutines end with the test.
	})
}

func TestStream_OfAnEndedContextCallsNobody(t *testing.T) {
	s := &services{pins: 1}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.client(t).Pins(ctx, func(api.Pin) error { return nil }); !errors.Is(err, context.Canceled) || len(s.calls) != 0 {
		t.Errorf("calls %v: %v", s.calls, err)
	}
}

// The absence of a pin means something only when the stream ended without an
// error: all replies come first, then the error.
func TestStream_FailureInTheMiddleComesAfterTheReplies(t *testing.T) {
	const n = streamBuffer / 2
	for range 20 { // The end of the call and the last replies race.
		s := &services{pins: n, failMiddle: errBroken}
		got := 0
		err := s.client(t).Pins(t.Context(), func(api.Pin) error {
			got++
			return nil
		})
		if !errors.Is(err, errBroken) || got != n {
			t.Fatalf("%d replies of %d: %v", got, n, err)
		}
	}
}

// A callee that fails early may leave the channel of its replies open.
func TestStream_CalleeThatFailsEarly(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for _, leaveOpen := range []bool{false, true} {
		s := &services{fail: errBroken, leaveOpen: leaveOpen}
		if err := s.client(t).Pins(t.Context(), func(api.Pin) error { return nil }); !errors.Is(err, errBroken) {
			t.Errorf("channel left open: %t: %v", leaveOpen, err)
		}
	}
}

// The reader may fail at a reply that the stream left behind at its end.
func TestStream_ReaderThatFailsAtTheEnd(t *testing.T) {
	out := make(chan int, 3)
	out <- 1
	out <- 2
	out <- 3
	var got []int
	err := takeRest(out, nil, func(n int) error {
		got = append(got, n)
		if n == 2 {
			return errBroken
		}
		return nil
	})
	if !errors.Is(err, errBroken) || !slices.Equal(got, []int{1, 2}) {
		t.Errorf("%v: %v", got, err)
	}
}

func TestCall_KeepsTheValueOfLocalErrors(t *testing.T) {
	s := &services{fail: state.ErrNotFound}
	_, err := s.client(t).PinGet(t.Context(), api.NewCid(pinsvctest.RawCID(1)))
	if !errors.Is(err, state.ErrNotFound) || !IsNotFound(err) {
		t.Error(err)
	}
}

// A local callee may ignore the context; the caller does not wait for it.
func TestCall_EndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &services{hang: make(chan struct{})}
		c := s.client(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.PinGet(ctx, api.NewCid(pinsvctest.RawCID(1))); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a callee that hangs: %v", err)
		}
		close(s.hang)
	})
}

// The reason for which the service itself cancels a call is for the client.
func TestCall_KeepsTheReasonOfACancellation(t *testing.T) {
	reason := &pinsvc.Error{Kind: pinsvc.KindUnavailable, Details: "the service is shutting down"}
	key := api.NewCid(pinsvctest.RawCID(1))

	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(reason)
	s := &services{}
	if _, err := s.client(t).PinGet(ctx, key); !errors.Is(err, reason) || len(s.calls) != 0 {
		t.Errorf("before the call: %v, calls %v", err, s.calls)
	}

	// The callee notices first, and returns what its context says.
	if err := causeOrError(ctx, context.Canceled); err != error(reason) {
		t.Errorf("the callee noticed: %v", err)
	}
	plain, cancelPlain := context.WithCancel(t.Context())
	cancelPlain()
	if err := causeOrError(plain, errBroken); err != errBroken {
		t.Errorf("without a reason of the service: %v", err)
	}

	synctest.Test(t, func(t *testing.T) {
		s := &services{hang: make(chan struct{})}
		c := s.client(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(reason) })
		if _, err := c.PinGet(ctx, key); !errors.Is(err, reason) {
			t.Errorf("during the call: %v", err)
		}
		close(s.hang)
	})
}
