package clusterrpc_test

// The contract of pinsvc.Backend, held by a backend on real peers: a suite across all
// operations, and the helpers of all tests on real peers.

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"github.com/ipfs/go-cid"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/clustertest"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func TestBackend_KeepsTheContract(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]clustertest.Options{
		"everywhere": {},
		"allocated":  {ReplicationMin: 1, ReplicationMax: 1},
		"batching":   {BatchAge: 300 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pinsvctest.RunBackendTests(t, func(t *testing.T) pinsvctest.Harness { return harness(t, opts) })
		})
	}
}

// harness is one peer and a backend on it. Its test runs beside others.
func harness(t *testing.T, opts clustertest.Options) pinsvctest.Harness {
	t.Parallel()
	p := clustertest.Start(t, 1, opts)[0]
	p.Node.HoldPins(true)
	b := newBackend(t, p, clusterrpc.Options{BatchAge: opts.BatchAge, WaitsForCommit: opts.BatchAge == 0})
	return pinsvctest.Harness{
		Backend: b,
		SetStatus: func(t testing.TB, id string, status pinsvc.Status) {
			setStatus(t, p, id, status)
			shows(t, b, id, status)
		},
		PinElsewhere: func(t testing.TB, created time.Time, pins ...pinsvc.Pin) { pinElsewhere(t, p, b, created, pins...) },
		Keeps:        func(t testing.TB, c cid.Cid) bool { return keeps(t, p, b, c) },
		Cut: func(testing.TB) func() {
			p.State.Cut(true)
			return func() { p.State.Cut(false) }
		},
	}
}

// keeps reports whether a peer has a CID in its state or among its uncommitted writes, or its node
// has it pinned.
func keeps(t testing.TB, p *clustertest.Peer, b *clusterrpc.Backend, c cid.Cid) bool {
	t.Helper()
	now, err := b.Syncer().Read(t.Context(), api.NewCid(c))
	if err != nil {
		t.Fatal(err)
	}
	return now.Found || p.Node.Has(c)
}

// newBackend is ready, and closed with the test.
func newBackend(t testing.TB, p *clustertest.Peer, opts clusterrpc.Options) *clusterrpc.Backend {
	t.Helper()
	if opts.Events == nil {
		opts.Events = p.Events
	}
	// Tests do not wait for what production puts off, and a failure is one at
	// once unless the test is about tries.
	if opts.ActivePollInterval == 0 {
		opts.ActivePollInterval = time.Microsecond
	}
	if opts.StatusMaxAge == 0 {
		opts.StatusMaxAge = -1
	}
	if opts.MaxPinAttempts == 0 {
		opts.MaxPinAttempts = 1
	}
	b := clusterrpc.New(p.Client, opts)
	t.Cleanup(b.Close)
	await.Success(t, "the backend is ready", b.Ready)
	return b
}

// shows waits until the backend reports that status: it polls trackers now and then.
func shows(t testing.TB, b *clusterrpc.Backend, requestID string, want pinsvc.Status) {
	t.Helper()
	await.Success(t, "the pin is "+want.String(), func() error {
		st, err := b.Get(t.Context(), "", requestID)
		if err == nil && st.Status != want {
			err = fmt.Errorf("it is %s: %v", st.Status, st.Info)
		}
		return err
	})
}

func mustCID(t testing.TB, text string) cid.Cid {
	t.Helper()
	c, err := cid.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// setStatus arranges that the only peer's tracker says this status, with the
// real tracker wherever it can be brought to it.
func setStatus(t testing.TB, p *clustertest.Peer, requestID string, status pinsvc.Status) {
	t.Helper()
	c := mustCID(t, requestID)
	p.Tracker.SetReport(c, api.TrackerStatusUndefined)
	var want api.TrackerStatus
	switch status {
	case pinsvc.StatusQueued:
		// Its workers are free, so a real one is never queued for long.
		p.Tracker.SetReport(c, api.TrackerStatusPinQueued)
		want = api.TrackerStatusPinQueued
	case pinsvc.StatusPinning:
		p.Node.Undecided(c)
		want = api.TrackerStatusPinning
	case pinsvc.StatusPinned:
		p.Node.Succeed(c)
		want = api.TrackerStatusPinned
	case pinsvc.StatusFailed:
		p.Node.Fail(c, errors.New("merkledag: the content is malformed"))
		want = api.TrackerStatusPinError
	}
	trackerReports(t, p, c, want)
}

// trackerReports waits until the peer's tracker says so.
func trackerReports(t testing.TB, p *clustertest.Peer, c cid.Cid, want api.TrackerStatus) {
	t.Helper()
	await.Success(t, "the tracker says "+want.String(), func() error {
		if info := p.Tracker.Status(t.Context(), api.NewCid(c)); info.Status != want {
			return errors.New(info.Status.String() + " " + info.Error)
		}
		return nil
	})
}

// pinElsewhere makes pins as a peer with another copy of this program would.
func pinElsewhere(t testing.TB, p *clustertest.Peer, b *clusterrpc.Backend, created time.Time, pins ...pinsvc.Pin) {
	t.Helper()
	for _, pin := range pins {
		meta := map[string]string{"pinsvc.created": created.UTC().Format("2006-01-02T15:04:05.000Z") + " " + pin.CID.String()}
		for k, v := range pin.Meta {
			meta[k] = v
		}
		var origins []api.Multiaddr
		for _, origin := range pin.Origins {
			origins = append(origins, api.NewMultiaddrWithValue(origin))
		}
		pinBy(t, p, api.PinWithOpts(api.NewCid(pin.CID), api.PinOptions{Name: pin.Name, Metadata: meta, Origins: origins}))
	}
	for _, pin := range pins {
		await.Success(t, "the pin is in the list", func() error {
			page, err := pinsvctest.Results(b.List(t.Context(), "", pinsvc.Query{Limit: 1, Statuses: pinsvc.AllStatuses, CIDs: []cid.Cid{pin.CID}}))
			if err == nil && (page.Count != 1 || !page.Results[0].Created.Equal(created)) {
				err = errors.New("it is not")
			}
			return err
		})
	}
}

// pinBy makes a pin as another tool would, and waits until the state has it.
func pinBy(t testing.TB, p *clustertest.Peer, pin api.Pin) {
	t.Helper()
	var out api.Pin
	if err := p.Client.CallContext(t.Context(), "", "Cluster", "Pin", pin, &out); err != nil {
		t.Fatal(err)
	}
	await.Success(t, "the state has the pin", func() error {
		rec, err := p.Cluster.PinGet(t.Context(), pin.Cid)
		if err == nil && rec.Timestamp.Unix() != out.Timestamp.Unix() {
			return errors.New("it has an older one")
		}
		return err
	})
}
