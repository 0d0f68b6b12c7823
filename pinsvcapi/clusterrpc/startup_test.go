package clusterrpc_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ipfs-cluster/ipfs-cluster/api"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/await"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvc"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func TestStart_NamesWhatIsMissing(t *testing.T) {
	fake := clusterfake.New()
	node, pinging := fake.ID.IPFS, fake.Pinging
	fake.Pinging, fake.ID.IPFS = nil, api.IPFSID{Error: "connection refused"}
	fake.Fail("Cluster.Pins", errBroken)
	b := start(t, fake, clusterrpc.Options{})
	waitsFor := func(step string) {
		t.Helper()
		await.True(t, step, func() bool {
			err := b.Ready()
			return err != nil && err.Error() == "the service is starting: "+step
		})
	}
	waitsFor("waiting for the IPFS node")
	fake.Set(func() { fake.ID.IPFS = node })
	waitsFor("waiting for consensus")
	// The consensus component may have no client yet, and panics without one.
	for _, method := range []string{"Cluster.ID", "Cluster.Pins", "Cluster.PinGet", "Consensus.Peers"} {
		if fake.Called(method) > 0 {
			t.Errorf("%s is called before the peer has begun", method)
		}
	}
	fake.Set(func() { fake.Pinging = pinging })
	waitsFor("waiting for the shared state")
	wantKind(t, "Ready", b.Ready(), pinsvc.KindUnavailable)
	if b.Health() == nil {
		t.Error("healthy before it is ready")
	}
	fake.Fail("Cluster.Pins", nil)
	b.untilReady()
	if err := b.Health(); err != nil {
		t.Error(err)
	}
}

func TestStart_ListsWaitForTheViewAndSayHowFarItIs(t *testing.T) {
	fake := clusterfake.New()
	fake.Held(pinsvctest.RawCID(1))
	release := fake.Hang("Cluster.Pins")
	defer release()
	b := start(t, fake, clusterrpc.Options{FillWait: 20 * time.Millisecond})
	patient := start(t, fake, clusterrpc.Options{FillWait: time.Minute})
	await.True(t, "both read", func() bool { return fake.Called("Cluster.Pins") == 2 })
	_, err := b.List(t.Context(), "", everything(10))
	wantKind(t, "List", err, pinsvc.KindUnavailable)
	if failure, ok := errors.AsType[*pinsvc.Error](err); !ok || failure.RetryAfter <= 0 {
		t.Errorf("List: %+v", failure)
	}
	if text := b.Ready().Error(); !strings.Contains(text, "reading the pinset: 0 pins so far") {
		t.Errorf("Ready: %s", text)
	}
	listed := make(chan int)
	go func() { listed <- patient.count() }()
	release()
	if n := <-listed; n != 1 {
		t.Errorf("%d pins", n)
	}
}

// A start with an IPFS node that fails assumes nothing.
func TestStart_PinsThatCannotBeConfirmedAreQueued(t *testing.T) {
	fake := clusterfake.New()
	fake.Held(pinsvctest.RawCID(1))
	fake.Fail("PinTracker.StatusAll", errBroken)
	fake.Fail("PinTracker.Status", errBroken)
	b := ready(t, fake, clusterrpc.Options{})
	b.becomes(queued)
	fake.Fail("PinTracker.Status", nil)
	fake.Fail("PinTracker.StatusAll", nil)
	b.becomes(pinned)
}

// A pin that was renamed and then replaced showed for up to a second after a start.
func TestStart_ShowsNoReplacedPin(t *testing.T) {
	const pins = 20
	fake := clusterfake.New()
	first := ready(t, fake, clusterrpc.Options{})
	for i := range pins {
		old := first.add(pinsvc.Pin{CID: pinsvctest.RawCID(i), Name: "old"})
		for _, pin := range []pinsvc.Pin{{CID: pinsvctest.RawCID(i), Name: "renamed"}, {CID: pinsvctest.RawCID(pins + i), Name: "new"}} {
			if _, err := first.Replace(t.Context(), "", old.RequestID, pin); err != nil {
				t.Fatal(err)
			}
		}
	}
	first.Close()
	second := ready(t, fake, clusterrpc.Options{})
	for _, st := range second.list(everything(2 * pins)).Results {
		if st.Pin.Name != "new" {
			t.Errorf("%s, %q, is listed", st.RequestID, st.Pin.Name)
		}
	}
	if n := second.count(); n != pins {
		t.Errorf("%d pins", n)
	}
}
