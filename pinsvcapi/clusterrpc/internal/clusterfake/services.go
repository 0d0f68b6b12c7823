package clusterfake

import (
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"
	rpc "github.com/libp2p/go-libp2p-gorpc"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Services are the RPC services of a peer that behaves as a test sets: they count
// calls, fail and hang. They keep records as the cluster's state does, and the reports
// of the trackers of all peers.
//
// The exported fields are read by the services under a lock: set them before the first
// call, or within Set.
type Services struct {
	// Pins are the records of the shared state.
	Pins map[cid.Cid]api.Pin
	// Reports are what every tracker reports on pins.
	Reports map[cid.Cid]api.PinInfo
	// Blocks are the blocks of the IPFS node.
	Blocks map[cid.Cid][]byte
	// Members are the peers of the cluster, Allocation those that a new pin gets, and
	// Pinging those with a valid ping.
	Members, Allocation, Pinging []peer.ID
	// ID is what each peer reports for itself and its IPFS node.
	ID api.ID
	// Batching: writes are accepted and not committed until Commit.
	Batching bool
	// NoConditions: writes to one version of a record are refused, as by a Raft leader that is
	// ipfs-cluster-service.
	NoConditions bool
	// Everywhere: the cluster drops allocations and pins everywhere.
	Everywhere bool

	mu     sync.Mutex
	calls  map[string]int
	fails  map[string]error
	hangs  map[string]chan struct{}
	queued []func() // accepted writes
}

// New are the services of the peer Self, which is alone in its cluster.
func New() *Services {
	addr, err := api.NewMultiaddr("/ip4/203.0.113.7/tcp/4001")
	if err != nil {
		panic(err) // It is valid.
	}
	self := []peer.ID{Self()}
	return &Services{
		Pins: make(map[cid.Cid]api.Pin), Reports: make(map[cid.Cid]api.PinInfo), Blocks: make(map[cid.Cid][]byte),
		Members: self, Allocation: self, Pinging: self,
		ID:    api.ID{ID: Self(), IPFS: api.IPFSID{ID: Self(), Addresses: []api.Multiaddr{addr}}},
		calls: make(map[string]int), fails: make(map[string]error), hangs: make(map[string]chan struct{}),
	}
}

// Client is an RPC client whose calls to every peer reach these services, in the
// process.
func (s *Services) Client(t testing.TB) *rpc.Client {
	t.Helper()
	server := rpc.NewServer(nil, "/test")
	err := errors.Join(
		server.RegisterName("Cluster", &cluster{s}),
		server.RegisterName("PinTracker", &tracker{s}),
		server.RegisterName("Consensus", &consensus{s}),
		server.RegisterName("PeerMonitor", &monitor{s}),
		server.RegisterName("IPFSConnector", &connector{s}),
	)
	if err != nil {
		t.Fatal(err)
	}
	return rpc.NewClientWithServer(nil, "/test", server)
}

// Set changes the fields of the services.
func (s *Services) Set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// Fail makes a method fail; nil ends that. The name is Service.Method. Streams fail at
// once, or after their last item with the suffix " at the end". Consensus.LogUnpin and
// PinTracker.Recover fail for one pin with the suffix " of <CID>".
func (s *Services) Fail(method string, err error) { s.Set(func() { s.fails[method] = err }) }

// Hang makes calls of a method wait, whatever their context, until release.
func (s *Services) Hang(method string) (release func()) {
	ch := make(chan struct{})
	s.Set(func() { s.hangs[method] = ch })
	return sync.OnceFunc(func() {
		s.Set(func() { delete(s.hangs, method) })
		close(ch)
	})
}

// Called is how often a method was called since the start or ResetCalls.
func (s *Services) Called(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[method]
}

// ResetCalls begins to count anew.
func (s *Services) ResetCalls() { s.Set(func() { clear(s.calls) }) }

// Record is the record of a pin in the state.
func (s *Services) Record(c cid.Cid) (rec api.Pin, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec, found = s.Pins[c]
	return rec, found
}

// Len is the number of records in the state.
func (s *Services) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.Pins)
}

// Put stores a record in the state, as another tool does.
func (s *Services) Put(rec api.Pin) { s.Set(func() { s.Pins[rec.Cid.Cid] = rec }) }

// Remove takes a record out of the state, as another tool does.
func (s *Services) Remove(rec api.Pin) { s.Set(func() { delete(s.Pins, rec.Cid.Cid) }) }

// Report sets what every tracker reports on a pin.
func (s *Services) Report(c cid.Cid, info api.PinInfo) { s.Set(func() { s.Reports[c] = info }) }

// Held puts a record into the state that another tool made, and has the trackers
// report the pin as pinned.
func (s *Services) Held(c cid.Cid) api.Pin {
	rec := api.PinWithOpts(api.NewCid(c), api.PinOptions{Name: "held", ReplicationFactorMin: 1, ReplicationFactorMax: 1})
	rec.Allocations, rec.Timestamp = []peer.ID{Self()}, time.Unix(1_700_000_000, 0)
	s.Put(rec)
	s.Report(c, Report(api.TrackerStatusPinned, ""))
	return rec
}

// InFlight is Held for a pin that the trackers are at work on.
func (s *Services) InFlight(c cid.Cid) api.Pin {
	rec := s.Held(c)
	s.Report(c, Report(api.TrackerStatusPinning, ""))
	return rec
}

// Report is the report of a tracker. A pin_error is that of a first attempt.
func Report(status api.TrackerStatus, text string) api.PinInfo {
	info := api.PinInfo{PinInfoShort: api.PinInfoShort{Status: status, Error: text}}
	if status == api.TrackerStatusPinError {
		info.AttemptCount = 1
	}
	return info
}

// Commit commits the accepted writes, in order, and returns how many there were.
func (s *Services) Commit() (writes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, write := range s.queued {
		write()
	}
	writes, s.queued = len(s.queued), nil
	return writes
}

// Lose drops the accepted writes and returns how many there were.
func (s *Services) Lose() (writes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	writes, s.queued = len(s.queued), nil
	return writes
}

// begin is what each method starts with.
func (s *Services) begin(method string) error {
	s.mu.Lock()
	s.calls[method]++
	err, hang := s.fails[method], s.hangs[method]
	s.mu.Unlock()
	if hang != nil {
		<-hang
	}
	return err
}

// atEnd is how a stream ends.
func (s *Services) atEnd(method string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fails[method+" at the end"]
}

// commit makes a write, now or later.
func (s *Services) commit(write func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Batching {
		s.queued = append(s.queued, write)
		return
	}
	write()
}

func (s *Services) records() map[cid.Cid]api.Pin {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.Pins)
}
