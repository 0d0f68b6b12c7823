package clusterrpc_test

import (
	"sync"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"
	"go.uber.org/goleak"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func TestBackend_CloseEndsEverything(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	fake := clusterfake.New()
	rec := fake.Held(pinsvctest.RawCID(1))
	fake.Report(rec.Cid.Cid, clusterfake.Report(api.TrackerStatusUnexpectedlyUnpinned, "lost"))
	b := ready(t, fake, clusterrpc.Options{})
	b.get(rec.Cid.Cid)
	if n := b.events.Subscribers(); n != 1 {
		t.Errorf("%d subscriptions", n)
	}
	b.Close()
	b.Close()
	b.get(rec.Cid.Cid) // It needs nothing in the background.
	if n := b.events.Subscribers(); n != 0 {
		t.Errorf("%d subscriptions are left", n)
	}
}

func TestBackend_CloseDuringPollsAndScansLeavesNothing(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	fake := clusterfake.New()
	for n := range 500 {
		fake.InFlight(pinsvctest.RawCID(n))
	}
	b := ready(t, fake, clusterrpc.Options{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				b.count()
				b.Poller().RequestScan(clusterfake.Self())
				b.Syncer().RequestResync()
			}
		})
	}
	b.Close()
	wg.Wait()
}

func TestBackend_CloseBeforeItIsReady(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	fake := clusterfake.New()
	fake.Pinging = nil
	b := start(t, fake, clusterrpc.Options{})
	await.True(t, "started", func() bool { return fake.Called("PeerMonitor.LatestMetrics") > 0 })
	b.Close()
	wantKind(t, "Ready", b.Ready(), pinsvc.KindUnavailable)
}

func TestBackend_WithoutEventsTheStateIsReadOften(t *testing.T) {
	fake := clusterfake.New()
	b := clusterrpc.New(fake.Client(t), clusterrpc.Options{Self: clusterfake.Self(), ResyncInterval: time.Hour})
	defer b.Close()
	if every := b.Options().ResyncInterval; every > 30*time.Second {
		t.Errorf("every %s", every)
	}
	withEvents := start(t, fake, clusterrpc.Options{ResyncInterval: time.Hour})
	if every := withEvents.Backend.Options().ResyncInterval; every != time.Hour {
		t.Errorf("with events every %s", every)
	}
}
