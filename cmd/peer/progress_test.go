package peer

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestReporter_RepeatsTheStage(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	events := make(chan Event, 100)
	r := newReporter(func(e Event) { events <- e })
	defer r.close()
	r.enter(StageIPFS, func() string { return "starting Kubo" })
	first := <-events
	if first != (Event{Stage: StageIPFS, Detail: "starting Kubo"}) {
		t.Errorf("first event = %+v", first)
	}
	select {
	case again := <-events:
		if again.Stage != StageIPFS || again.Elapsed <= 0 || progressInterval >= 2*time.Second {
			t.Errorf("second event = %+v", again)
		}
	case <-time.After(deadline):
		t.Fatal("said nothing more")
	}
}

// Several things are waited for under one name.
func TestReporter_GoesOnWithTheSameStage(t *testing.T) {
	events := make(chan Event, 100)
	r := newReporter(func(e Event) { events <- e })
	defer r.close()
	r.enter(StageRequests, nil)
	<-events
	r.enter(StageRequests, func() string { return "the first pins" })
	for limit := time.After(deadline); ; {
		select {
		case next := <-events:
			if next.Stage != StageRequests || next.Elapsed <= 0 {
				t.Fatalf("the same stage began again: %+v", next)
			}
			if next.Detail == "the first pins" {
				return
			}
		case <-limit:
			t.Fatal("said nothing more")
		}
	}
}

func TestReporter_IsSilentOnceReady(t *testing.T) {
	events := make(chan Event, 100)
	r := newReporter(func(e Event) { events <- e })
	r.enter(StageReady, nil)
	<-events
	r.close()
	if len(events) != 0 {
		t.Errorf("%v came after ready", <-events)
	}
}

func TestEvent_String(t *testing.T) {
	for want, event := range map[string]Event{
		"ready":                           {Stage: StageReady},
		"waiting for IPFS: starting Kubo": {Stage: StageIPFS, Detail: "starting Kubo", Elapsed: 900 * time.Millisecond},
		"waiting for consensus (3s)":      {Stage: StageConsensus, Elapsed: 3900 * time.Millisecond},
	} {
		if got := event.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
