package statesync

import (
	"reflect"
	"testing"
	"time"

	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/clusterrpc/internal/clusterfake"
	"github.com/pinsvc/ipfs-cluster-pinsvc/pinsvcapi/pinsvctest"
)

func TestEventQueue_TooManyEventsOverflowOnce(t *testing.T) {
	q := newEventQueue(new(clusterfake.Clock).Now)
	for i := range maxEvents + 1 {
		q.add(Event{CID: pinsvctest.RawCID(i)})
		q.add(Event{CID: pinsvctest.RawCID(i), Removed: true})
	}
	if q.len() != maxEvents || q.overflows.Load() != 2 || !q.takeOverflow() || q.takeOverflow() {
		t.Errorf("%d events wait, %d overflows", q.len(), q.overflows.Load())
	}
	if e, reads, wait := q.take(); !e.Removed || reads != 0 || wait != 0 {
		t.Errorf("the later of two events does not count: %+v", e)
	}
}

func TestEventQueue_EventsAreReadAgainUntilTheLastDelay(t *testing.T) {
	var clock clusterfake.Clock
	q := newEventQueue(clock.Now)
	e := Event{CID: pinsvctest.RawCID(1)}
	for reads, delay := range rereadDelays {
		if !q.readAgain(e, reads) {
			t.Fatalf("after %d reads there is an end", reads)
		}
		if _, _, got := q.take(); got != delay {
			t.Errorf("after %d reads it waits %s, want %s", reads, got, delay)
		}
		clock.Advance(delay)
		if got, next, wait := q.take(); got != e || next != reads+1 || wait != 0 {
			t.Errorf("after %d reads comes %d in %s", reads, next, wait)
		}
	}
	if q.readAgain(e, len(rereadDelays)) {
		t.Error("there is no end")
	}
	if _, _, wait := q.take(); wait < time.Minute || q.len() != 0 {
		t.Errorf("%d events wait", q.len())
	}
}

// Two million events may wait: they have no record, and nothing of a record's size.
func TestEventQueue_EventsKeepNoRecord(t *testing.T) {
	var e Event
	for i := range reflect.TypeOf(e).NumField() {
		switch field := reflect.TypeOf(e).Field(i); field.Name {
		case "CID":
		default:
			switch field.Type.Kind() {
			case reflect.String, reflect.Slice, reflect.Map, reflect.Interface:
				t.Errorf("%s has any size", field.Name)
			}
		}
	}
	if size := reflect.TypeOf(delayedEvent{}).Size(); size > 128 {
		t.Errorf("an event that waits takes %d bytes", size)
	}
}
